"""What a withdrawal asks of the database: where a measurement stands, and that deleted rows really go."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from ooni_pipeline.database.connect import QUESTION_WAITS, connected, run

_AT_ONCE = 5000


@dataclass(frozen=True)
class Row:
    """A measurement that is loaded: its bucket, its report (as manifests call it) and its id, a UUID."""

    bucket_date: dt.date
    report: str
    id: str


def rows_with_ids(url: str, ids: Iterable[str]) -> list[Row]:
    """Where measurements with these ids stand, in whatever bucket."""
    wanted, found = sorted(ids), []
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        for start in range(0, len(wanted), _AT_ONCE):
            some = ",".join(wanted[start : start + _AT_ONCE])
            found += [_row(*row) for row in run(database, "withdraw/of_ids", {"ids": some})]
    return found


def rows_of_report(url: str, report_id: str) -> list[Row]:
    """The measurements with a report_id."""
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        return [_row(*row) for row in run(database, "withdraw/of_report", {"report_id": report_id})]


def has_rows(url: str, bucket_date: dt.date) -> bool:
    """Whether rows of a bucket are in the table: they stay there when its load is forgotten."""
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        return bool(run(database, "withdraw/has_rows", {"bucket_date": bucket_date})[0][0])


def delete_reports(url: str, bucket_date: dt.date, reports: Iterable[str]) -> None:
    """Delete the rows of these reports of a bucket now: the load that is to replace the bucket may fail."""
    names = "\n".join(f"{bucket_date}/{report}.json" for report in sorted(reports))
    with connected(url) as database:
        run(database, "load/lock_bucket", {"bucket_date": bucket_date})
        run(database, "withdraw/delete_reports", {"bucket_date": bucket_date, "reports": names})


def vacuum(url: str, bucket_dates: Iterable[dt.date], *, full: bool = False) -> list[str]:
    """Free the space of rows that were deleted, and renew the statistics, which quote values of columns.

    Returns the tables. Deleted rows are out of reach of every query then; what is left of their bytes in a
    page is overwritten by the next rows. With ``full`` the tables are written anew, without them: nobody can
    read a table while that happens, and the disk must have room for it once more.
    """
    done: list[str] = []
    with connected(url) as database:
        tables = [
            row[0]
            for bucket_date in sorted(set(bucket_dates))
            for row in run(database, "withdraw/tables", {"bucket_date": bucket_date})
        ]
        database.commit()
        database.autocommit = True  # a VACUUM is no part of a transaction
        with database.cursor() as cursor:
            for table in sorted(dict.fromkeys(tables), key=lambda name: name.startswith("pg_catalog.")):
                whole = full and not table.startswith("pg_catalog.")
                cursor.execute(f"VACUUM ({'FULL, ' if whole else ''}ANALYZE) {table}")  # quoted by format()
                done.append(table)
    return done


def _row(bucket_date: dt.date, report_filename: str, measurement_id: str) -> Row:
    return Row(bucket_date, report_filename.rpartition("/")[2].removesuffix(".json"), measurement_id)
