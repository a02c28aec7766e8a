"""Entries that are cut out of a report: the others stay as they are, byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import itertools
from pathlib import Path

import pytest

from ooni_pipeline.report import entry as bounds
from ooni_pipeline.report.cutting import cuttable_entries, write_without
from ooni_pipeline.report.entry import BadEntry, BadReport, RawEntry
from ooni_pipeline.report.reader import open_report

HEADER = b"---\nprobe_cc: GR\ntest_name: http_host\n...\n"
A, B, C = (b"---\ninput: http://%b.test/\nn: 1\n...\n" % name for name in (b"a", b"b", b"c"))
#: As some writers did: no document has an end.
ENDLESS = [part.replace(b"...\n", b"") for part in (HEADER, A, B, C)]
REPORTS = {
    "lines.json": b'{"a": 1}\n{"b": 2}\n{"c": 3}\n',
    "crlf.json": b'{"a": 1}\r\n{"b": 2}\r\n{"c": 3}\r\n',
    "no-end.json": b'{"a": 1}\n{"b": 2}\n{"c": 3}',
    "bad.json": b'\xef\xbb\xbf{"a": 1}\nnot json\n\n\n{"c": 3}\n[]\n{"d',
    "documents.yaml": HEADER + A + B + C,
    "endless.yaml": b"".join(ENDLESS),
    "endless-bad.yaml": ENDLESS[0] + ENDLESS[1] + b"--- a text\n" + ENDLESS[3],
    "mixed.yaml": HEADER + ENDLESS[1] + B + ENDLESS[3],
    "crlf.yaml": (HEADER + A + B + C).replace(b"\n", b"\r\n"),
    "comments.yaml": b"# one\n" + HEADER + b"# two\n" + A + b"--- # three\ninput: x\n...\n# four\n" + C,
    "stray.yaml": HEADER
    + A
    + b"neither this\nnor that\n"
    + B
    + b"--- a text\n...\n--- [1\n...\n"
    + C
    + b"x\n",
    "tail.yaml": HEADER + A + B + b"---\ninput: http://c.te",
}


def pieces(path: Path) -> list[tuple[str, bytes]]:
    """What a stage reads of a report: each entry, why it is no good one, or how it ends, and its bytes."""
    with open_report(path) as report:
        return [(kind(item), item.raw) for item in report]


def kind(item: RawEntry | BadEntry) -> str:
    return item.reason.value if isinstance(item, BadEntry) else f"without_end {item.without_end}"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", REPORTS)
def test_what_is_cut_is_gone_and_the_others_are_the_same(name: str, packed: bool, tmp_path: Path) -> None:
    """Every subset of the entries of every report."""
    data = REPORTS[name]
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    before, entries = pieces(path), list(cuttable_entries(path))
    assert [(kind(one.item), one.item.raw) for one in entries] == before
    assert len(before) >= 3
    for gone in itertools.product([False, True], repeat=len(before)):
        if all(gone):
            continue
        cuts = [one.cut for one, is_gone in zip(entries, gone, strict=True) if is_gone]
        other = tmp_path / f"other-{path.name}"
        write_without(path, other, cuts)
        expected = [piece for piece, is_gone in zip(before, gone, strict=True) if not is_gone]
        assert pieces(other) == expected, gone
        if not cuts:
            content = other.read_bytes()
            assert (gzip.decompress(content) if packed else content) == data
        for (_, raw), is_gone in zip(before, gone, strict=True):
            if is_gone and raw.strip() and raw not in [one for _, one in expected]:
                assert raw not in (gzip.decompress(other.read_bytes()) if packed else other.read_bytes())


def test_the_same_cuts_give_the_same_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json.gz"
    path.write_bytes(gzip.compress(REPORTS["lines.json"]))
    (first, *_) = cuttable_entries(path)
    digests = set()
    for name in ("one.json.gz", "two.json.gz"):
        write_without(path, tmp_path / name, [first.cut])
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    assert (tmp_path / "one.json.gz").read_bytes()[4:8] == bytes(4), "no time in it"
    assert gzip.decompress((tmp_path / "one.json.gz").read_bytes()) == b'{"b": 2}\n{"c": 3}\n'


def test_entries_that_are_too_large_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("json_lines", "pieces", "yaml_reports"):
        monkeypatch.setattr(f"ooni_pipeline.report.{module}.MAX_ENTRY_BYTES", 100)
    monkeypatch.setattr("ooni_pipeline.report.json_lines._LONGEST_LINE", 102)
    assert bounds.MAX_ENTRY_BYTES > 100
    large = b'"' + b"x" * 300 + b'"'
    for name, data, rest in (
        ("a.json", b'{"a": 1}\n' + large + b'\n\n{"c": 3}\n', b'{"a": 1}\n\n{"c": 3}\n'),
        ("a.yaml", HEADER + A + b"---\n" + large + b"\n...\n" + C, HEADER + A + b"...\n" + C),
        ("b.yaml", HEADER + A + large + b"\n" + C, HEADER + A[:-4] + b"...\n" + C),
    ):
        path, other = tmp_path / name, tmp_path / f"other-{name}"
        path.write_bytes(data)
        (cut,) = [
            one.cut
            for one in cuttable_entries(path)
            if isinstance(one.item, BadEntry) and one.item.size > 100
        ]
        write_without(path, other, [cut])
        assert other.read_bytes() == rest


def test_a_report_whose_entries_cannot_be_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    for data in (b"", b"--- [\n...\n" + A, b"no document\n"):
        path.write_bytes(data)
        with pytest.raises(BadReport):
            list(cuttable_entries(path))
