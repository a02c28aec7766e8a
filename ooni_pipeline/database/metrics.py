"""Loading a bucket: rows, matches, the small tables and the marker, in one transaction."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.database.connect import Value, connected, run
from ooni_pipeline.database.copying import Progress, Row, copy_batch, rows_of
from ooni_pipeline.database.matches import keep_table
from ooni_pipeline.database.migrate import pending
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import FingerprintTable
from ooni_pipeline.report.json_lines import dumps

#: Called with a report, the offset and the bytes of an entry's line, and why it is no row (quoting nothing).
Reject = Callable[[Path, int, bytes, str], None]

#: The note that counts the entries that were refused.
REFUSED = "refused"


@dataclass
class Load:
    """What a load put into the database. ``notes`` counts what was changed to fit, and what was refused."""

    load_id: int = 0
    measurements: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        """Entries that are not in the table and went to ``reject``."""
        return self.notes[REFUSED]


def load_bucket(
    url: str,
    bucket_date: dt.date,
    reports: Sequence[Path],
    fingerprints: FingerprintTable,
    progress: Progress = lambda done, total: None,
    reject: Reject | None = None,
    before_marking: Callable[[], None] = lambda: None,
) -> Load | None:
    """Replace a bucket by the entries of these sanitised reports. None when another load was first.

    Readers see the old bucket or the new one, never less. An entry that PostgreSQL refuses all the same
    goes to ``reject``, in the order of reports and offsets; without ``reject`` it stops the load.
    ``before_marking`` may still stop it, by raising, when all rows are there. Raises DatabaseError, and
    OSError where a report cannot be read; then the old bucket stays.
    """
    values: dict[str, Value] = {"bucket_date": bucket_date}
    load = Load()
    with connected(url, patient=True) as database:
        if missing := pending(database):
            raise DatabaseError(f"the database lacks {', '.join(missing)}; run python -m tasks.migrate")
        keep_table(database, fingerprints)
        run(database, "load/ensure_partition", values)
        database.commit()  # a partition of its own accord: loads of one month do not wait for each other
        run(database, "load/lock_bucket", values)
        if run(database, "load/find_load", values):
            return None
        run(database, "load/delete_bucket", values)
        run(database, "load/begin_matches")
        rows = rows_of(reports, bucket_date, fingerprints, progress)
        while batch := copy_batch(database, rows):
            for row in batch:
                if row.refused:
                    load.notes[REFUSED] += 1
                    _reject(row, reject)
                else:
                    load.notes.update(row.notes)
        run(database, "load/roll_up", {**values, "fingerprints": fingerprints.version})
        marker = {
            **values,
            "reports": len(reports),
            "fingerprints": fingerprints.version,
            "notes": dumps(dict(sorted(load.notes.items()))),
        }
        before_marking()
        load.load_id, load.measurements = run(database, "load/mark_loaded", marker)[0]
    return load


def _reject(row: Row, reject: Reject | None) -> None:
    if reject is None:
        raise DatabaseError(
            f"the entry at offset {row.offset} of {row.report.name} cannot be loaded: {row.refused}"
        )
    reject(row.report, row.offset, row.line(), row.refused)
