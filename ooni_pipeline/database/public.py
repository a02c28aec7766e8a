"""What the database gives to the public site: rows of buckets that are on the mirror, and of no others."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from psycopg2.sql import SQL, Composable, Identifier

from ooni_pipeline.database.connect import QUESTION_WAITS, Connection, connected, run
from ooni_pipeline.database.statements import statement
from ooni_pipeline.database.views import VIEWS
from ooni_pipeline.errors import DatabaseError

_AT_ONCE = 10_000


class Blocked(NamedTuple):
    """An input that met a known block page, in one network and bucket; the columns of ``blocked.csv.gz``.

    ``latest`` is naive UTC. ``report`` is ``BUCKET/REPORT.json``, the last report that shows it.
    """

    probe_cc: str
    input: str
    probe_asn: str | None
    bucket_date: dt.date
    blocked_count: int
    tested_count: int | None
    fingerprints: str
    latest: dt.datetime | None
    report: str | None


class Country(NamedTuple):
    """Measurements of a country (None: of all that name none in two capitals) and the buckets that hold
    them; ``tested`` are those in which a block page was looked for."""

    probe_cc: str | None
    measurements: int
    tested: int
    buckets: list[dt.date]


class PublishedRows:
    """One snapshot of the database: ``loads`` has the buckets that it shows, with their load_id."""

    def __init__(self, database: Connection, dates: Iterable[dt.date]) -> None:
        self._database = database
        self._definitions = {view: run(database, "site/definition", {"view": view})[0] for view in VIEWS}
        if not all(definition for definition, _, _ in self._definitions.values()):
            raise DatabaseError("the database has not all of the views: run python -m tasks.migrate")
        with database.cursor() as cursor:
            cursor.execute(statement("site/published"), {"dates": list(dates)})
            self.loads: dict[dt.date, int] = dict(cursor.fetchall())

    def copy_view(self, view: str, file: BinaryIO) -> int:
        """Write a view as CSV with a head line, without its row_key; returns how many rows."""
        definition, columns, types = self._definitions[view]
        sorting = [
            SQL('{} COLLATE "C"').format(Identifier(name)) if kind == "text" else Identifier(name)
            for name, kind in zip(columns, types, strict=True)
        ]
        pieces: dict[str, Composable] = {
            "columns": SQL(", ").join(map(Identifier, columns)),
            "definition": SQL(definition),
            "sorting": SQL(", ").join(sorting),
        }
        text = statement("site/copy_view")
        with self._database.cursor() as cursor:
            cursor.copy_expert(SQL(text).format(**pieces), file)
            return int(cursor.rowcount)

    def blocked(self) -> Iterator[Blocked]:
        """By country, input, bucket and network, row by row: there may be millions."""
        with self._database.cursor(name="blocked") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(statement("site/blocked"))
            yield from map(Blocked._make, cursor)

    def countries(self) -> list[Country]:
        """In the order of their codes."""
        return [Country._make(row) for row in run(self._database, "site/countries")]


@contextlib.contextmanager
def published_rows(url: str, dates: Iterable[dt.date]) -> Iterator[PublishedRows]:
    """What the views show of these buckets. A role that only reads will do. Raises DatabaseError."""
    with connected(url, repeatable_read=True, patient=True) as database:
        yield PublishedRows(database, dates)


def loads_in_views(url: str, first: dt.date, last: dt.date) -> dict[dt.date, int]:
    """The load_id of each bucket whose current load the views show."""
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        return dict(run(database, "site/shown", {"first": first, "last": last}))
