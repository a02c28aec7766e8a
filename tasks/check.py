"""``python -m tasks.check``: is anything late, little, full or stuck? For cron, each morning."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from luigi.interface import core
from luigi.lock import getpcmd

from ooni_pipeline.bucket.freshness import (
    Known,
    due,
    impossible_buckets,
    late_buckets,
    little,
    waiting_long,
)
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.process import described, running_for, spoken
from ooni_pipeline.bucket.withdraw_queue import overdue
from ooni_pipeline.database.freshness import freshness
from ooni_pipeline.database.markers import buckets_in_views, loaded_buckets
from ooni_pipeline.errors import BucketError, DatabaseError, PipelineError
from tasks import config, notify, sections
from tasks.base import utc_now
from tasks.command import command
from tasks.publish import published_from
from tasks.site import on_the_site

#: The clock of another machine may differ from ours by this.
_APART = dt.timedelta(minutes=5)


def problems_of_buckets(layout: Layout, now: dt.datetime, late: dt.timedelta) -> Iterator[str]:
    """The database, the views and the latest buckets."""
    dates = due(now, late)
    loaded = in_views = on_pages = None
    try:
        url = config.database_url()
        yield from _of_the_database(url, now, late)
        loaded = loaded_buckets(url, dates[0], dates[-1])
        in_views = buckets_in_views(url, dates[0], dates[-1])
        on_pages = on_the_site(dates)
    except DatabaseError as error:
        start = ": python -m tasks.database start" if config.embedded_server() else ""
        yield f"{error}{start}"
    waiting = {day for day in dates if _waits(day)}
    yield from late_buckets(layout, dates, Known(loaded, in_views, waiting, on_pages))
    yield from impossible_buckets(layout, now.date())
    yield from little(layout, dates[-1], sections.section(sections.check).least_percent)


def _of_the_database(url: str, now: dt.datetime, late: dt.timedelta) -> Iterator[str]:
    fresh = freshness(url, late)
    if fresh.pending:
        yield f"the database lacks {', '.join(fresh.pending)}: python -m tasks.migrate"
    if fresh.unseen and fresh.oldest is not None:
        last = f"{spoken(fresh.refreshed.total_seconds())} ago" if fresh.refreshed is not None else "never"
        age = spoken(fresh.oldest.total_seconds())
        yield (
            f"the views do not show {fresh.unseen} loads, the oldest {age} old; the "
            f"last refresh was {last}: see in pg_stat_activity what it waits for"
        )
    if fresh.now is not None and abs(fresh.now - utc_now()) > _APART:
        yield f"the clock here says {now:%Y-%m-%d %H:%M}, the database's {fresh.now:%Y-%m-%d %H:%M} (UTC)"


def _waits(bucket_date: dt.date) -> bool:
    try:
        return published_from(bucket_date) is not None
    except BucketError:  # a damaged manifest: the ledger tells
        return False


def problems_of_disks(layout: Layout) -> Iterator[str]:
    """Where the trees lie there must be room for the next nights."""
    least = sections.section(sections.check).free_percent
    store = config.store()
    places = {"private": layout.private, "public": layout.public}
    if store.directory is not None:
        places["backup"] = store.directory
    seen: set[int] = set()
    for name, path in places.items():
        try:
            status, device = os.statvfs(path), path.stat().st_dev
        except OSError as error:
            yield f"the {name} directory {path}: {error.strerror}"
            continue
        if device in seen:
            continue
        seen.add(device)
        for what, free, total in (
            ("space", status.f_bavail, status.f_blocks),
            ("inodes", status.f_favail, status.f_files),
        ):
            if total and 100 * free < least * total:
                yield (
                    f"where the {name} directory {path} lies {100 * free // total} % of the {what} are free, "
                    f"and it should be {least}: README, A full disk"
                )


def problems_of_backup() -> Iterator[str]:
    """An encrypted backup that this machine can read after all."""
    options = sections.section(sections.backup)
    if options.encrypt_to and options.identity:
        yield (
            "[backup] identity is set, so this machine can read its own backup: take the private key away "
            "when what you restore is here"
        )


def problems_of_processes() -> Iterator[str]:
    """A luigi of ours that has run for too long: it hangs, or does years at once."""
    longest = int(sections.section(sections.check).longest_hours)
    options = core()
    if options.no_lock or not options.lock_pid_dir:
        return
    for path in sorted(Path(options.lock_pid_dir).glob("*.pid")):
        try:
            pids = [int(line) for line in path.read_text().split()]
        except (OSError, ValueError):
            continue
        for pid in pids:
            called = hashlib.md5(getpcmd(pid).encode(), usedforsecurity=False).hexdigest()
            seconds = running_for(pid)
            if called == path.stem and seconds is not None and seconds > 3600 * longest:
                yield f"{described(pid)}, may hang; if it does: kill {pid}; the next run goes on"


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.check",
        description="Look whether last week's buckets are done, the views and the mirror up to date, the "
        "reports as many as usual, the disks not full, withdrawals carried out, and nothing hangs. Prints a "
        "line for each problem and exits with 1; the limits stand in [check] of luigi.cfg.",
        epilog="Examples: python -m tasks.check; python -m tasks.check --quiet (for cron: "
        "prints nothing when all is well)",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing when all is well")
    arguments = parser.parse_args()
    layout, limits, now = config.layout(), sections.section(sections.check), utc_now()
    late = dt.timedelta(hours=limits.late_hours)
    problems: list[str] = []
    for looking in (
        lambda: problems_of_buckets(layout, now, late),
        lambda: problems_of_disks(layout),
        problems_of_processes,
        problems_of_backup,
        lambda: overdue(layout, now),
        lambda: waiting_long(layout, now, dt.timedelta(days=limits.held_days)),
    ):
        try:
            for problem in looking():  # one by one: what was found before a fault is told too
                problems.append(problem)
        except PipelineError as error:
            problems.append(str(error))
    for problem in problems:
        print(f"PROBLEM    {problem}")
    if problems:
        notify.send({"task": "check", "bucket": "", "fault": problems}, "\n".join(problems))
    elif not arguments.quiet:
        dates = due(now, late)
        print(f"all is well: the buckets from {dates[0]} to {dates[-1]} are done")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
