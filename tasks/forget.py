"""``python -m tasks.forget``: a stage and those below it are to be done again."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys

from ooni_pipeline.bucket.decisions import read_cases
from ooni_pipeline.bucket.forget import (
    BELOW,
    Matching,
    forget_bucket,
    has_matching,
    needs_loading_again,
    would_forget,
)
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.database.markers import forget_loads
from ooni_pipeline.errors import PipelineError
from ooni_pipeline.sanitise.bridges import load_bridge_table
from tasks import config
from tasks.backup import BackupReports, RemoveFetchedReports
from tasks.base import BucketTask, waiting
from tasks.command import add_filters, command, date, days, matching_of
from tasks.fetch import FetchReports
from tasks.load import LoadMeasurements
from tasks.normalise import NormaliseReports, normalise_version
from tasks.publish import PublishReports
from tasks.sanitise import SanitiseReports, decisions_of, sanitise_version

#: What the operator calls a stage: the task's verb.
STAGES: dict[str, tuple[Stage, type[BucketTask]]] = {
    "fetch": (Stage.RAW, FetchReports),
    "backup": (Stage.BACKUP, BackupReports),
    "remove": (Stage.REMOVED, RemoveFetchedReports),
    "normalise": (Stage.NORMALISED, NormaliseReports),
    "sanitise": (Stage.SANITISED, SanitiseReports),
    "publish": (Stage.PUBLISHED, PublishReports),
}
LOAD = "load"


def forget(
    stage: Stage | None,
    bucket_date: dt.date,
    matching: Matching | None,
    *,
    searched: Manifest | None = None,
    version: str = "",
) -> list[str]:
    """Forget a stage of one bucket, None: its load, while nobody works on it: waits for whoever does.

    The load goes first, as the lowest (see forget.BELOW), and none begins until the rest is gone.
    For ``searched`` and ``version`` see forget_bucket.
    """
    layout = config.layout()
    below = BELOW[stage] if stage else ()
    loads = stage is None or needs_loading_again(stage)
    waits = waiting(f"forget of bucket {bucket_date}")
    with contextlib.ExitStack() as locks:
        for file_stage, task in STAGES.values():
            if file_stage in below:
                locks.enter_context(one_writer(task(bucket_date=bucket_date).lock, waits))
        if loads:
            locks.enter_context(one_writer(LoadMeasurements(bucket_date=bucket_date).lock, waits))
        if stage and matching and not has_matching(layout, stage, bucket_date, matching):
            return []
        if loads:
            forget_loads(config.database_url(start=True), bucket_date, bucket_date)
        forgotten: list[Stage] = []
        if stage:
            forgotten = forget_bucket(
                layout, stage, bucket_date, matching, searched=searched, version=version
            )
    return [below.value for below in reversed(forgotten)] + [LOAD] * loads


def versions_today() -> dict[Stage, str]:
    """With which versions the stages that carry over would be done today."""
    versions = {Stage.NORMALISED: normalise_version()}
    try:
        versions[Stage.SANITISED] = sanitise_version(load_bridge_table(config.bridge_table()).digest)
    except PipelineError as error:
        print(f"warning: {error}", file=sys.stderr)
    return versions


def told(
    stage: Stage | None, bucket_date: dt.date, matching: Matching | None, versions: dict[Stage, str]
) -> str:
    """What :func:`forget` would do to a bucket, in a line; nothing is changed, nobody is waited for."""
    layout = config.layout()
    if stage is None:
        return f"would forget {LOAD} of {bucket_date}: all of it is loaded again"
    if matching and not has_matching(layout, stage, bucket_date, matching):
        return f"would forget nothing of {bucket_date}"
    decisions = decisions_of(read_cases(layout, bucket_date)) if stage is Stage.SANITISED else {}
    found = would_forget(layout, stage, bucket_date, matching, versions=versions, decisions=decisions)
    stages = [below.value for below in reversed(found.stages)] + [LOAD] * needs_loading_again(stage)
    line = f"would forget {', '.join(stages) or 'nothing'} of {bucket_date}"
    if found.again or found.carried:
        line += f": {found.again} reports done again, {found.carried} carried over"
    for below in found.as_a_whole:
        line += f"; {below.value}, by another version: all reports again"
    return line


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.forget",
        description="Forget that a stage, and every stage made from it, is done with these buckets; the next "
        "run does them again, with a filter only the matching reports, carrying over the others. Nothing is "
        "deleted that readers see: rows and published files stay until they are replaced. Forgetting fetch "
        "on the bucket's own day takes what came since. The filters --country and --asn go by the report's "
        "name, which the probe gave it when it began; an entry has a probe_cc and a probe_asn of its own. "
        "Where the two disagree the name decides: such entries go with their report, and an entry from GR "
        "in a report called ZZ is not found with --country GR. What a re-run would change: python -m "
        "tasks.preview.",
        epilog="Examples: python -m tasks.forget normalise 2016-08-01 2016-08-07; then luigi --module "
        "tasks.nightly RangeDaily --of Nightly --start 2016-08-01 --stop 2016-08-08; python -m tasks.forget "
        "--dry-run sanitise 2016-08-01 2016-08-07 --country GR --asn AS6799",
    )
    parser.add_argument("stage", choices=[*STAGES, LOAD])
    parser.add_argument("first", type=date, help="first bucket_date")
    parser.add_argument("last", type=date, help="last bucket_date")
    add_filters(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be forgotten, bucket by bucket; change nothing"
    )
    arguments = parser.parse_args()
    matching = matching_of(parser, arguments)
    if matching and arguments.stage not in ("normalise", "sanitise"):
        parser.error(f"{arguments.stage} is done for a bucket as a whole: leave the filters out")
    stage = STAGES[arguments.stage][0] if arguments.stage in STAGES else None
    if arguments.dry_run:
        versions = versions_today() if matching else {}
        for bucket_date in days(parser, arguments.first, arguments.last):
            print(told(stage, bucket_date, matching, versions))
        return 0
    for bucket_date in days(parser, arguments.first, arguments.last):
        forgotten = forget(stage, bucket_date, matching)
        print(f"forgot {', '.join(forgotten) or 'nothing'} of {bucket_date}")
    day_after = arguments.last + dt.timedelta(days=1)
    print(
        "to do them again: luigi --module tasks.nightly RangeDaily --of Nightly "
        f"--start {arguments.first} --stop {day_after}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
