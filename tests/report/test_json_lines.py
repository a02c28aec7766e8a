from __future__ import annotations

import hashlib
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report import json_lines, pieces
from ooni_pipeline.report.entry import MAX_DEPTH, BadEntry, EntryRejected, RawEntry
from ooni_pipeline.report.json_lines import dump_entry, dumps, loads, parse_entry


def read(content: bytes, broken: EntryRejected | None = None) -> list[RawEntry | BadEntry]:
    return list(json_lines.read_entries(io.BytesIO(content), lambda: broken))


def reasons(found: list[RawEntry | BadEntry]) -> list[RejectReason | None]:
    return [entry.reason if isinstance(entry, BadEntry) else None for entry in found]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b' {"a": [1, 1.5, true, null, "x"]} ', {"a": [1, 1.5, True, None, "x"]}),
        (b'{"a": "\\ud800", "b": "\\ud83d\\ude00"}', {"a": "\ud800", "b": "\U0001f600"}),
        (b'{"a": "\\u0000", "b": "NaN", "c": "1e400"}', {"a": "\0", "b": "NaN", "c": "1e400"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": ' + b"9" * 400 + b"}", {"a": int("9" * 400)}),
        ('{"é": "☃"}'.encode(), {"é": "☃"}),
    ],
)
def test_a_line_is_an_entry(line: bytes, value: dict[str, Any]) -> None:
    assert parse_entry(line) == (value, 0)


@pytest.mark.parametrize("filling", [b'"x"', b'"' + b"x" * 10_000 + b'"', b"[" + b"1.5," * 500 + b"0]"])
def test_numbers_that_json_does_not_have_become_null_and_are_counted(filling: bytes) -> None:
    line = b'{"f": %b, "a": NaN, "b": [Infinity, -Infinity, {"c": 1e400}], "d": -1e+999, "e": 1.5}' % filling
    value, nonfinite = parse_entry(line)
    assert nonfinite == 5
    del value["f"]
    assert value == {"a": None, "b": [None, None, {"c": None}], "d": None, "e": 1.5}
    assert parse_entry(b'{"a": 1%b.5}' % (b"0" * 400)) == ({"a": None}, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", RejectReason.BLANK_LINE),
        (b" \t ", RejectReason.BLANK_LINE),
        (b"null", RejectReason.NULL_ENTRY),
        (b"{}", RejectReason.NULL_ENTRY),
        (b"[]", RejectReason.NOT_A_MAPPING),
        (b'["a"]', RejectReason.NOT_A_MAPPING),
        (b"12", RejectReason.NOT_A_MAPPING),
        (b"NaN", RejectReason.NOT_A_MAPPING),
        (b"1.5", RejectReason.NOT_A_MAPPING),
        (b'"text"', RejectReason.NOT_A_MAPPING),
        (b"false", RejectReason.NOT_A_MAPPING),
        (b"{", RejectReason.NOT_JSON),
        (b"probe_cc: IT", RejectReason.NOT_JSON),
        (b'{"a": 1} {"b": 2}', RejectReason.NOT_JSON),
        (b'{"a": 1}, {"b": 2}', RejectReason.NOT_JSON),
        (b'{"a": 1}], [{"b": 2}', RejectReason.NOT_JSON),
        (b"]" * 30 + b"[" * 30, RejectReason.NOT_JSON),
        (b'{"a": "\xff"}', RejectReason.NOT_JSON),
        (b'{"a": "\xc3("}', RejectReason.NOT_JSON),
        (b'{"a": ' + b"1" * 5000 + b"}", RejectReason.NOT_JSON),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), RejectReason.TOO_DEEP),
        (b"[" * 100_000 + b"]" * 100_000, RejectReason.TOO_DEEP),
        (b'{"a":' * 100_000, RejectReason.TOO_DEEP),
    ],
)
def test_a_line_that_is_no_entry_has_a_reason(line: bytes, reason: RejectReason) -> None:
    with pytest.raises(EntryRejected) as caught:
        parse_entry(line)
    assert caught.value.reason is reason


def test_the_depth_that_is_allowed_can_be_read_and_written() -> None:
    value, _ = parse_entry(b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH)
    assert dump_entry(value) == b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH


def test_the_number_of_values_is_bounded_before_they_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_NODES", 10)
    assert parse_entry(b'{"a": "' + b',\\"' * 20 + b'"}')
    with pytest.raises(EntryRejected, match="too_many_nodes"):
        parse_entry(b'{"a": [' + b"1," * 20 + b"1]}")


def test_one_entry_a_line() -> None:
    content = b'{"a": 1}\n\nnull\r\n[1]\nx\n{"b": 2}\r\n{"c": 3}'
    found = read(content)
    assert reasons(found) == [
        None,
        RejectReason.BLANK_LINE,
        RejectReason.NULL_ENTRY,
        RejectReason.NOT_A_MAPPING,
        RejectReason.NOT_JSON,
        None,
        None,
    ]
    assert [(entry.offset, entry.raw) for entry in found] == [
        (0, b'{"a": 1}'),
        (9, b""),
        (10, b"null"),
        (16, b"[1]"),
        (20, b"x"),
        (22, b'{"b": 2}'),
        (32, b'{"c": 3}'),
    ]
    bad = found[4]
    assert isinstance(bad, BadEntry)
    assert (bad.size, bad.digest) == (1, hashlib.sha256(b"x").hexdigest())


def test_a_last_line_without_its_end() -> None:
    assert reasons(read(b'{"a": 1}\n{"b": 2')) == [None, RejectReason.TRUNCATED]
    assert reasons(read(b'{"a": 1')) == [RejectReason.TRUNCATED]
    broken = EntryRejected(RejectReason.BAD_GZIP, "the stream ends too early")
    assert reasons(read(b'{"a": 1}\n{"b": 2', broken)) == [None, RejectReason.BAD_GZIP]


def test_a_byte_order_mark_is_framing() -> None:
    (entry,) = read(b'\xef\xbb\xbf{"a": 1}\n')
    assert isinstance(entry, RawEntry)
    assert (entry.raw, entry.offset) == (b'{"a": 1}', 3)


@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
def test_one_pretty_printed_entry(end: str) -> None:
    text = json.dumps({"a": [1, {"b": 2}], "c": "x"}, indent=2)
    (entry,) = read((text + end).encode())
    assert isinstance(entry, RawEntry)
    assert entry.value == {"a": [1, {"b": 2}], "c": "x"}
    assert entry.raw == text.encode()
    blank, entry = read(b"\n" + text.encode())
    assert isinstance(blank, BadEntry)
    assert isinstance(entry, RawEntry)
    assert entry.offset == 1


def test_a_bad_first_line_costs_that_line(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"a": \n' + b'{"b": 2}\n' * 3 + b'{"c":'
    expected = [RejectReason.NOT_JSON, None, None, None, RejectReason.TRUNCATED]
    for limit in (8, 15, 20, 1000):  # also where what was read ahead ends within a line
        monkeypatch.setattr(json_lines, "MAX_ENTRY_BYTES", limit)
        monkeypatch.setattr(json_lines, "_LONGEST_LINE", limit + 2)
        found = read(content)
        assert reasons(found) == expected
        assert [entry.offset for entry in found] == [0, 7, 16, 25, 34]


def test_what_follows_a_pretty_printed_entry_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"a":\n1}\n{"b": 2}\n'
    for limit in range(8, 30):
        monkeypatch.setattr(json_lines, "MAX_ENTRY_BYTES", limit)
        monkeypatch.setattr(json_lines, "_LONGEST_LINE", limit + 2)
        assert reasons(read(content)) == [RejectReason.NOT_JSON, RejectReason.NOT_JSON, None]


def test_a_line_that_is_too_large_is_never_held_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (json_lines, pieces):
        monkeypatch.setattr(module, "MAX_ENTRY_BYTES", 1000)
    monkeypatch.setattr(json_lines, "_LONGEST_LINE", 1002)
    monkeypatch.setattr(json_lines, "_READ", 100)
    monkeypatch.setattr(pieces, "MAX_REJECTED_BYTES", 10)
    long = b'{"a": "' + b"x" * 5000 + b'"}\n'
    bad, kept = read(long + b'{"b": 2}\n')
    assert isinstance(bad, BadEntry)
    assert (bad.reason, bad.raw, bad.size) == (RejectReason.TOO_LARGE, long[:10], len(long))
    assert bad.digest == hashlib.sha256(long).hexdigest()
    assert isinstance(kept, RawEntry)
    assert kept.offset == len(long)
    assert reasons(read(b'{"a": "' + b"x" * 993 + b'"}\n')) == [RejectReason.TOO_LARGE]
    assert reasons(read(b'{"a": "' + b"x" * 991 + b'"}\r\n')) == [None]


def test_what_is_written() -> None:
    value = {"a": "é/\ud800\n", "b": [math.nan, -math.inf, {"c": math.inf}], "d": 0.1, "e": 10**30}
    expected = (
        b'{"a":"\\u00e9/\\ud800\\n","b":[null,null,{"c":null}],"d":0.1,"e":' + str(10**30).encode() + b"}"
    )
    assert dump_entry(value) == expected
    assert math.isnan(value["b"][0])  # type: ignore[index]
    assert dumps("é", ensure_ascii=False) == '"é"'
    assert loads('{"a": 1}') == loads(b'{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError):
        loads("{")
    with pytest.raises(TypeError):
        dumps(b"bytes")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nulled(value: Any) -> tuple[Any, int]:
    """The plain way to do what parse_entry does cleverly."""
    if isinstance(value, float) and not math.isfinite(value):
        return None, 1
    if isinstance(value, list):
        pairs = [nulled(part) for part in value]
        return [part for part, _ in pairs], sum(count for _, count in pairs)
    if isinstance(value, dict):
        named = {key: nulled(part) for key, part in value.items()}
        return {key: part for key, (part, _) in named.items()}, sum(count for _, count in named.values())
    return value, 0


@given(st.dictionaries(st.text(), VALUES, min_size=1))
def test_lines_of_another_writer_are_read(value: dict[str, Any]) -> None:
    assert parse_entry(json.dumps(value).encode()) == nulled(value)
    assert json.loads(dump_entry(value)) == nulled(value)[0]
