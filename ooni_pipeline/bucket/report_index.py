"""Which bucket had a report first.

The raw manifests are the truth; this index is derived from them, so that a report which comes again is
known without reading ten years of manifests. It notices by itself which manifests are new or changed,
and is made anew when the file is missing, damaged or of older code.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BucketError

_Answer = TypeVar("_Answer")

#: Another number makes every index anew.
_VERSION = 1
_SCHEMA = """
CREATE TABLE manifests (bucket_date TEXT PRIMARY KEY, size INTEGER, modified INTEGER);
CREATE TABLE reports (
    content TEXT, bucket_date TEXT, report TEXT, PRIMARY KEY (content, bucket_date, report)
) WITHOUT ROWID;
CREATE INDEX reports_of_bucket ON reports (bucket_date);
"""
_FIRST = """
SELECT bucket_date || '/' || report FROM reports WHERE content = ? AND bucket_date <> ?
ORDER BY bucket_date, report LIMIT 1
"""


class ReportIndex:
    """The reports of all other buckets, by the digest of their uncompressed bytes."""

    def __init__(self, layout: Layout, bucket_date: dt.date) -> None:
        self._layout = layout
        self._own = bucket_date.isoformat()
        self._connection: sqlite3.Connection | None = None

    def first(self, content: str) -> str:
        """``<bucket_date>/<report>`` of the other bucket that holds these bytes, empty when none does."""
        row = self._sturdy(lambda connection: connection.execute(_FIRST, (content, self._own)).fetchone())
        return str(row[0]) if row else ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _sturdy(self, ask: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        """Ask the index; one that is damaged is made anew once: it holds nothing of its own."""
        try:
            return ask(self._opened())
        except sqlite3.DatabaseError:
            self.close()
            remove_index(self._layout.report_index())
        try:
            return ask(self._opened())
        except sqlite3.DatabaseError as error:
            self.close()
            path = self._layout.report_index()
            raise BucketError(
                f"{path}, which is made from the raw manifests, cannot be made: {error}"
            ) from None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            path = self._layout.report_index()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path)
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version != _VERSION:
                self.close()
                remove_index(path)
                self._connection = _connect(path)
                self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")
            _bring_up_to_date(self._connection, self._layout)
            self._connection.execute("COMMIT")
        return self._connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute("PRAGMA temp_store = MEMORY")  # no digest of raw bytes into /var/tmp
    connection.execute("PRAGMA secure_delete = ON")  # nor one that stays of a report that was withdrawn
    return connection


@contextlib.contextmanager
def report_index(layout: Layout, bucket_date: dt.date) -> Iterator[ReportIndex]:
    """The index, brought up to date, held alone until the block ends: write the raw manifest inside it,
    so that of two buckets fetched at once one is first."""
    path = layout.report_index()
    with one_writer(path.with_name(f".{path.name}.lock")):  # sqlite's own lock would go with the file
        index = ReportIndex(layout, bucket_date)
        try:
            yield index
        finally:
            index.close()


def remove_index(path: Path) -> None:
    """Remove the index: the next to ask makes it anew."""
    for part in (path, path.with_name(f"{path.name}-journal")):  # a journal left behind would be replayed
        part.unlink(missing_ok=True)


def _bring_up_to_date(connection: sqlite3.Connection, layout: Layout) -> None:
    # A bucket that was put aside with tasks.forget keeps its claim until it is proven again.
    paths = {date: layout.forgotten(Stage.RAW, date) for date in layout.forgotten_dates(Stage.RAW)}
    paths.update({date: layout.manifest(Stage.RAW, date) for date in layout.manifest_dates(Stage.RAW)})
    known = {row[0]: row[1:] for row in connection.execute("SELECT * FROM manifests")}
    for bucket_date, path in sorted(paths.items()):
        date = bucket_date.isoformat()
        try:
            status = path.stat()
        except FileNotFoundError:  # it is being forgotten this moment
            known.pop(date, None)
            continue
        mark = (status.st_size, status.st_mtime_ns)
        if known.pop(date, None) == mark:
            continue
        connection.execute("DELETE FROM reports WHERE bucket_date = ?", (date,))
        connection.executemany(
            "INSERT OR IGNORE INTO reports VALUES (?, ?, ?)",
            [(r.content, date, r.report) for r in Manifest.read(path).reports if r.usable and r.content],
        )
        connection.execute("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)", (date, *mark))
    for date in known:
        connection.execute("DELETE FROM reports WHERE bucket_date = ?", (date,))
        connection.execute("DELETE FROM manifests WHERE bucket_date = ?", (date,))
