"""``python -m tasks.cleanup``: free the disk of raw files that the backup holds."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm

from ooni_pipeline.bucket.cleaned import Freed, free_bucket, freeable, is_cleaned, lacks_files
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import read_proof
from ooni_pipeline.bucket.room import MB
from ooni_pipeline.errors import BucketError, PipelineError
from ooni_pipeline.transfer.verify import backup_problems
from tasks import config
from tasks.backup import BackupReports, RemoveFetchedReports
from tasks.base import BucketTask, utc_now, waiting
from tasks.command import command, date, days
from tasks.fetch import FetchReports
from tasks.load import LoadMeasurements
from tasks.normalise import NormaliseReports
from tasks.publish import PublishReports
from tasks.restore import RestoreReports, raw_lock

#: What must be done with a bucket before its raw files may go.
DONE: tuple[type[BucketTask], ...] = (
    FetchReports,
    BackupReports,
    RemoveFetchedReports,
    NormaliseReports,
    LoadMeasurements,
    PublishReports,
)
#: Who reads raw files, or makes them: nobody may be at work meanwhile.
_READERS: tuple[type[BucketTask], ...] = (
    FetchReports,
    BackupReports,
    RemoveFetchedReports,
    NormaliseReports,
    RestoreReports,
)
#: Prints a line, or does not.
Say = Callable[[str], None]
#: So many problems of a bucket's backup are printed; the rest is counted.
_SHOWN = 5


@contextlib.contextmanager
def alone(layout: Layout, bucket_date: dt.date) -> Iterator[None]:
    """Nobody else works with the raw files of a bucket until the block ends."""
    with contextlib.ExitStack() as locks:
        for task in _READERS:
            lock = task(bucket_date=bucket_date).lock
            locks.enter_context(one_writer(lock, waiting(f"cleanup of bucket {bucket_date}")))
        locks.enter_context(raw_lock(layout, bucket_date))
        yield


def undone(bucket_date: dt.date) -> list[str]:
    """The stages that a bucket still has before it; its raw files may be needed for them."""
    return [task.__name__ for task in DONE if not task(bucket_date=bucket_date).complete()]


def verified(layout: Layout, bucket_date: dt.date, *, read: bool) -> bool:
    """Whether the backup holds a bucket now; says in lines what is wrong with it."""
    problems = backup_problems(
        layout, bucket_date, config.store(), read=read, connections=config.connections()
    )
    for problem in problems[:_SHOWN]:
        print(f"PROBLEM    {problem}")
    if problems:
        more = f" ({len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        here = not lacks_files(layout, read_proof(layout, Stage.RAW, bucket_date))
        heal = (
            f"python -m tasks.forget backup {bucket_date} {bucket_date}, then luigi --module tasks.backup "
            f"BackupReports --bucket-date {bucket_date} puts it again from the files here"
            if here
            else "and the files are not here: look for an older version of these objects in the store"
        )
        print(f"PROBLEM    the backup of bucket {bucket_date} does not verify{more}: {heal}")
    return not problems


def clean(layout: Layout, bucket_date: dt.date, say: Say, *, read: bool, dry_run: bool) -> Freed | None:
    """Free a bucket, where that may be; None, and a line, where it may not."""
    waits_for = undone(bucket_date)
    if waits_for:
        say(f"kept       {bucket_date}: not done yet: {', '.join(waits_for)}")
        return None
    if not verified(layout, bucket_date, read=read):
        raise BucketError("its files stay here")
    raw = read_proof(layout, Stage.RAW, bucket_date)
    return freeable(layout, raw) if dry_run else free_bucket(layout, raw, utc_now())


def due(layout: Layout, first: dt.date | None, last: dt.date | None, keep_days: int) -> list[dt.date]:
    """The buckets that are old enough and have files here, the oldest first."""
    newest = utc_now().date() - dt.timedelta(days=keep_days)
    dates = [day for day in layout.manifest_dates(Stage.RAW) if day < newest]
    if first is not None and last is not None:
        dates = [day for day in dates if first <= day <= last]
    return [day for day in dates if layout.bucket(Stage.RAW, day).is_dir() and not _is_free(layout, day)]


def _is_free(layout: Layout, bucket_date: dt.date) -> bool:
    return (
        is_cleaned(layout, bucket_date)
        and not freeable(layout, read_proof(layout, Stage.RAW, bucket_date)).files
    )


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.cleanup",
        description="Delete the raw files of buckets older than [raw] keep_days here, where every stage is "
        "done with them and the backup holds every one of them now. Their manifests stay, and so does all "
        "that was made of them; what needs them again brings them back from the backup. Exits with 1 where a "
        "backup does not verify. With --verify it frees nothing and looks at every bucket, old or not.",
        epilog="Examples: python -m tasks.cleanup; python -m tasks.cleanup --dry-run 2016-08-01 2016-08-07; "
        "python -m tasks.cleanup --verify --read 2016-08-01 2016-08-07",
    )
    parser.add_argument(
        "first", type=date, nargs="?", help="first bucket_date; without: all that are old enough"
    )
    parser.add_argument("last", type=date, nargs="?", help="last bucket_date")
    parser.add_argument(
        "--dry-run", action="store_true", help="verify the backup and say what would be freed"
    )
    parser.add_argument("--quiet", action="store_true", help="print problems alone, for cron")
    parser.add_argument("--verify", action="store_true", help="verify the backup alone")
    parser.add_argument(
        "--read",
        action="store_true",
        help="read every object back and compare it: as dear as a restore, and of an encrypted backup it "
        "wants [backup] identity",
    )
    arguments = parser.parse_args()
    if arguments.first is not None and arguments.last is None:
        parser.error("the first bucket_date wants a last one")
    if arguments.first is not None:
        list(days(parser, arguments.first, arguments.last))
    layout = config.layout()
    say: Say = (lambda line: None) if arguments.quiet else print
    if arguments.verify:
        return _verify(layout, arguments, say)
    keep_days = config.keep_days()
    if not keep_days:
        say("[raw] keep_days = 0: raw files are kept for ever, nothing is freed")
        return 0
    return _free(layout, arguments, keep_days, say)


def _verify(layout: Layout, arguments: argparse.Namespace, say: Say) -> int:
    dates = layout.manifest_dates(Stage.BACKUP)
    if arguments.first is not None:
        dates = [day for day in dates if arguments.first <= day <= arguments.last]
    wrong = 0
    for bucket_date in tqdm(dates, unit="bucket", disable=not sys.stderr.isatty()):
        try:
            wrong += not verified(layout, bucket_date, read=arguments.read)
        except PipelineError as error:
            wrong += 1
            print(f"PROBLEM    {bucket_date}: {error}")
    say(f"{len(dates)} buckets are in the backup, {wrong} of them do not verify")
    return 1 if wrong else 0


def _free(layout: Layout, arguments: argparse.Namespace, keep_days: int, say: Say) -> int:
    buckets = files = freed = wrong = 0
    did = "would free" if arguments.dry_run else "freed"
    for bucket_date in tqdm(
        due(layout, arguments.first, arguments.last, keep_days),
        unit="bucket",
        disable=not sys.stderr.isatty(),
    ):
        try:
            with alone(layout, bucket_date):
                done = clean(layout, bucket_date, say, read=arguments.read, dry_run=arguments.dry_run)
        except PipelineError as error:
            wrong += 1
            print(f"PROBLEM    {bucket_date}: {error}")
            continue
        if done is None:
            continue
        buckets, files, freed = buckets + 1, files + done.files, freed + done.freed
        line = f"{bucket_date}: {done.files} files, {done.freed / MB:.1f} MB"
        if done.kept:
            line += f"; {done.kept / MB:.1f} MB more stay among what was rejected"
        say(f"{did:10} {line}")
        if done.changed:
            wrong += 1
            print(
                f"PROBLEM    {bucket_date}: {done.changed} files here are not what was fetched, and stay: "
                "compare them with the backup's, then delete them"
            )
    say(f"{did} {files} files of {buckets} buckets, {freed / MB:.1f} MB")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
