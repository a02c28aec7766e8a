"""``python -m tasks.held``: reports that wait for a person, and what the person decides."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import pwd
import re
import sys

from ooni_pipeline.bucket.decisions import DROP, RELEASE, HeldReport, decide, held_reports, read_cases
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, moment, read_proof
from ooni_pipeline.errors import BucketError, RejectReason
from ooni_pipeline.report.kept import kept_lines
from tasks import config
from tasks.base import utc_now
from tasks.command import command, date, days
from tasks.forget import forget
from tasks.redo import redo, refresh

#: Why a report is held whose name, which cannot be cut, holds a bridge.
_NAME = RejectReason.BRIDGE_IN_ITS_NAME.value
_ENDING = re.compile(r"(?:\.(?:json|jsonl|yaml))?(?:\.gz)?\Z")


def show_list(layout: Layout, buckets: list[dt.date]) -> int:
    """One line a report; 1 where one waits."""
    waiting = 0
    for bucket_date in buckets:
        for held in held_reports(layout, bucket_date):
            waiting += held.waits
            entries = f"{held.held} of {held.taken} entries"
            print(f"{bucket_date}  {held.report}  {entries}  {held.why}  {_state(held)}")
    if waiting:
        print(f"{waiting} wait for a person: python -m tasks.held --help", file=sys.stderr)
    return 1 if waiting else 0


def _state(held: HeldReport) -> str:
    case = held.case
    if not case.decision:
        waited = utc_now() - moment(case.since)
        hours = int(waited.total_seconds() // 3600)
        return f"waits {hours // 24} d {hours % 24} h"
    decided = f"{case.decision} decided {case.when} by {case.by}"
    return f"{decided}, not done yet" if held.waits else f"{decided}: these cannot be cut and stay held"


def show_report(layout: Layout, bucket_date: dt.date, held: HeldReport) -> int:
    """Where the bytes lie and why they are held, line by line; never what they say."""
    print(f"{held.report}: {held.held} of {held.taken} entries, {held.why}, {_state(held)}")
    if held.case.reason:
        print(f"  reason given: {held.case.reason}")
    print(f"  normalised: {layout.bucket(Stage.NORMALISED, bucket_date) / held.report}.json")
    path = layout.held(bucket_date) / f"{held.report}.jsonl"
    if path.exists():
        print(f"  held:       {path}")
        for number, line in enumerate(kept_lines(path), 1):
            print(f"    line {number}: {line}")
    return 0


def carry_out(
    layout: Layout, bucket_date: dt.date, reports: list[HeldReport], decision: str, reason: str
) -> int:
    """Record a decision and do what depends on it again."""
    names = {held.report for held in reports}
    by = pwd.getpwuid(os.getuid()).pw_name
    decide(layout, bucket_date, names, decision=decision, now=utc_now(), by=by, reason=reason)
    forget(Stage.SANITISED, bucket_date, names.__contains__)
    done = redo(bucket_date)
    if layout.manifest(Stage.SANITISED, bucket_date).exists():
        for record in read_proof(layout, Stage.SANITISED, bucket_date).reports:
            if record.report in names:
                counts = record.counts
                became = f"{counts.out} measurements to publish, {counts.held} stay held"
                print(f"{record.report}: {became if decision == RELEASE else 'is never published'}")
    return 0 if done and refresh([bucket_date]) else 1


def named(layout: Layout, bucket_date: dt.date, names: list[str]) -> list[HeldReport]:
    """The reports of these names, with or without an ending, which are held or were decided on. Raises
    BucketError for others."""
    path = layout.manifest(Stage.SANITISED, bucket_date)
    if not path.exists():
        raise BucketError(
            f"bucket {bucket_date} is not sanitised now: luigi --module tasks.nightly Nightly --bucket-date "
            f"{bucket_date} first"
        )
    held = {one.report: one for one in held_reports(layout, bucket_date)}
    cases = read_cases(layout, bucket_date)
    for record in Manifest.read(path).reports:  # a decision can be changed
        if record.report in cases and record.report not in held:
            counts, case = record.counts, cases[record.report]
            held[record.report] = HeldReport(record.report, 0, counts.taken, record.detail, case, False)
    found = []
    for name in names:
        report = name if name in held else _ENDING.sub("", name)
        if report not in held:
            there = ", ".join(held) or "none"
            raise BucketError(f"{name} is not held in bucket {bucket_date}; held are: {there}")
        found.append(held[report])
    return found


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.held",
        description="Reports that are held because they look as if somebody asks with them whether an "
        "address is a bridge, or because something in them could not be cut. Nothing of a report that "
        "is held as a whole is published until a person has looked at it.",
        epilog="Examples: python -m tasks.held list; python -m tasks.held show 2016-08-01 REPORT; "
        "python -m tasks.held release 2016-08-01 REPORT --reason 'a list of relays'; "
        "python -m tasks.held drop 2016-08-01 REPORT REPORT",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser("list", help="what is held; exits with 1 where something waits")
    listing.add_argument("first", type=date, nargs="?", help="first bucket_date; all buckets, when left out")
    listing.add_argument("last", type=date, nargs="?", help="last bucket_date; the first, when left out")
    showing = verbs.add_parser("show", help="where the held bytes of a report lie, and why")
    showing.add_argument("bucket", type=date)
    showing.add_argument("report")
    for verb, what in (
        (RELEASE, "publish reports, with every known bridge cut wherever it stands"),
        (DROP, "never publish reports: all of their entries count as rejected"),
    ):
        deciding = verbs.add_parser(
            verb, help=what, description=f"{what}; at once, and whenever the bucket is done again."
        )
        deciding.add_argument("bucket", type=date)
        deciding.add_argument("reports", nargs="+", metavar="report")
        deciding.add_argument("--reason", default="", help="why, for whoever asks later")
    arguments = parser.parse_args()
    layout = config.layout()
    if arguments.verb == "list":
        buckets = layout.held_dates()
        if arguments.first:
            buckets = list(days(parser, arguments.first, arguments.last or arguments.first))
        return show_list(layout, buckets)
    if arguments.verb == "show":
        return show_report(layout, arguments.bucket, named(layout, arguments.bucket, [arguments.report])[0])
    reports = named(layout, arguments.bucket, arguments.reports)
    if arguments.verb == RELEASE:
        for held in reports:
            if held.why == _NAME:
                raise BucketError(
                    f"the name of {held.report} holds a bridge and would be published with it: it can only "
                    "be dropped"
                )
    return carry_out(layout, arguments.bucket, reports, arguments.verb, arguments.reason)


if __name__ == "__main__":
    sys.exit(main())
