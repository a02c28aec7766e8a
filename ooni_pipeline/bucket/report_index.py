"""Which bucket had a report first.

The raw manifests are the truth; this index is derived from them, so that a report which comes again is
known without reading ten years of manifests. It notices by itself which manifests are new or changed
and is made anew when the file is missing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Iterator

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest

_SCHEMA = """
CREATE TABLE IF NOT EXISTS manifests (bucket_date TEXT PRIMARY KEY, size INTEGER, modified INTEGER);
CREATE TABLE IF NOT EXISTS reports (content TEXT PRIMARY KEY, bucket_date TEXT, report TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reports_of_bucket ON reports (bucket_date);
"""


class ReportIndex:
    """The reports of all other buckets, by the digest of their uncompressed bytes."""

    def __init__(self, connection: sqlite3.Connection, own: dt.date) -> None:
        self._connection = connection
        self._own = own.isoformat()

    def first(self, content: str) -> str:
        """``<bucket_date>/<report>`` of the other bucket that holds these bytes, empty when none does."""
        row = self._connection.execute(
            "SELECT bucket_date || '/' || report FROM reports WHERE content = ? AND bucket_date <> ?",
            (content, self._own),
        ).fetchone()
        return row[0] if row else ""


@contextlib.contextmanager
def report_index(layout: Layout, bucket_date: dt.date) -> Iterator[ReportIndex]:
    """The index, brought up to date, held alone until the block ends: write the raw manifest inside it,
    so that of two buckets fetched at once one is first."""
    path = layout.report_index()
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=600, isolation_level=None)
    try:
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        _bring_up_to_date(connection, layout)
        yield ReportIndex(connection, bucket_date)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _bring_up_to_date(connection: sqlite3.Connection, layout: Layout) -> None:
    known = {row[0]: row[1:] for row in connection.execute("SELECT * FROM manifests")}
    found = set()
    for bucket_date in layout.manifest_dates(Stage.RAW):
        path = layout.manifest(Stage.RAW, bucket_date)
        status = path.stat()
        mark = (status.st_size, status.st_mtime_ns)
        date = bucket_date.isoformat()
        found.add(date)
        if known.get(date) == mark:
            continue
        connection.execute("DELETE FROM reports WHERE bucket_date = ?", (date,))
        connection.executemany(
            "INSERT OR IGNORE INTO reports VALUES (?, ?, ?)",
            [(r.content, date, r.report) for r in Manifest.read(path).reports if r.usable and r.content],
        )
        connection.execute("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)", (date, *mark))
    for date in known.keys() - found:
        # A bucket that was put aside with tasks.forget keeps its claim until it is proven again.
        if not layout.forgotten(Stage.RAW, dt.date.fromisoformat(date)).exists():
            connection.execute("DELETE FROM reports WHERE bucket_date = ?", (date,))
            connection.execute("DELETE FROM manifests WHERE bucket_date = ?", (date,))
