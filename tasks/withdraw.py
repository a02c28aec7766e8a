"""``python -m tasks.withdraw``: a report or a measurement goes from everywhere, and does not come back."""

from __future__ import annotations

import argparse
import os
import pwd
import secrets
import sys
import uuid
from pathlib import Path

from ooni_pipeline.bucket.cleaned import is_cleaned
from ooni_pipeline.bucket.keys import read_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.bucket.withdraw_queue import Work, keep_work, unfinished_work, work_done
from ooni_pipeline.bucket.withdrawn import record_withdrawal, tombstones, withdrawals
from ooni_pipeline.errors import BucketError, ConfigurationError, PipelineError, TransferError
from ooni_pipeline.sanitise.wanted import Wanted
from ooni_pipeline.transfer.tombstone_copies import fetch_records, store_records
from tasks import config
from tasks.base import utc_now
from tasks.base import waiting as waits_for
from tasks.command import command, date, days
from tasks.restore import bring_back_freed
from tasks.withdraw_due import work_off
from tasks.withdraw_selection import Selection
from tasks.withdraw_shown import show, show_all, show_queue
from tasks.withdrawing import SWEEP, carry_out, stages_done, sweep

#: What is said where an id leads nowhere: whoever typed it must not take that for done.
NOTHING_FOUND = (
    "nothing was withdrawn: nothing with that id is loaded. If its bucket is not, or the report is held or "
    "rejected, name the bucket: --file, or --id with --from and --to"
)


def selected(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    layout: Layout,
    key: bytes,
    sought: Wanted | None = None,
) -> tuple[Selection, Wanted | None]:
    """What the operator means, and every copy of it."""
    selection = Selection(layout, key)
    buckets = layout.manifest_dates(Stage.RAW)
    if arguments.first:
        wanted = set(days(parser, arguments.first, arguments.last or arguments.first))
        buckets = [bucket for bucket in buckets if bucket in wanted]
    if arguments.file:
        bucket, _, name = arguments.file.partition("/")
        selection.add_report(date(bucket), name)
    elif arguments.report_id:
        selection.add_report_id(arguments.report_id)
    elif arguments.id:
        selection.add_ids([str(arguments.id)], buckets if arguments.first else [])
    else:
        sought = sought or _asked()
        selection.add_sought(sought, buckets)
    selection.add_copies()
    return selection, sought


def _asked() -> Wanted:
    if sys.stdin.isatty():
        print("the address, or another text, in one line: ", end="", file=sys.stderr, flush=True)
    try:
        return Wanted(sys.stdin.readline())
    except ValueError as error:
        raise ConfigurationError(f"what was read from standard input cannot be looked for: {error}") from None


def bring_back(layout: Layout, selection: Selection) -> bool:
    """Bring back what tasks.cleanup freed of the buckets that could not be looked into. False where nothing
    came: then the operator is told what to type."""
    came = False
    for bucket_date in sorted(selection.absent):
        try:
            bring_back_freed(layout, bucket_date, lambda done, total: None)
        except PipelineError as error:
            print(f"error: bucket {bucket_date}: {error}", file=sys.stderr)
        else:
            came |= not is_cleaned(layout, bucket_date)
    return came


def _went(layout: Layout, key: bytes, named: uuid.UUID | None) -> bool:
    """Whether this measurement was withdrawn before."""
    return named is not None and tombstones(layout, key).entry(str(named))


def confirmed() -> bool:
    """Ask on the terminal, which standard input need not be."""
    try:
        with Path("/dev/tty").open("r+", encoding="utf-8") as terminal:
            terminal.write("Withdraw that from everywhere, for ever? Type yes: ")
            terminal.flush()
            return terminal.readline().strip() == "yes"
    except OSError:
        raise ConfigurationError("nobody can be asked here: look with --dry-run, then add --yes") from None


def begin(layout: Layout, key: bytes, selection: Selection, by: str, why: str) -> Work:
    """Write down what is to be done, then the tombstones: from here on it goes. The backup has them before
    anything goes there; where it is away now that keeps nothing on the mirror."""
    now = utc_now()
    name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    dates = {bucket_date for bucket_date, _ in selection.found}
    stages = {bucket_date.isoformat(): stages_done(layout, bucket_date) for bucket_date in sorted(dates)}
    work = Work(name, selection.targets(), stages)
    keep_work(layout, work)
    record_withdrawal(layout, selection.act(name, timestamp(now), by, why), key)
    return work


def finish(layout: Layout, key: bytes) -> list[str]:
    """Finish what an earlier run began, after the backup has told what was withdrawn elsewhere, and work off
    what is due. Returns what could not be done, in words."""
    problems, came = [], []
    try:
        store = config.store()
        came = fetch_records(layout, store, key)
        store_records(layout, store)
    except TransferError as error:
        problems.append(f"the records of withdrawals in the backup: {error}")
    acts = {act.name: act for act in withdrawals(layout, key)}
    for work in unfinished_work(layout):
        if work.act == SWEEP or work.act in acts:
            problems += carry_out(layout, work)
        else:  # it died before its tombstones were there, so before anything was deleted
            work_done(layout, work)
    stones = tombstones(layout, key)
    back = [day for name in came for day in acts[name.removesuffix(".json")].counts]
    problems += sweep(layout, back, stones)
    return problems + work_off(layout, stones)


def told(problems: list[str]) -> int:
    """Say what could not be done; exit status 0 when that is only what is queued."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        print("to go on with what is left: python -m tasks.withdraw --due", file=sys.stderr)
    return 1 if problems else 0


def _checked_why(arguments: argparse.Namespace, selection: Selection, sought: Wanted | None) -> None:
    """The reason, and who asked, are kept for ever, and in the backup: they must not say what goes."""
    names = [report for _, report in selection.found]
    ids = [one for _, what in selection.found.values() for one in what.ids]
    typed = [arguments.report_id] if arguments.report_id else []
    for option, said in (("--why", arguments.why), ("--by", arguments.by or "")):
        if (sought and sought.in_text(said)) or any(one in said for one in (*names, *ids, *typed)):
            raise ConfigurationError(
                f"{option} says what is withdrawn, and it is kept for ever: say it without"
            )


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an id like 0a1b2c3d-…") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.withdraw",
        description="Withdraw a report, a measurement, or everything that holds an address: from the raw "
        "reports, the rejected and the held, the backup with all its versions, the normalised and the "
        "sanitised, the mirror, the database and its views, and the collector's archive. A tombstone, here "
        "and in the backup, keeps it from coming back. What cannot be deleted yet is queued. A run that died "
        "is finished by the next.",
        epilog="Examples: python -m tasks.withdraw --dry-run --file 2016-08-01/REPORT.json; "
        "python -m tasks.withdraw --id 0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9 --why 'a volunteer asked'; "
        "python -m tasks.withdraw --address --why 'a volunteer asked', and the address on standard input; "
        "python -m tasks.withdraw --due",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--file", metavar="BUCKET/REPORT", help="a whole report, by its name in a bucket")
    what.add_argument("--report-id", help="every report and measurement with this report_id")
    what.add_argument("--id", type=_uuid, help="one measurement, by its id in the database and on the mirror")
    what.add_argument(
        "--address",
        action="store_true",
        help="every entry that holds an IP address, in any spelling, or another text, read from standard "
        "input: it would be seen on the command line",
    )
    what.add_argument(
        "--due", action="store_true", help="finish what is left or due; prints faults alone, for cron"
    )
    what.add_argument("--list", action="store_true", help="what was withdrawn, and what is still queued")
    parser.add_argument(
        "--from", dest="first", type=date, help="look into the raw reports of buckets from here on"
    )
    parser.add_argument("--to", dest="last", type=date, help="to here; --from, when left out")
    parser.add_argument("--why", default="", help="the reason, which is kept for ever; required")
    parser.add_argument("--by", help="who wants it, when that is not who types it")
    parser.add_argument("--dry-run", action="store_true", help="list what would go; change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--rewrite-tables",
        action="store_true",
        help="write the tables anew (VACUUM FULL), so that no byte of a deleted row is left in their files; "
        "nobody can read them meanwhile",
    )
    return parser


@command
def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if "" in (arguments.file, arguments.report_id):
        parser.error("--file and --report-id want a name: a variable of a script that is not set?")
    if arguments.file:
        try:
            date(arguments.file.partition("/")[0])
        except argparse.ArgumentTypeError:
            parser.error("--file is not like 2016-08-01/REPORT.json")
    if arguments.last and not arguments.first:
        parser.error("--to needs --from")
    if not (arguments.due or arguments.list or arguments.dry_run or arguments.why.strip()):
        parser.error("--why is required: somebody will ask")
    layout = config.layout()
    if not layout.id_key().exists():
        if arguments.due or arguments.list:
            return 0
        raise BucketError(f"{layout.id_key()} is not here, so no bucket is")
    key = read_key(layout.id_key())
    if arguments.list:
        show_all(layout, key)
        return 0
    if arguments.dry_run:
        selection, _ = selected(parser, arguments, layout, key)
        show(selection)
        return 1 if selection.absent else 0
    with one_writer(layout.lock("withdraw"), waits_for("withdraw")):
        problems = finish(layout, key)
        if arguments.due:
            return told(problems)
        selection, sought = selected(parser, arguments, layout, key)
        # Not for years of them, which no disk may hold: whoever looks for an address says how far back.
        if (arguments.first or not arguments.address) and bring_back(layout, selection):
            selection, sought = selected(parser, arguments, layout, key, sought)
        show(selection)
        _checked_why(arguments, selection, sought)
        if not selection.found:
            missed = not arguments.address and not _went(layout, key, arguments.id)
            if missed:
                print(f"error: {NOTHING_FOUND}", file=sys.stderr)
            return told(problems) or (1 if missed or selection.absent else 0)
        if not arguments.yes and not confirmed():
            print("nothing was withdrawn")
            return 1
        by = arguments.by or pwd.getpwuid(os.getuid()).pw_name
        work = begin(layout, key, selection, by, arguments.why.strip())
        problems += carry_out(layout, work, full=arguments.rewrite_tables)
        show_queue(layout)
        status = told(problems)
        if not status:
            print("withdrawn")
        return status or (1 if selection.absent else 0)


if __name__ == "__main__":
    sys.exit(main())
