from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report import pieces, yaml_documents, yaml_reports
from ooni_pipeline.report.entry import MAX_DEPTH, BadEntry, EntryRejected, RawEntry
from ooni_pipeline.report.yaml_documents import split_documents
from ooni_pipeline.report.yaml_reports import parse_document

Pieces = list[tuple[bytes, int, bool, bool]]


def split(content: bytes) -> Pieces:
    return [
        (section.raw(), section.offset, section.is_document, section.finished)
        for section in split_documents(io.BytesIO(content))
    ]


@pytest.fixture(params=[1, 2, 3, 5, 7, 1024])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the bytes arrive, the documents are the same."""
    monkeypatch.setattr(yaml_documents, "_READ", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"# only\n\n# comments", []),
        (b"---\na: 1\n...\n---\nb: 2\n...\n", [(b"a: 1\n", 4, True, True), (b"b: 2\n", 17, True, True)]),
        (b"---\na: 1\n---\nb: 2\n...\n", [(b"a: 1\n", 4, True, True), (b"b: 2\n", 13, True, True)]),
        (b"---\r\na: 1\r\n...\r\n", [(b"a: 1\r\n", 5, True, True)]),
        (b"###\n# x\n---\na: 1\n...", [(b"a: 1\n", 12, True, True)]),
        (b"---\nnull\n...\n...\n...\n", [(b"null\n", 4, True, True)]),
        (b"---\n...\n# c\n\n--- # c\na\n...\n", [(b"", 4, True, True), (b"a\n", 21, True, True)]),
        (b"--- {a: 1}\n...\n", [(b"{a: 1}\n", 4, True, True)]),
        (b"---\n...\nstray\n# c\n---\na\n...\n", None),
        (b"---\n---- a\n--- b", [(b"---- a\n", 4, True, True), (b"b", 15, True, False)]),
        (b"---\na: 1", [(b"a: 1", 4, True, False)]),
        (b"---\na: |\n  ---\n  ...\n...\n", [(b"a: |\n  ---\n  ...\n", 4, True, True)]),
        (b"\xef\xbb\xbf---\na\n...\n", [(b"a\n", 7, True, True)]),
        (b"%YAML 1.1\n---\na\n...\n", [(b"a\n", 14, True, True)]),
        (b"... # end\n---\na\n...   \n", [(b"a\n", 14, True, True)]),
        (b"stray", [(b"stray", 0, False, False)]),
        (b"---", [(b"", 3, True, False)]),
    ],
)
def test_documents_are_cut_by_their_lines(content: bytes, expected: Pieces | None) -> None:
    if expected is None:
        expected = [(b"", 4, True, True), (b"stray\n# c\n", 8, False, True), (b"a\n", 22, True, True)]
    assert split(content) == expected


def rejection(document: bytes) -> tuple[RejectReason, str]:
    with pytest.raises(EntryRejected) as caught:
        parse_document(document)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize(
    ("document", "value"),
    [
        (b"", None),
        (b"# nothing", None),
        (b"null", None),
        (b"{a: 1, b: 1.5, c: true, d: No, e: ~, f: '1', g: \"no\"}", None),
        (b"[1_000, 0x1f, 0b11, 017, 08, 1:30, -1:30, 1:30.5, +5, -0, 1., .5, 1e5, 1.0e+5, 0x_]", None),
        (b"[2012-12-05, 2012-12-05 10:00:00, =, <<, !!timestamp 2012-12-05]", None),
        (b"!!binary |\n  ABu62TJ/AADAc+AgQXk5TGwgSHhNN1YKDQ==", None),
        (b"!!set {a, b: null, c}", ["a", "b", "c"]),
        (b"!!set {[1, 2], null}", [[1, 2], None]),
        (b"!!set {}", []),
        (b"!!set {Via: x, b}", {"Via": "x", "b": None}),
        (b"[!!float '1e5', !!float 12, !!float '1.e-2', !!float '1e999']", None),
        (b"!!python/complex 1+2j", "1+2j"),
        (b"!!python/tuple [1, [2]]", [1, [2]]),
        (b"[!!python/unicode x, !!python/str 'y', !!str 12, ! z]", ["x", "y", "12", "z"]),
        (b"[!!int '12', !!float 3, !!bool yes, !!null x, !!python/long 7, !!python/none x]", None),
        (b"{[8.8.8.8, 53]: true}", {'["8.8.8.8",53]': True}),
        (b"{null: a, true: b, 1: c, 1.5: d}", {"null": "a", "true": "b", "1": "c", "1.5": "d"}),
        (b"? {a: [b, 1/2]}\n: c", {'{"a":["b","1/2"]}': "c"}),
        (b'{!!binary "/w==": 1, !!binary "YQ==": 2}', {"/w==": 1, "a": 2}),
        (b"{<<: {a: 1}, b: 2}", {"<<": {"a": 1}, "b": 2}),
        (b"a: &id001 [1]\nb: *id001\nc: &s x\nd: *s", {"a": [1], "b": [1], "c": "x", "d": "x"}),
        (b'"NUL \\0, pair \\ud83d\\ude00, lone \\ud800"', "NUL \0, pair \U0001f600, lone \ud800"),
        (b'a: "\\uD800"\nb: \\uD800 \\ude00\nc: "\xee\x80\x80"', None),
        (b'{"\\udc80": ["\\udc80", {a: "\\udcff"}]}', {"\udc80": ["\udc80", {"a": "\udcff"}]}),
        ("a: Reykjavík\r\nb: ☃".encode(), {"a": "Reykjavík", "b": "☃"}),
    ],
)
def test_values(document: bytes, value: object) -> None:
    known: dict[bytes, object] = {
        b"{a: 1, b": {"a": 1, "b": 1.5, "c": True, "d": False, "e": None, "f": "1", "g": "no"},
        b"[1_000, ": [1000, 31, 3, 15, "08", 90, -90, 90.5, 5, 0, 1.0, 0.5, "1e5", 1e5, "0x_"],
        b"[2012-12": ["2012-12-05", "2012-12-05 10:00:00", "=", "<<", "2012-12-05"],
        b"[!!float": [1e5, 12.0, 0.01, None],
        b"!!binary": b"\x00\x1b\xba\xd92\x7f\x00\x00\xc0s\xe0 Ay9Ll HxM7V\n\r",
        b"[!!int '": [12, 3.0, True, None, 7, None],
        b'a: "\\uD8': {"a": "\ud800", "b": "\\uD800 \\ude00", "c": "\ue000"},
    }
    expected = value if value is not None else known.get(document[:8])
    assert parse_document(document).value == expected


def test_numbers_that_json_does_not_have_become_null_and_are_counted() -> None:
    document = parse_document(b"{a: .nan, b: [.inf, -.Inf, 1.0e+400], c: 1.0, .nan: 1, d: !!float .inf}")
    assert document.value == {"a": None, "b": [None] * 3, "c": 1.0, "null": 1, "d": None}
    assert document.nonfinite == 6


def test_the_last_of_duplicate_keys_stays_and_the_others_are_counted() -> None:
    document = parse_document(b"{a: 1, b: {c: 1, c: 2, c: 3}, a: 4}")
    assert document == ({"a": 4, "b": {"c": 3}}, 0, 3)


def test_an_alias_is_a_copy() -> None:
    value = parse_document(b"a: &x [{b: []}]\nc: *x\nd: *x").value
    value["c"][0]["b"].append(1)
    assert value == {"a": [{"b": []}], "c": [{"b": [1]}], "d": [{"b": []}]}


def bomb(levels: int) -> bytes:
    lines = [b"l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [b"l%d: &l%d [%s]" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 9)) for n in range(1, levels)]
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        pytest.param(b"!!python/object/apply:os.system ['true']", RejectReason.UNSAFE_TAG, id="call"),
        pytest.param(b"a: !!python/name:os.system ''", RejectReason.UNSAFE_TAG, id="name"),
        pytest.param(b"a: !!python/object:x.Y {b: 1}", RejectReason.UNSAFE_TAG, id="object"),
        pytest.param(b"!local {b: 1}", RejectReason.UNSAFE_TAG, id="local tag"),
        pytest.param(b"%TAG !! tag:x,2000:\r---\ra: !!int 1", RejectReason.UNSAFE_TAG, id="moved tag"),
        pytest.param(b"!!set [a]", RejectReason.UNSAFE_TAG, id="tag of another kind"),
        pytest.param(b"a: [", RejectReason.NOT_YAML, id="unfinished"),
        pytest.param(b"a: '", RejectReason.NOT_YAML, id="unfinished string"),
        pytest.param(b"a: \x00", RejectReason.NOT_YAML, id="raw NUL"),
        pytest.param(b"a: '\xff'", RejectReason.NOT_YAML, id="not UTF-8"),
        pytest.param(b"a: '\xed\xa0\x80'", RejectReason.NOT_YAML, id="raw surrogate"),
        pytest.param(b"a: *x", RejectReason.NOT_YAML, id="alias of nothing"),
        pytest.param(b"a: !!int x", RejectReason.NOT_YAML, id="tag and value disagree"),
        pytest.param(b"a: !!binary '\xc3\xa9'", RejectReason.NOT_YAML, id="base64 that is none"),
        pytest.param(b"a: !!binary '$$$$AAAA$$$$'", RejectReason.NOT_YAML, id="base64 among other signs"),
        pytest.param(b"a: !!binary 'YQ'", RejectReason.NOT_YAML, id="base64 without its end"),
        pytest.param(b"a: " + b"1" * 4301, RejectReason.NOT_YAML, id="long integer"),
        pytest.param(b"a: 0x" + b"f" * 4300, RejectReason.NOT_YAML, id="long hexadecimal integer"),
        pytest.param(b"a: 1" + b":01" * 4300, RejectReason.NOT_YAML, id="long integer of base 60"),
        pytest.param(b"a: 1\r--- \rb: 2", RejectReason.NOT_YAML, id="two documents, by lone CR"),
        pytest.param(b"a: &x [1, *x]", RejectReason.TOO_DEEP, id="alias within itself"),
        pytest.param(b"&x {*x : 1}", RejectReason.TOO_DEEP, id="alias as its own key"),
        pytest.param(bomb(10), RejectReason.TOO_MANY_NODES, id="alias bomb"),
        pytest.param(
            b"a: &a " + b"x" * 2**20 + b"\nb: [" + b"*a," * 64 + b"]",
            RejectReason.TOO_LARGE,
            id="long aliases",
        ),
        pytest.param(
            b"{? " * 99 + b"k" + b"}" * 99, RejectReason.TOO_LARGE, id="keys that escape each other"
        ),
        pytest.param(b"[a, [" * 600 + b"]]" * 600, RejectReason.TOO_DEEP, id="deep"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, RejectReason.TOO_DEEP, id="flow sequences"),
        pytest.param(b"[" * 100_000, RejectReason.TOO_DEEP, id="unfinished flow sequences"),
        pytest.param(b"{" * 100_000, RejectReason.TOO_DEEP, id="flow mappings"),
        pytest.param(b"{a: " * 100_000, RejectReason.TOO_DEEP, id="flow mappings in values"),
        pytest.param(b"[[[{a: [" * 30_000, RejectReason.TOO_DEEP, id="mixed"),
        pytest.param(b"- " * 100_000 + b"a", RejectReason.TOO_DEEP, id="block sequences"),
        pytest.param(b"? " * 100_000 + b"a", RejectReason.TOO_DEEP, id="block keys"),
        pytest.param(
            b"\n".join(b" " * n + b"a:" for n in range(3000)), RejectReason.TOO_DEEP, id="block mappings"
        ),
    ],
)
def test_hostile_documents_are_rejected(document: bytes, reason: RejectReason) -> None:
    assert rejection(document)[0] is reason


def test_the_bounds_hold_for_what_an_alias_brings() -> None:
    deep = b"[" * 600 + b"]" * 600
    assert (
        rejection(b"a: &a " + deep + b"\nb: " + b"[" * 600 + b"*a" + b"]" * 600)[0] is RejectReason.TOO_DEEP
    )


@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b"{a: ", b"}"), (b"- ", b"")])
def test_the_bound_of_depth_is_the_same_for_every_style(opens: bytes, closes: bytes) -> None:
    def nested(depth: int) -> bytes:
        return opens * depth + b"x" + closes * depth

    assert parse_document(nested(MAX_DEPTH)).value
    assert rejection(nested(MAX_DEPTH + 1))[0] is RejectReason.TOO_DEEP


def test_the_number_of_nodes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reports, "MAX_NODES", 10)
    assert parse_document(b"[1, 2, 3, 4, 5, 6, 7, 8, 9]").value
    assert rejection(b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")[0] is RejectReason.TOO_MANY_NODES


def test_a_detail_never_quotes() -> None:
    for document in (b"a: !secret x", b"a: *secret", b"a: secret: b", b"secret: [", b"a: !!int secret"):
        assert "secret" not in rejection(document)[1]
    assert rejection(b"a: 1\nb: 'x' y")[1] == "ParserError in line 2"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_a_safe_dumper_writes_is_read_as_the_safe_loader_reads_it(value: Any, flow: bool) -> None:
    document = yaml.dump(value, Dumper=yaml.CSafeDumper, default_flow_style=flow).encode("utf-8", "replace")
    try:
        expected = yaml.load(document, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return
    assert parse_document(document).value == expected


def entries(content: bytes, broken: EntryRejected | None = None) -> list[RawEntry | BadEntry]:
    sections: Iterator[yaml_documents.Section] = split_documents(io.BytesIO(content))
    yaml_reports.read_header(sections, lambda: None)
    return list(yaml_reports.read_entries(sections, lambda: broken))


HEADER = b"---\nprobe_cc: IT\n...\n"


@pytest.mark.parametrize(
    ("tail", "reasons"),
    [
        (b"---\na: 1\n...\n---\nb: 1\n...\n", [None, None]),
        (b"---\na: 1\n---\nb: 1\n", [None, None]),
        (b"---\na: 1\n...\n---\nb: 1", [None, RejectReason.TRUNCATED]),
        (b"---\na: 1\n...\n---\nb: 'x", [None, RejectReason.TRUNCATED]),
        (b"---\na: 1\n...\n---\n", [None, RejectReason.TRUNCATED]),
        (b"---\na: 1\n...\n---\nnull\n", [None, RejectReason.TRUNCATED]),
        (b"---\nnull\n...\n...\n---\na: 1\n...\n", [RejectReason.NULL_ENTRY, None]),
        (b"---\n{}\n...\n---\n...\n", [RejectReason.NULL_ENTRY, RejectReason.NULL_ENTRY]),
        (b"---\n[a]\n...\n--- 12\n...\n--- a\n...\n", [RejectReason.NOT_A_MAPPING] * 3),
        (b"---\na: [\n...\n---\na: 1\n...\n", [RejectReason.NOT_YAML, None]),
        (b"lost\n---\na: 1\n...\n# c\n", [RejectReason.OUTSIDE_A_DOCUMENT, None]),
        (b"---\na: 1\n...\nlost", [None, RejectReason.OUTSIDE_A_DOCUMENT]),
    ],
)
def test_entries_and_why_not(tail: bytes, reasons: list[RejectReason | None]) -> None:
    found = entries(HEADER + tail)
    assert [entry.reason if isinstance(entry, BadEntry) else None for entry in found] == reasons


def test_bytes_that_break_off_end_the_report() -> None:
    broken = EntryRejected(RejectReason.BAD_GZIP, "the stream is damaged")
    kept, bad = entries(HEADER + b"---\na: 1\n...\n---\nb: 1\n", broken)
    assert isinstance(kept, RawEntry)
    assert isinstance(bad, BadEntry)
    assert (bad.reason, bad.raw, bad.size) == (RejectReason.BAD_GZIP, b"b: 1\n", 5)


def test_a_document_that_is_too_large_is_never_held_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MAX_ENTRY_BYTES", 1000)
    monkeypatch.setattr(pieces, "MAX_REJECTED_BYTES", 10)
    monkeypatch.setattr(yaml_documents, "_READ", 100)
    bad, kept = entries(HEADER + b"---\na: " + b"x" * 5000 + b"\n...\n---\nb: 1\n...\n")
    assert isinstance(bad, BadEntry)
    assert (bad.reason, len(bad.raw)) == (RejectReason.TOO_LARGE, 10)
    assert bad.offset + bad.size == len(HEADER) + len(b"---\na: ") + 5000 + 1
    assert isinstance(kept, RawEntry)
    assert kept.value == {"b": 1}
