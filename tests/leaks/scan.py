"""Searching files: gzip is read through, and each finding has its file and line."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.leaks.entries import hits_in_entry
from tests.leaks.own import Path as InEntry
from tests.leaks.own import named_by_headers, own_addresses, read_report
from tests.leaks.sought import Hit, Sought

_CHUNK = 1024 * 1024
_REPORT = re.compile(r"\.(?:json|njson|jsonl)(?:\.gz)?\Z")
_NAMED = re.compile(r"[0-9A-Za-z_.]+(?:-[0-9A-Za-z_.]+)+(?=\.json)")


@dataclass(frozen=True)
class Finding:
    """A hit with its place; line 0 is the name of the file."""

    file: Path
    line: int
    hit: Hit

    def told(self, show: bool) -> str:
        secret = f": {self.hit.secret}" if show else ""
        return f"{self.file}:{self.line}: {self.hit.what} ({self.hit.spelling}){secret}"


@dataclass
class PrivateReport:
    """What a report reveals: its own addresses, and by entry id those that headers of messages name."""

    own: set[bytes] = field(default_factory=set)
    named: dict[Any, dict[InEntry, set[bytes]]] = field(default_factory=dict)


@dataclass
class Search:
    """A search for ``sought`` through files; ``reports`` are private ones, by name without ending."""

    sought: Sought
    reports: dict[str, PrivateReport] = field(default_factory=dict)

    def read_private(self, place: Path) -> int:
        """Work out what the private reports at a place reveal; how many there are."""
        paths = [path for path in files_below(place) if _REPORT.search(path.name)]
        for path in paths:
            report = self.reports.setdefault(_report_of(path), PrivateReport())
            for entry in read_report(_lines(path)):
                report.own |= own_addresses(entry)
                if named := dict(named_by_headers(entry)):
                    report.named[entry.get("id")] = named
        return len(paths)

    def through(self, place: Path) -> Iterator[Finding]:
        """Everything found in a file, or in all files below a directory and in their names."""
        for path in files_below(place):
            name = str(path.relative_to(place)) if path != place else path.name
            yield from (Finding(path, 0, hit) for hit in _sorted(self.sought.hits(name)))
            report = self.reports.get(_report_of(path)) if _REPORT.search(path.name) else None
            number = 1
            for chunk in _chunks(path):
                yield from self._in_chunk(path, number, chunk, report)
                number += chunk.count(b"\n")

    def _in_chunk(
        self, path: Path, number: int, chunk: bytes, report: PrivateReport | None
    ) -> Iterator[Finding]:
        """The whole chunk first: most have nothing, and one look is faster than one for each line."""
        lines = chunk.split(b"\n")
        own = report.own if report else set()
        if whole := self.sought.hits(_text(chunk), own):
            left = set(whole)
            for place, line in enumerate(lines):
                if hits := self.sought.hits(_text(line), own):
                    left -= hits
                    yield from (Finding(path, number + place, hit) for hit in _sorted(hits))
            yield from (Finding(path, number, hit) for hit in _sorted(left))  # over the end of a line
        for place, line in enumerate(lines):
            for hit in _sorted(self._structural(line, report)):
                yield Finding(path, number + place, hit)

    def _structural(self, line: bytes, report: PrivateReport | None) -> set[Hit]:
        """What only the line as an entry shows; and in a row of a table, what its report owns."""
        if report is None:
            names = set(_NAMED.findall(_text(line))) if self.reports else set()
            own = {one for name in names if name in self.reports for one in self.reports[name].own}
            return (
                {hit for hit in self.sought.hits(_text(line), own) if hit.what == "own address"}
                if own
                else set()
            )
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return set()
        if not isinstance(entry, dict):
            return set()
        return set(hits_in_entry(entry, report.own, report.named.get(entry.get("id"), {})))


def files_below(place: Path) -> list[Path]:
    """The file itself, or every file below a directory, in order. Raises OSError where there is neither."""
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if path.is_file())
    place.stat()
    return [place]


def _report_of(path: Path) -> str:
    return _REPORT.sub("", path.name)


def _sorted(hits: set[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (hit.what, hit.spelling, hit.secret))


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _lines(path: Path) -> Iterator[bytes]:
    for chunk in _chunks(path):
        yield from chunk.split(b"\n")


def _chunks(path: Path) -> Iterator[bytes]:
    """Pieces of about a megabyte that end where a line ends."""
    waiting = bytearray()
    for piece in _pieces(path):
        end = piece.rfind(b"\n") + 1
        if not end:
            waiting += piece
            continue
        yield bytes(waiting) + piece[:end]
        waiting = bytearray(piece[end:])
    if waiting:
        yield bytes(waiting)


def _pieces(path: Path) -> Iterator[bytes]:
    """What a file says, uncompressed; of a damaged gzip file what can be read, and then its own bytes."""
    with path.open("rb") as source:
        first = source.read(_CHUNK)
        if not first.startswith(b"\x1f\x8b"):
            while first:
                yield first
                first = source.read(_CHUNK)
            return
        unpacker = zlib.decompressobj(wbits=31)
        packed = first
        while packed:
            try:
                piece = unpacker.decompress(packed, _CHUNK)
            except zlib.error:
                yield packed
                return
            if piece:
                yield piece
            if unpacker.eof:  # another member may follow
                packed, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
            else:
                packed = unpacker.unconsumed_tail
            packed = packed or source.read(_CHUNK)
