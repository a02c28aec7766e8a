"""Matching a loaded bucket again: its rows stay, what is known of fingerprints is made anew.

The rows come through COPY, one by one, over a connection of their own; what matches goes into the transaction
that replaces the bucket's matches. So no more than one row and a few thousand matches are in memory, and the
same matcher says the same of a row as of the entry that it was made from.
"""

from __future__ import annotations

import datetime as dt
import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2

from ooni_pipeline.database.connect import Connection, connected, run
from ooni_pipeline.database.copying import matches_of
from ooni_pipeline.database.matches import keep_table
from ooni_pipeline.database.migrate import pending
from ooni_pipeline.database.statements import statement
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import BLOCKPAGE_TESTS, FingerprintTable
from ooni_pipeline.report.json_lines import loads

#: So much of what matches goes to the server at once: bytes.
MATCHES_BYTES = 4 * 1024 * 1024
#: What COPY in binary form begins with: a signature, flags, the length of an extension.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER_BYTES = len(_SIGNATURE) + 8
_COUNT, _LENGTH = struct.Struct("!h"), struct.Struct("!i")


@dataclass(frozen=True)
class Difference:
    """So many matches of a fingerprint come, and so many go."""

    kind: str
    name: str
    come: int
    go: int


@dataclass(frozen=True)
class Rematch:
    """A bucket that was matched again, or would be: ``load_id`` is 0 then."""

    load_id: int
    rows: int
    differences: tuple[Difference, ...]


def match_again(
    url: str,
    bucket_date: dt.date,
    fingerprints: FingerprintTable,
    progress: Callable[[int], None] = lambda rows: None,
    *,
    dry_run: bool = False,
) -> Rematch | None:
    """Replace the matches and the small tables of a loaded bucket, in one transaction with a new load_id.

    None where the bucket is not loaded, or was matched with this version already. ``progress`` hears of each
    thousand rows that were looked at. With ``dry_run`` nothing is changed. Readers see the old matches or
    the new ones; the views follow at their next refresh. Raises DatabaseError; then all is as it was.
    """
    values: dict[str, Any] = {"bucket_date": bucket_date, "fingerprints": fingerprints.version}
    with connected(url) as database:
        if missing := pending(database):
            raise DatabaseError(f"the database lacks {', '.join(missing)}; run python -m tasks.migrate")
        if not dry_run:
            keep_table(database, fingerprints)
        run(database, "load/lock_bucket", values)
        marker = run(database, "load/find_load", values)
        if not marker or marker[0][1] == fingerprints.version:
            return None
        run(database, "load/begin_matches")
        rows = _match_rows(url, database, bucket_date, fingerprints, progress)
        differences = tuple(Difference(*row) for row in run(database, "matches/differences", values))
        load_id = 0
        if dry_run:
            database.rollback()
        else:
            run(database, "matches/delete", values)
            run(database, "load/roll_up", values)
            ((load_id, _),) = run(database, "matches/mark", values)
    return Rematch(load_id, rows, differences)


def _match_rows(
    url: str,
    database: Connection,
    bucket_date: dt.date,
    fingerprints: FingerprintTable,
    progress: Callable[[int], None],
) -> int:
    """Run every row that may match through the matcher, into ``matched``; how many there were."""
    countries = fingerprints.countries
    wanted = {
        "bucket_date": bucket_date,
        "blockpage_tests": sorted(BLOCKPAGE_TESTS),
        "vendor_tests": sorted(fingerprints.vendor_tests),
        "countries": None if countries is None else sorted(countries),
    }
    matcher = _Matcher(database, fingerprints, progress)
    with connected(url) as reader, reader.cursor() as cursor:
        try:
            cursor.copy_expert(cursor.mogrify(statement("matches/rows"), wanted), matcher)
        except psycopg2.Error:
            if matcher.error is not None:
                raise matcher.error from None
            raise
    matcher.flush()
    return matcher.rows


class _Matcher:
    """The file that COPY writes rows into, each as it comes."""

    def __init__(
        self, database: Connection, fingerprints: FingerprintTable, progress: Callable[[int], None]
    ) -> None:
        self.rows = 0
        self.error: Exception | None = None
        self._database, self._fingerprints, self._progress = database, fingerprints, progress
        self._tuples = CopiedTuples()
        self._matches: list[bytes] = []
        self._size = 0

    def write(self, data: bytes, /) -> int:
        """Match the rows that are whole now."""
        try:
            for row_id, test_name, probe_cc, test_keys in self._tuples.read(data):
                self._match(row_id, test_name, probe_cc, test_keys)
        except Exception as error:
            self.error = error  # the driver may tell another
            raise
        return len(data)

    def _match(self, *row: bytes | None) -> None:
        row_id, test_name, probe_cc, test_keys = row
        entry = {
            "id": _text(row_id),
            "test_name": _text(test_name),
            "probe_cc": _text(probe_cc),
            "test_keys": None if test_keys is None else loads(test_keys),
        }
        matches = matches_of(entry, self._fingerprints)
        if matches:
            self._matches.append(matches)
            self._size += len(matches)
            if self._size > MATCHES_BYTES:
                self.flush()
        self.rows += 1
        if self.rows % 1000 == 0:
            self._progress(self.rows)

    def flush(self) -> None:
        """Send what matched."""
        if self._matches:
            with self._database.cursor() as cursor:
                cursor.copy_expert(statement("load/copy_matches"), io.BytesIO(b"".join(self._matches)))
        self._matches, self._size = [], 0


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


class CopiedTuples:
    """The rows of COPY in binary form, out of pieces of any length; a column is bytes, or None for NULL."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def read(self, data: bytes) -> Iterator[tuple[bytes | None, ...]]:
        """The rows that end in this piece."""
        data = self._rest + data if self._rest else data
        at = 0
        if not self._begun and len(data) >= _HEADER_BYTES:
            if not data.startswith(_SIGNATURE):
                raise DatabaseError("what COPY gives is not in binary form")
            self._begun, at = True, _HEADER_BYTES
        while self._begun and (row := _row(data, at)) is not None:
            columns, at = row
            yield columns
        self._rest = data[at:]


def _row(data: bytes, at: int) -> tuple[tuple[bytes | None, ...], int] | None:
    """One row and where it ends; None where it is not whole, or at the end of all, a count of -1."""
    if len(data) - at < _COUNT.size:
        return None
    (count,) = _COUNT.unpack_from(data, at)
    at += _COUNT.size
    columns: list[bytes | None] = []
    for _ in range(count):
        if len(data) - at < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if len(data) - at < length:
            return None
        columns.append(None if length < 0 else data[at : at + length])
        at += max(length, 0)
    return (tuple(columns), at) if count >= 0 else None
