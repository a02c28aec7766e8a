"""Loading a bucket: rows, matches, the small tables and the marker, in one transaction."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.database.connect import Connection, Value, connected, run
from ooni_pipeline.database.migrate import pending
from ooni_pipeline.database.rows import csv_line, metrics_row
from ooni_pipeline.database.statements import statement
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import FingerprintTable
from ooni_pipeline.report.json_lines import dumps, loads

Progress = Callable[[int, int], None]


@dataclass
class Load:
    """What a load put into the database."""

    load_id: int
    measurements: int
    notes: Counter[str]


def load_bucket(
    url: str,
    bucket_date: dt.date,
    reports: Sequence[Path],
    fingerprints: FingerprintTable,
    progress: Progress = lambda done, total: None,
) -> Load | None:
    """Replace a bucket by the entries of these sanitised reports. None when another load was first.

    Readers see the old bucket or the new one, never less. Raises DatabaseError; then the old one stays.
    """
    values: dict[str, Value] = {"bucket_date": bucket_date}
    with connected(url) as database:
        if missing := pending(database):
            raise DatabaseError(f"the database lacks {', '.join(missing)}; run python -m tasks.migrate")
        with database.cursor() as cursor:
            cursor.execute("SELECT ensure_metrics_partition(%s)", (bucket_date,))
        database.commit()  # a partition of its own accord: loads of one month do not wait for each other
        run(database, "load/lock_bucket", values)
        if run(database, "load/find_load", values):
            return None
        run(database, "load/delete_bucket", values)
        run(database, "load/begin_matches")
        load = Load(0, 0, Counter())
        for number, report in enumerate(reports, 1):
            load.measurements += _copy_report(database, report, fingerprints, load.notes)
            progress(number, len(reports))
        run(database, "load/roll_up", {**values, "fingerprints": fingerprints.version})
        marker = {
            **values,
            "reports": len(reports),
            "measurements": load.measurements,
            "fingerprints": fingerprints.version,
            "notes": dumps(dict(sorted(load.notes.items()))),
        }
        load.load_id = run(database, "load/mark_loaded", marker)[0][0]
    return load


def _copy_report(
    database: Connection, report: Path, fingerprints: FingerprintTable, notes: Counter[str]
) -> int:
    matches = io.BytesIO()
    with report.open("rb") as lines, database.cursor() as cursor:
        rows = Rows(lines, fingerprints, matches, notes)
        cursor.copy_expert(statement("load/copy_metrics"), rows, size=256 * 1024)
        if matches.tell():
            matches.seek(0)
            cursor.copy_expert(statement("load/copy_matches"), matches)
    return rows.count


class Rows:
    """The rows of a report as a file that COPY reads: made as they are asked for, matched on the way."""

    def __init__(
        self, lines: Iterator[bytes], fingerprints: FingerprintTable, matches: io.BytesIO, notes: Counter[str]
    ) -> None:
        self.count = 0
        self._lines = lines
        self._fingerprints = fingerprints
        self._matches = matches
        self._notes = notes
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """About ``size`` bytes of CSV, empty at the end."""
        pieces, length = [self._rest], len(self._rest)
        while size < 0 or length < size:
            line = next(self._lines, None)
            if line is None:
                break
            row = self._row(line)
            pieces.append(row)
            length += len(row)
        data = b"".join(pieces)
        if size < 0:
            size = len(data)
        self._rest = data[size:]
        return data[:size]

    def readline(self, size: int = -1, /) -> bytes:  # psycopg2 asks that it be there and never calls it
        raise NotImplementedError

    def _row(self, line: bytes) -> bytes:
        entry = loads(line)
        self.count += 1
        if self._fingerprints.wants(entry["test_name"], entry["probe_cc"]):
            for kind, names in (
                ("blockpage", self._fingerprints.match_blockpages(entry)),
                ("vendor", self._fingerprints.match_vendors(entry)),
            ):
                for name in names:
                    self._matches.write(csv_line(entry["id"], kind, name))
        return metrics_row(entry, self._notes)
