"""Rows through COPY, in batches: what the server refuses is found and set aside, the rest goes in."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import errorcodes

from ooni_pipeline.database.connect import Connection
from ooni_pipeline.database.rows import csv_line, metrics_row
from ooni_pipeline.database.statements import statement
from ooni_pipeline.fingerprints import FingerprintTable
from ooni_pipeline.report.json_lines import loads

Progress = Callable[[int, int], None]

#: So much goes through one COPY, under one savepoint, and is kept until it is in: bytes.
BATCH_BYTES = 16 * 1024 * 1024
#: A row weighs more than its bytes while it is kept.
_OVERHEAD = 500
#: The driver sends what ``read`` gives as one message. The server begins with a message when all of it is
#: there, and the last 8 kB wait for the next one: with larger messages it idles while we make rows (measured:
#: with 256 kB twice the time).
_MESSAGE_BYTES = 16 * 1024
#: What PostgreSQL says of one row; of anything else (no space, no connection) it is not the row's fault.
_OF_A_ROW = (
    errorcodes.CLASS_DATA_EXCEPTION,
    errorcodes.CLASS_INTEGRITY_CONSTRAINT_VIOLATION,
    errorcodes.CLASS_PROGRAM_LIMIT_EXCEEDED,
)


@dataclass
class Row:
    """An entry on its way into the database: where it stands, and what is made of it.

    ``size`` are the bytes of its line, ``matches`` lines for ``matched``. ``refused`` says why it cannot be
    a row, in words that quote nothing of it; empty when it can.
    """

    report: Path
    offset: int
    size: int
    csv: bytes = b""
    matches: bytes = b""
    notes: Counter[str] = field(default_factory=Counter)
    refused: str = ""

    def line(self) -> bytes:
        """The entry's line, without its end, read again."""
        with self.report.open("rb") as lines:
            lines.seek(self.offset)
            return lines.read(self.size).rstrip(b"\n")


def rows_of(
    reports: Sequence[Path], bucket_date: dt.date, fingerprints: FingerprintTable, progress: Progress
) -> Iterator[Row]:
    """Every entry of the reports, in their order; ``progress`` hears of each report that is read."""
    for number, report in enumerate(reports, 1):
        offset = 0
        with report.open("rb") as lines:
            for line in lines:
                row = Row(report, offset, len(line))
                _make(row, line, bucket_date.isoformat(), fingerprints)
                yield row
                offset += len(line)
        progress(number, len(reports))


def _make(row: Row, line: bytes, bucket_date: str, fingerprints: FingerprintTable) -> None:
    try:
        entry: Any = loads(line)
    except ValueError:
        row.refused = "not JSON"
        return
    if not isinstance(entry, dict):
        row.refused = "not a mapping"
    elif entry.get("bucket_date") != bucket_date:
        row.refused = "of another bucket"  # nothing would ever replace it
    else:
        row.csv = metrics_row(entry, row.notes)
        row.matches = matches_of(entry, fingerprints)


def matches_of(entry: dict[str, Any], fingerprints: FingerprintTable) -> bytes:
    """Lines for ``matched``: of an entry that is loaded, and of a row that is matched again."""
    return b"".join(csv_line(str(entry.get("id")), kind, name) for kind, name in fingerprints.match(entry))


class Batch:
    """Rows as a file that COPY reads: made as they are asked for, and kept in ``taken``."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.taken: list[Row] = []
        self.error: BaseException | None = None
        self._rows = rows
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        """Some whole rows; nothing when the batch is full or there are no more."""
        rows: list[bytes] = []
        length = 0
        try:
            while length < _MESSAGE_BYTES and self._size < BATCH_BYTES:
                row = next(self._rows, None)
                if row is None:
                    break
                self.taken.append(row)
                rows.append(row.csv)
                length += len(row.csv)
                self._size += len(row.csv) + _OVERHEAD
        except BaseException as error:
            self.error = error  # the driver would tell its text to the server, whose log is not ours
            raise RuntimeError("no more rows") from None
        return b"".join(rows)

    def readline(self, size: int = -1, /) -> bytes:  # psycopg2 asks that it be there and never calls it
        raise NotImplementedError


def copy_batch(database: Connection, rows: Iterator[Row]) -> list[Row]:
    """Take a batch of rows into ``metrics`` and their matches into ``matched``; none when there are no more.

    The rows that PostgreSQL refuses come back with their ``refused`` set and are not in. Raises the
    driver's error where it is not a row's fault, and what making a row raised.
    """
    batch = Batch(rows)
    _copy(database, batch)
    matches = b"".join(row.matches for row in batch.taken if not row.refused)
    if matches:
        with database.cursor() as cursor:
            cursor.copy_expert(statement("load/copy_matches"), io.BytesIO(matches))
    return batch.taken


def _copy(database: Connection, batch: Batch) -> None:
    """COPY under a savepoint; where the server refuses a row, one half after the other, down to that row."""
    with database.cursor() as cursor:
        cursor.execute("SAVEPOINT batch")
        try:
            cursor.copy_expert(statement("load/copy_metrics"), batch)
        except psycopg2.Error as error:
            if batch.error is not None:
                raise batch.error from None
            if not batch.taken or (error.pgcode or "")[:2] not in _OF_A_ROW:
                raise
            refusal = f"SQLSTATE {error.pgcode}"
            cursor.execute("ROLLBACK TO SAVEPOINT batch")
        else:
            refusal = ""
        cursor.execute("RELEASE SAVEPOINT batch")
    if refusal and len(batch.taken) == 1:
        batch.taken[0].refused = refusal
    elif refusal:
        middle = len(batch.taken) // 2
        for half in (batch.taken[:middle], batch.taken[middle:]):
            _copy(database, Batch(iter(half)))
