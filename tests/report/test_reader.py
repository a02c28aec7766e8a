from __future__ import annotations

import functools
import gzip
import os
import re
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report import source
from ooni_pipeline.report.entry import BadEntry, BadReport, RawEntry, ReportHeader
from ooni_pipeline.report.reader import open_report, uncompressed_chunks

PROJECT = Path(__file__).parents[2]
CORPUS = PROJECT.parent / "shared" / "corpus"

#: The same bytes at every call, so that tests have the same names in every process.
gzipped = functools.partial(gzip.compress, mtime=0)

YAML = b"---\nprobe_cc: IT\n...\n---\ninput: a\n...\n---\ninput: b\n...\n"
JSON = b'{"input": "a"}\n{"input": "b"}\n'


def read(path: Path) -> tuple[ReportHeader, list[RawEntry | BadEntry]]:
    with open_report(path) as report:
        return report.header, list(report)


def inputs(entries: list[RawEntry | BadEntry]) -> list[object]:
    return [entry.value["input"] if isinstance(entry, RawEntry) else entry.reason for entry in entries]


def rejection(path: Path) -> RejectReason:
    with pytest.raises(BadReport) as caught:
        read(path)
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", YAML),
        ("a.yamloo", YAML),
        ("a.yaml.gz", gzipped(YAML)),
        ("a.yaml", gzipped(YAML)),
        ("a.json", JSON),
        ("a.njson", JSON),
        ("a.jsonl.gz", gzipped(JSON)),
        ("a.json.gz", gzipped(JSON[:20]) + gzipped(JSON[20:]) + bytes(100_000)),
        ("a.json", gzipped(b"") + gzipped(JSON)),
        ("a", YAML),
        ("a.json.pretty", JSON),
    ],
)
def test_both_formats_plain_and_compressed(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    header, entries = read(path)
    assert inputs(entries) == ["a", "b"]
    plain = b"".join(uncompressed_chunks(path))
    assert plain in (YAML, JSON)
    assert header.value == ({"probe_cc": "IT"} if plain == YAML else {})
    for entry in entries:
        assert plain[entry.offset : entry.offset + len(entry.raw)] == entry.raw


def test_the_name_decides_about_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(YAML)
    _, entries = read(tmp_path / "a.json")
    assert {entry.reason for entry in entries if isinstance(entry, BadEntry)} == {RejectReason.NOT_JSON}
    (tmp_path / "a.yaml").write_bytes(JSON)
    assert rejection(tmp_path / "a.yaml") is RejectReason.BAD_HEADER


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", RejectReason.EMPTY_REPORT),
        (gzipped(b""), RejectReason.EMPTY_REPORT),
        (b"###\n# OONI Probe Report\n###\n", RejectReason.EMPTY_REPORT),
        (b"---\nnull\n...\n---\na: 1\n...\n", RejectReason.BAD_HEADER),
        (b"---\n...\n", RejectReason.BAD_HEADER),
        (b"---\n{}\n...\n", RejectReason.BAD_HEADER),
        (b"---\n[a]\n...\n", RejectReason.BAD_HEADER),
        (b"---\na: '\xff'\n...\n", RejectReason.BAD_HEADER),
        (b"---\na: !!python/object/apply:os.getcwd []\n...\n", RejectReason.BAD_HEADER),
        (b"---\n" + b"[" * 100_000 + b"\n...\n", RejectReason.BAD_HEADER),
        (b"---\nprobe_cc: I", RejectReason.BAD_HEADER),
        (b"stray\n---\na: 1\n...\n", RejectReason.BAD_HEADER),
        (gzipped(YAML)[:15], RejectReason.BAD_GZIP),
        (gzipped(YAML)[:2], RejectReason.BAD_GZIP),
        (b"\x1f\x8b but no gzip", RejectReason.BAD_GZIP),
    ],
)
def test_a_report_that_cannot_be_read(tmp_path: Path, content: bytes, reason: RejectReason) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    assert rejection(tmp_path / "a.yaml") is reason


def test_a_name_that_promises_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.yaml.gz").write_bytes(YAML)
    assert rejection(tmp_path / "a.yaml.gz") is RejectReason.BAD_GZIP


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_bytes(YAML)
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real.yaml")
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.yaml"))
    for name in ("link", "folder", "pipe", "socket"):
        assert rejection(tmp_path / f"{name}.yaml") is RejectReason.NOT_A_REGULAR_FILE
        with pytest.raises(BadReport):
            next(iter(uncompressed_chunks(tmp_path / f"{name}.yaml")))
    assert rejection(Path("/dev/null")) is RejectReason.NOT_A_REGULAR_FILE
    assert rejection(tmp_path / "missing.yaml") is RejectReason.UNREADABLE
    assert rejection(tmp_path / "NUL\0.yaml") is RejectReason.UNREADABLE


def lines(count: int) -> bytes:
    return b"".join(
        b'{"input": "%d", "x": "%b"}\n' % (n, os.urandom(20).hex().encode()) for n in range(count)
    )


def test_a_gzip_stream_that_is_cut_keeps_what_came_before(tmp_path: Path) -> None:
    packed = gzipped(lines(5000))
    path = tmp_path / "a.json.gz"
    for length in (len(packed) // 2, len(packed) - 9, len(packed) - 4):
        path.write_bytes(packed[:length])
        _, entries = read(path)
        last = entries[-1]
        assert isinstance(last, BadEntry)
        assert last.reason is RejectReason.BAD_GZIP
        assert all(isinstance(entry, RawEntry) for entry in entries[:-1])
        assert len(entries) > 5000 * length / len(packed) * 0.9
        assert last.offset + last.size == len(b"".join(uncompressed_chunks(path)))


def test_a_gzip_stream_that_is_damaged_keeps_what_came_before(tmp_path: Path) -> None:
    content = lines(5000)
    packed = bytearray(gzipped(content))
    middle = len(packed) // 2
    packed[middle : middle + 50] = bytes(50)
    path = tmp_path / "a.json.gz"
    path.write_bytes(packed)
    _, entries = read(path)
    good = [entry for entry in entries if isinstance(entry, RawEntry)]
    last = entries[-1]
    assert isinstance(last, BadEntry)
    assert last.reason is RejectReason.BAD_GZIP
    assert len(good) > 2000
    path.write_bytes(gzipped(content) + b"trailing")
    _, entries = read(path)
    assert [entry.reason for entry in entries if isinstance(entry, BadEntry)] == [RejectReason.BAD_GZIP]
    assert len(entries) == 5001


def test_a_wrong_checksum_is_told(tmp_path: Path) -> None:
    packed = bytearray(gzipped(YAML))
    packed[-8] ^= 1
    (tmp_path / "a.yaml").write_bytes(packed)
    _, entries = read(tmp_path / "a.yaml")
    assert inputs(entries) == ["a", "b", RejectReason.BAD_GZIP]


@pytest.mark.parametrize(
    ("plain", "kept"), [(YAML, ["a", "b"]), (b"---\na: 1\n...\n", []), (JSON, ["a", "b"])]
)
def test_what_broke_off_is_told_where_it_did(tmp_path: Path, plain: bytes, kept: list[str]) -> None:
    path = tmp_path / ("a.json" if plain == JSON else "a.yaml")
    path.write_bytes(gzipped(plain)[:-3])
    _, entries = read(path)
    assert inputs(entries) == [*kept, RejectReason.BAD_GZIP]
    last = entries[-1]
    assert isinstance(last, BadEntry)
    assert (last.offset, last.size, last.raw) == (len(plain), 0, b"")


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_report_that_never_ends_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: type[bytes]
) -> None:
    monkeypatch.setattr(source, "MAX_REPORT_BYTES", 995)
    path = tmp_path / "a.json"
    path.write_bytes(compress(b'{"input": 1}\n' * 100_000))
    _, entries = read(path)
    assert inputs(entries) == [1] * 76 + [RejectReason.REPORT_TOO_LARGE]
    assert len(b"".join(uncompressed_chunks(path))) == 995
    path.write_bytes(compress(b'{"input": 1}\n' * 100)[:900])
    if compress is bytes:
        assert inputs(read(path)[1])[-1] is RejectReason.TRUNCATED


def test_a_gzip_bomb_unfolds_chunk_by_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzipped(b" " * 50_000_000 + b"\n" + JSON))
    assert max(map(len, uncompressed_chunks(path))) <= source.CHUNK
    _, entries = read(path)
    assert inputs(entries) == [RejectReason.BLANK_LINE, "a", "b"]


def test_a_disk_that_fails_ends_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(JSON)
    with open_report(path) as report:
        reading = iter(report)
        assert isinstance(next(reading), RawEntry)
    monkeypatch.setattr(source, "open_regular", lambda _: FailingFile(path))
    _, entries = read(path)
    assert inputs(entries) == ["a", RejectReason.UNREADABLE]


class FailingFile:
    """A file of which only the first 20 bytes can be read."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()[:20]
        self._position = 0

    def read(self, size: int) -> bytes:
        if self._position >= len(self._content):
            raise OSError(5, "Input/output error")
        begin, self._position = self._position, self._position + size
        return self._content[begin : self._position]

    def seek(self, position: int) -> None:
        self._position = position

    def close(self) -> None:
        pass


def test_the_file_is_closed_when_nobody_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(YAML)
    before = set(Path("/proc/self/fd").iterdir())
    with open_report(path):
        pass
    path.write_bytes(b"---\nnull\n...\n")
    assert rejection(path) is RejectReason.BAD_HEADER
    assert set(Path("/proc/self/fd").iterdir()) == before


FRAMING = re.compile(rb"\xef\xbb\xbf|[ \t\r]*(#.*|%YAML [0-9.]+[ \t\r]*)?|(---|\.\.\.)[ \t]*(\s#.*)?\r?")


def check_that_nothing_vanished(path: Path) -> None:
    """Every byte is in the header, in an entry, good or bad, or is framing, comment or blank."""
    try:
        header, entries = read(path)
    except BadReport:
        return
    content = b"".join(uncompressed_chunks(path))
    rest = content.replace(header.raw, b"\n", 1) if header.raw else content
    shift = len(rest) - len(content)
    end = 0
    gaps = []
    for entry in entries:
        size = entry.size if isinstance(entry, BadEntry) else len(entry.raw)
        begin = entry.offset + shift
        assert begin >= end
        assert rest[begin : begin + size] == entry.raw
        gaps.append(rest[end:begin])
        end = begin + size
    assert end <= len(rest)
    gaps.append(rest[end:])
    for gap in gaps:
        for line in gap.split(b"\n"):
            assert FRAMING.fullmatch(line), (gap, content)


PARTS = st.sampled_from(
    [
        *(
            b"---\n",
            b"...\n",
            b"---",
            b"...",
            b"--- ",
            b"# c\n",
            b"\n",
            b"\r\n",
            b" ",
            b"\xef\xbb\xbf",
            b"\0",
        ),
        *(
            b"a: 1\n",
            b"a: 'x\n",
            b"- b\n",
            b"{}\n",
            b"null\n",
            b"{a: 1}",
            b"\xff",
            b"&x ",
            b"*x",
            b"!!set ",
            b"? ",
        ),
        *(
            b'{"a": 1}',
            b'{"a": 1}\n',
            b'{"a":\n',
            b"1}\n",
            b"[1]\n",
            b"NaN",
            b"{",
            b"[",
            b"]",
            b"}",
            b'"',
            b"\\",
        ),
    ]
)
CONTENT = st.binary() | st.lists(PARTS, max_size=30).map(b"".join)
WHOLE = st.lists(PARTS, max_size=30).map(lambda parts: b"---\nh: 1\n...\n" + b"".join(parts))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONTENT | WHOLE, st.sampled_from(["a.json", "a.yaml", "a"]))
def test_arbitrary_bytes_are_read_or_rejected_and_none_vanish(
    tmp_path: Path, content: bytes, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    check_that_nothing_vanished(path)
    packed = gzipped(content)
    path.write_bytes(packed[: len(packed) - len(content) % 20])
    check_that_nothing_vanished(path)
    path.write_bytes(gzipped(content, 1))
    assert b"".join(uncompressed_chunks(path)) == content


def test_the_corpus_is_read_or_rejected_with_a_reason() -> None:
    if not CORPUS.is_dir():
        pytest.skip("no shared/corpus beside the project: the real reports were not tried")
    rows = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    wrong = []
    for path, kind, count in ((row[0], row[2], int(row[6])) for row in rows):
        if kind == "wire-log":
            continue
        check_that_nothing_vanished(CORPUS / path)
        try:
            _, entries = read(CORPUS / path)
        except BadReport as rejected:
            # Pieces of documentation that are no reports of their own: text, or JSON named .yaml.
            if rejected.reason is not RejectReason.BAD_HEADER or "embedded" not in path:
                wrong.append((path, str(rejected)))
        else:
            good = sum(isinstance(entry, RawEntry) for entry in entries)
            if good != count:
                wrong.append((path, f"{good} entries, not {count}"))
    assert not wrong
