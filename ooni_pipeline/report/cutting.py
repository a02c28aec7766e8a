"""Cutting entries out of a report file: the others keep their bytes, and so their ids.

A JSON entry goes with its line, a YAML entry with the line ``---`` before it; what stands between entries
(``...``, comments) stays.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report import json_lines, yaml_reports
from ooni_pipeline.report.entry import BadEntry, BadReport, EntryRejected, RawEntry, ReportHeader
from ooni_pipeline.report.reader import is_json
from ooni_pipeline.report.source import CHUNK, Source
from ooni_pipeline.report.yaml_documents import Section, split_documents

#: What ends a YAML document. It takes the place of what was cut at the end of a report, or between two
#: documents: the line that went may have been the end of the document before.
_END_OF_DOCUMENT = b"...\n"


class Writable(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True)
class Cut:
    """Bytes of an uncompressed report that are to go, with what takes their place; ``end`` is None where they
    are its last."""

    begin: int
    end: int | None
    filler: bytes = b""


@dataclass(frozen=True)
class Cuttable:
    """An entry of a report, readable or not, its report's header, and how it is cut out."""

    header: ReportHeader
    item: RawEntry | BadEntry
    cut: Cut


def cuttable_entries(path: Path, named: str = "") -> Iterator[Cuttable]:
    """Every entry of a report, in order. ``named`` is what it is called, where ``path`` is another name.

    Raises BadReport as :func:`reader.open_report`: then there are none that could be told apart, and only the
    whole report can go.
    """
    with Source(path) as source, io.BufferedReader(source, CHUNK) as stream:
        begin = stream.peek(1)
        if not begin:
            raise BadReport(RejectReason.EMPTY_REPORT)
        if is_json(path.with_name(named or path.name), begin):
            yield from _lines(json_lines.read_entries(stream, lambda: source.fault))
        else:
            yield from _documents(split_documents(stream), lambda: source.fault)


def _lines(entries: Iterator[RawEntry | BadEntry]) -> Iterator[Cuttable]:
    """Where the next entry begins the end of a line has been read, and blank lines that mean nothing."""
    header, before = ReportHeader(), next(entries, None)
    while before is not None:
        following = next(entries, None)
        yield Cuttable(header, before, Cut(before.offset, following.offset if following else None))
        before = following


def _documents(sections: Iterator[Section], fault: Callable[[], EntryRejected | None]) -> Iterator[Cuttable]:
    last: list[Section] = []

    def noted() -> Iterator[Section]:
        for section in sections:
            last[:] = [section]
            yield section

    documents = noted()
    header = yaml_reports.read_header(documents, fault)
    for item in yaml_reports.read_entries(documents, fault):
        (section,) = last
        plain = section.is_document and section.finished
        yield Cuttable(header, item, Cut(section.begin, section.end, b"" if plain else _END_OF_DOCUMENT))


def write_without(path: Path, destination: Path, cuts: Sequence[Cut]) -> None:
    """Write the report without these parts, which are in order, gzipped where it was. The same bytes and cuts
    give the same file. What cannot be read of a damaged one is left out."""
    with Source(path) as source, destination.open("wb") as file:
        if not source.compressed:
            _copy(source, file, cuts)
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            _copy(source, packed, cuts)


def copy_without(path: Path, file: Writable, cuts: Sequence[Cut]) -> None:
    """Write the uncompressed report without these parts into something that takes bytes."""
    with Source(path) as source:
        _copy(source, file, cuts)


def _copy(source: Source, file: Writable, cuts: Sequence[Cut]) -> None:
    with cast(BinaryIO, io.BufferedReader(source, CHUNK)) as stream:
        position = 0
        for cut in cuts:
            position += _pass_on(stream, cut.begin - position, file)
            position += _pass_on(stream, None if cut.end is None else cut.end - position, None)
            file.write(cut.filler)
        _pass_on(stream, None, file)


def _pass_on(stream: BinaryIO, size: int | None, file: Writable | None) -> int:
    """Copy so many bytes (None: all that are left) to a file, or nowhere. Returns how many there were."""
    done = 0
    while size is None or done < size:
        chunk = stream.read(CHUNK if size is None else min(CHUNK, size - done))
        if not chunk:
            break
        if file is not None:
            file.write(chunk)
        done += len(chunk)
    return done
