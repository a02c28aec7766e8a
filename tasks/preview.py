"""``python -m tasks.preview``: what doing buckets again would change, before it is done."""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.bucket.cleaned import refuse_cleaned
from ooni_pipeline.bucket.decisions import read_cases
from ooni_pipeline.bucket.forget import Matching
from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof
from ooni_pipeline.bucket.scratch import furnish, scratch_trees
from ooni_pipeline.bucket.stage import checked_file, watched_proof
from ooni_pipeline.database.changes import Changes, row_changes
from ooni_pipeline.errors import BucketError, RejectReason
from ooni_pipeline.sanitise.bridges import BridgeTable
from tasks import config
from tasks.base import utc_now
from tasks.command import add_filters, command, date, days, matching_of
from tasks.normalise import normalise_bucket
from tasks.sanitise import sanitise_bucket, usable_bridge_table


@dataclass
class Before:
    """A bucket as it is proven now. ``rejected`` and ``held`` are counts by reason."""

    sanitised: Manifest
    rejected: Counter[str]
    held: Counter[str]


@dataclass
class Preview:
    """What doing again would change, in a bucket or in all of them. Pairs are counts before and after."""

    reports: int = 0
    as_they_are: int = 0
    rows: Changes = field(default_factory=Changes)
    reasons: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rows) or self.reports != self.as_they_are or bool(self.reasons)

    def add(self, other: Preview) -> None:
        self.reports += other.reports
        self.as_they_are += other.as_they_are
        self.rows.add(other.rows)
        for reason, (before, after) in other.reasons.items():
            told = self.reasons.get(reason, (0, 0))
            self.reasons[reason] = told[0] + before, told[1] + after

    def line(self) -> str:
        """All of it in a line."""
        if not self:
            return f"as it is: {self.reports} reports"
        rows = self.rows
        form = f", {rows.form} of which only the bytes on the mirror change" if rows.form else ""
        return (
            f"would change: {self.reports - self.as_they_are} of {self.reports} reports; "
            f"rows: {rows.added} added, {rows.gone} gone, {rows.altered} altered{form}"
        )

    def details(self, columns: bool) -> Iterator[str]:
        """Line by line what a person asks next."""
        for reason, (before, after) in sorted(self.reasons.items()):
            yield f"{reason} {before} -> {after}"
        for kind, name in sorted(self.rows.gained.keys() | self.rows.lost.keys()):
            gained, lost = self.rows.gained[kind, name], self.rows.lost[kind, name]
            yield f"{kind} {name} +{gained} -{lost}"
        if columns:
            for column, number in sorted(self.rows.columns.items(), key=lambda one: (-one[1], one[0])):
                yield f"{column} {number}"


def proven(layout: Layout, bucket_date: dt.date) -> Before:
    """What to compare with. Raises BucketError, which names the command, where there is nothing yet, and
    where raw reports are not here."""
    if not layout.manifest(Stage.RAW, bucket_date).exists():
        raise BucketError(
            "its raw reports are not here: luigi --module tasks.fetch FetchReports --bucket-date "
            f"{bucket_date} brings them back from the backup"
        )
    raw = read_proof(layout, Stage.RAW, bucket_date)
    refuse_cleaned(layout, raw)
    try:
        for record in raw.usable().values():
            checked_file(layout.bucket(Stage.RAW, bucket_date), record)
    except BucketError as error:
        raise BucketError(
            f"{error}: python -m tasks.forget fetch {bucket_date} {bucket_date}, then luigi --module "
            f"tasks.fetch FetchReports --bucket-date {bucket_date} brings it back from the backup"
        ) from None
    normalised, sanitised = (_latest(layout, stage, bucket_date) for stage in _COMPARED)
    if normalised is None or sanitised is None or not _complete(layout, raw, normalised, sanitised):
        raise BucketError(
            "it is not sanitised now, so there is nothing to compare with: luigi --module tasks.nightly "
            f"Nightly --bucket-date {bucket_date} does it"
        )
    rejected = _rejected(normalised) + _rejected(sanitised)
    return Before(sanitised, rejected, _held(sanitised))


_COMPARED = (Stage.NORMALISED, Stage.SANITISED)


def _latest(layout: Layout, stage: Stage, bucket_date: dt.date) -> Manifest | None:
    """The proof of a stage, or the one that was put aside: its files and rows are still there."""
    paths = (layout.manifest(stage, bucket_date), layout.forgotten(stage, bucket_date))
    return next((Manifest.read(path) for path in paths if path.exists()), None)


def _complete(layout: Layout, raw: Manifest, normalised: Manifest, sanitised: Manifest) -> bool:
    """Whether the sanitised proof tells of every report: one that was put aside may lack some."""
    if layout.manifest(Stage.SANITISED, sanitised.bucket_date).exists():
        return True
    told = {record.report for record in sanitised.reports}
    told |= {record.report for record in normalised.reports if not record.usable}
    return raw.usable().keys() <= told


def _rejected(manifest: Manifest) -> Counter[str]:
    """Entries by reason, duplicates too; and reports that were refused whole."""
    tally = manifest.tally()
    counts = Counter({f"rejected {reason}": number for reason, number in tally.rejected.items()})
    counts["duplicate"] = tally.duplicate
    counts.update(f"reports refused whole: {one.rejected}" for one in manifest.reports if one.rejected)
    return counts


def _held(manifest: Manifest) -> Counter[str]:
    held: Counter[str] = Counter()
    for record in manifest.reports:
        held[f"held {record.detail or RejectReason.STILL_LEAKS.value}"] += record.counts.held
    return held


def preview_bucket(
    layout: Layout,
    bucket_date: dt.date,
    matching: Matching | None,
    path: Path,
    table: Callable[[], BridgeTable],
) -> Preview:
    """Normalise and sanitise the bucket again in scratch trees, as a run after forgetting would, and compare.

    ``table`` gives the bridge table in ``path``, once it is needed. Raises BucketError where nobody can tell.
    """
    before = proven(layout, bucket_date)
    bridges = table()
    checks = [
        watched_proof(layout, stage, bucket_date)[1]
        for stage in (Stage.RAW, *_COMPARED)
        if layout.manifest(stage, bucket_date).exists()
    ]
    with scratch_trees(layout) as scratch:
        furnish(layout, scratch, bucket_date, matching)
        normalised = normalise_bucket(scratch, bucket_date, id_key(layout.id_key()), _silent)
        cases = read_cases(layout, bucket_date)
        after = sanitise_bucket(scratch, bucket_date, path, bridges, cases, utc_now(), _silent)
        then, now = _by_report(before.sanitised), _by_report(after)
        same = {report for report in then.keys() & now.keys() if _as_it_was(then[report], now[report])}
        there, here = (trees.bucket(Stage.SANITISED, bucket_date) for trees in (layout, scratch))
        old = [
            checked_file(there, one) for name, one in sorted(then.items()) if one.name and name not in same
        ]
        new = [here / one.name for name, one in sorted(now.items()) if one.name and name not in same]
        rows = row_changes(old, new, config.fingerprint_table().match)
        for check in checks:
            check()
    counts = [
        before.rejected + before.held,
        _rejected(normalised) + _rejected(after) + _held(after),
    ]
    reasons = {
        reason: (counts[0][reason], counts[1][reason])
        for reason in counts[0].keys() | counts[1].keys()
        if counts[0][reason] != counts[1][reason]
    }
    return Preview(len(then.keys() | now.keys()), len(same), rows, reasons)


def _by_report(manifest: Manifest) -> dict[str, ReportRecord]:
    return {record.report: record for record in manifest.reports}


def _as_it_was(before: ReportRecord, after: ReportRecord) -> bool:
    """Whether the same bytes would be published; or nothing, for the same reason."""
    return (before.digest, before.rejected, before.detail) == (after.digest, after.rejected, after.detail)


def _silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.preview",
        description="Say what python -m tasks.forget normalise with the same dates and filters, and the run "
        "after it, would change with today's code, settings and bridge table: it normalises and sanitises "
        "the raw reports again, in a scratch directory, and compares with what is proven now. Nothing else "
        "changes. Block pages are matched with today's fingerprints on both sides; rows that the database "
        "would refuse are counted as rows. Exits with 1 where something would change or cannot be told, "
        "with 0 where nothing would. Needs the time of the two stages, and their disk for one bucket.",
        epilog="Examples: python -m tasks.preview 2016-08-01 2016-08-07; "
        "python -m tasks.preview --columns 2016-08-01 2016-08-01 --test-name web_connectivity",
    )
    parser.add_argument("first", type=date, help="first bucket_date")
    parser.add_argument("last", type=date, help="last bucket_date")
    add_filters(parser)
    parser.add_argument(
        "--columns",
        action="store_true",
        help="how many rows are altered in which column, or key of test_keys",
    )
    parser.add_argument(
        "--accept-smaller-bridge-table",
        action="store_true",
        help="go on with a bridge table that lacks bridges which it once had",
    )
    arguments = parser.parse_args()
    matching = matching_of(parser, arguments)
    wanted = list(days(parser, arguments.first, arguments.last))
    path = config.bridge_table()

    @functools.cache
    def table() -> BridgeTable:
        return usable_bridge_table(
            path,
            accept=arguments.accept_smaller_bridge_table,
            anyway=f"python -m tasks.preview {arguments.first} {arguments.last} "
            "--accept-smaller-bridge-table",
            dry_run=True,
        )

    layout, total = config.layout(), Preview()
    changing = unknown = 0
    for bucket_date in wanted:
        try:
            found = preview_bucket(layout, bucket_date, matching, path, table)
        except BucketError as error:
            print(f"error: {bucket_date}: {error}", file=sys.stderr, flush=True)
            unknown += 1
            continue
        changing += bool(found)
        total.add(found)
        show(str(bucket_date), found, arguments.columns)
    if len(wanted) > 1:
        show(
            f"{len(wanted)} buckets, {changing} would change, {unknown} cannot be told",
            total,
            arguments.columns,
        )
    return 1 if changing or unknown else 0


def show(what: str, preview: Preview, columns: bool) -> None:
    print(f"{what}  {preview.line()}")
    for line in preview.details(columns):
        print(f"    {line}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
