"""What ``python -m tasks.withdraw`` shows: what would go, what went, what waits."""

from __future__ import annotations

from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.withdraw_queue import waiting
from ooni_pipeline.bucket.withdrawn import withdrawals
from tasks.withdraw_selection import Selection


def show(selection: Selection) -> None:
    """What would go, report by report, for the operator's eyes; and what cannot be seen."""
    for (bucket_date, report), (record, what) in sorted(selection.found.items()):
        lies = f"from collector {record.collector}" if record.collector else "put here by hand"
        amount = "whole" if what.whole else f"{what.entries} entries of it"
        print(f"{bucket_date}  {report}  {amount}, {len(what.ids)} measurements, {lies}")
    for bucket_date, absent in sorted(selection.absent.items()):
        print(
            f"{bucket_date}  {len(absent)} raw reports are not here, nobody has looked into them: luigi "
            f"--module tasks.restore RestoreReports --bucket-date {bucket_date}, then type it again"
        )
    reports = sum(what.whole for _, what in selection.found.values())
    entries = sum(what.entries for _, what in selection.found.values() if not what.whole)
    buckets = len({bucket_date for bucket_date, _ in selection.found})
    print(f"{reports} whole reports and {entries} entries of others, in {buckets} buckets")


def show_all(layout: Layout, key: bytes) -> None:
    """What was withdrawn ever, and what of it is still there: numbers and reasons, no names."""
    for act in withdrawals(layout, key):
        reports = sum(counts[0] for counts in act.counts.values())
        measurements = sum(counts[1] for counts in act.counts.values())
        print(
            f"{act.when}  {act.by}: {reports} reports, {measurements} measurements, from {len(act.counts)} "
            f"buckets: {act.why}"
        )
    show_queue(layout)


def show_queue(layout: Layout) -> None:
    """What cannot be deleted yet."""
    for item in waiting(layout):
        print(f"queued: bucket {item.bucket}: {item.told}")
