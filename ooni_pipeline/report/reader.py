"""Opening a report of either format: its header, then its entries, one by one, in bounded memory.

Every byte of a report ends in the header, a RawEntry, a BadEntry, or is framing, comment or blank.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report import json_lines, yaml_reports
from ooni_pipeline.report.entry import BadEntry, BadReport, EntryRejected, RawEntry, ReportHeader
from ooni_pipeline.report.names import JSON_SUFFIXES, YAML_SUFFIXES
from ooni_pipeline.report.pieces import bad_entry
from ooni_pipeline.report.source import CHUNK, Source
from ooni_pipeline.report.yaml_documents import split_documents


class Report:
    """A report that is open: ``header``, and its entries to be iterated over once."""

    def __init__(self, header: ReportHeader, entries: Iterator[RawEntry | BadEntry]) -> None:
        self.header = header
        self._entries = entries

    def __iter__(self) -> Iterator[RawEntry | BadEntry]:
        return self._entries


@contextmanager
def open_report(path: Path) -> Iterator[Report]:
    """The report in the file ``path``, YAML or JSON by its name, gzip also by its first bytes.

    Raises BadReport when opening: NOT_A_REGULAR_FILE, UNREADABLE, EMPTY_REPORT, BAD_GZIP or BAD_HEADER.
    What is wrong further on costs the entry where it is: a BadEntry. When the bytes cannot go on
    (BAD_GZIP, UNREADABLE, REPORT_TOO_LARGE) what came before is kept and one such BadEntry ends it.
    """
    with Source(path) as source, io.BufferedReader(source, CHUNK) as stream:

        def fault() -> EntryRejected | None:
            return source.fault

        begin = stream.peek(1)
        if not begin:
            if source.fault:
                raise BadReport(source.fault.reason, source.fault.detail)
            raise BadReport(RejectReason.EMPTY_REPORT)
        if is_json(path, begin):
            yield Report(ReportHeader(), _to_the_end(json_lines.read_entries(stream, fault), source))
        else:
            sections = split_documents(stream)
            header = yaml_reports.read_header(sections, fault)
            yield Report(header, _to_the_end(yaml_reports.read_entries(sections, fault), source))


def uncompressed_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a report as they are digested: uncompressed, up to where they can be read.

    Raises BadReport when the file cannot be opened. Chunks have at most 1 MiB.
    """
    with Source(path) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _to_the_end(entries: Iterator[RawEntry | BadEntry], source: Source) -> Iterator[RawEntry | BadEntry]:
    """``entries``, and when the bytes could not go on a BadEntry that says so, unless the last one does."""
    last: RawEntry | BadEntry | None = None
    for last in entries:
        yield last
    if source.fault and not (isinstance(last, BadEntry) and last.reason is source.fault.reason):
        yield bad_entry(source.fault.reason, source.count, b"", source.fault.detail)


def is_json(path: Path, begin: bytes) -> bool:
    """Whether a report is read as JSON, else as YAML: by its name, or by its first bytes."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix in JSON_SUFFIXES:
        return True
    if suffix in YAML_SUFFIXES:
        return False
    return begin.lstrip()[:1] == b"{"  # a name that says nothing
