"""What every task of the graph has in common: the bucket, the lock, the log of progress."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import multiprocessing
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import luigi
from luigi.rpc import RPCError
from tqdm import tqdm

from ooni_pipeline.bucket.inside import keep_inside
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.pool import die_with_parent
from ooni_pipeline.bucket.process import described
from ooni_pipeline.errors import BucketError, PipelineError, UnforeseenError, told
from tasks import config, notify

logger = logging.getLogger("luigi-interface")

Progress = Callable[[int, int], None]

# RangeDaily leaves it out and luigi warns of that, in every range that cron starts.
warnings.filterwarnings("ignore", 'Parameter "param_name" with value "None"', UserWarning)
# It reads these two, and warns in every run that it does not.
warnings.filterwarnings("ignore", "The configuration contains the parameter 'rpc_retry_", UserWarning)


#: What the operator reads when luigid has gone.
NO_LUIGID = "luigid does not answer: start it, or set [core] local_scheduler = true, and run it again"


#: How luigi begins what it logs of a task: with half a line that helps nobody at night.
_WORKER = re.compile(r"^\[pid \d+\] Worker Worker\(.*?\) ")


class _OneLine(logging.Filter):
    """A fault is one line in the log, without a traceback: its last line may quote a report."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text = _WORKER.sub("", record.getMessage().strip())
            record.msg, record.args = f"{text}: {_told(error)}", ()
            record.exc_info = None
        elif record.exc_info:  # luigi asks for a traceback where there is none
            record.exc_info = None
        elif str(record.msg).startswith("Will not run"):  # luigi puts the traceback into the text
            lines = record.getMessage().strip().splitlines()
            kind, _, text = lines[-1].partition(": ")
            ours = kind.startswith("ooni_pipeline.")
            record.msg, record.args = f"{lines[0]}: {text if ours else 'an unforeseen fault'}", ()
        return True


logger.addFilter(_OneLine())


def _told(error: BaseException) -> str:
    """What may be shown of an exception; those that luigi itself makes of a task speak of tasks alone."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    if isinstance(error, RPCError):  # its text has the URL, and that may have a password
        return NO_LUIGID
    by_luigi = step is not None and step.tb_frame.f_globals.get("__name__") == "luigi.worker"
    return str(error) if by_luigi else told(error)


notify.listen(_told)


@contextlib.contextmanager
def unquoted() -> Iterator[None]:
    """Luigi logs, mails and keeps the traceback of what leaves this block: so nothing leaves it whose text,
    or the text of what led to it, may quote a report."""
    try:
        yield
    except (PipelineError, KeyboardInterrupt, SystemExit) as error:
        raise error from None
    except BaseException as error:
        raise UnforeseenError(told(error)) from None


def utc_now() -> dt.datetime:
    """The clock: naive UTC. The one place where the pipeline asks what time it is."""
    return dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)


def waiting(what: str) -> Callable[[int | None], None]:
    """Says in one line that ``what`` waits for a lock, and who has it: it may hang."""

    def tell(holder: int | None) -> None:
        end = f"; if that hangs: kill {holder}" if holder else ""
        logger.warning("%s waits for %s%s", what, described(holder), end)

    return tell


def _keep_private(directory: Path) -> None:
    """Make the private directory, for its owner alone; take from others what they were once given."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        logger.warning("%s was open to others: it has mode 0700 now", directory)
        directory.chmod(0o700)


class BucketTask(luigi.Task):
    """One bucket in one stage. ``requires`` and ``output`` are arithmetic on the date, nothing else."""

    bucket_date = luigi.DateParameter(description="UTC date of the bucket")

    #: Upstream tasks go first, so that the loads of a week share one refresh.
    priority = 10

    @property
    def layout(self) -> Layout:
        return config.layout()

    @property
    def lock(self) -> Path:
        """What the task holds while it works."""
        return self.layout.lock(self.task_family, self.bucket_date)

    def run(self) -> None:
        """Do the work alone: whoever waited for the lock finds the proof there and has nothing to do."""
        keep_inside()
        worker = multiprocessing.parent_process()
        if worker is not None and worker.pid is not None:  # luigi forked this process for the task
            die_with_parent(worker.pid)
        with unquoted():
            try:
                self._run_alone()
            except OSError as error:  # a full disk, a directory of somebody else's
                where = f"{error.filename}: " if error.filename else ""
                raise BucketError(
                    f"bucket {self.bucket_date}: {where}{error.strerror or type(error).__name__}; "
                    f"mend it and run {self.task_family} again"
                ) from error

    def complete(self) -> bool:
        """Whether there is nothing to do: the proof is there."""
        with unquoted():
            return bool(super().complete())

    def prepare(self) -> None:
        """Make what the lock lies in."""
        _keep_private(self.layout.private)

    def _run_alone(self) -> None:
        self.prepare()
        with one_writer(self.lock, waiting(f"{self.task_family} of bucket {self.bucket_date}")):
            if self.complete():
                logger.info("%s of bucket %s was done meanwhile", self.task_family, self.bucket_date)
                return
            with self.progress() as progress:
                self.work(progress)

    def on_failure(self, exception: BaseException) -> str:
        """What luigid's page and mails show: one line, and no traceback."""
        return _told(exception)

    def work(self, progress: Progress) -> None:
        """What the stage does. Subclasses write it."""
        raise NotImplementedError

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """Tells luigid's page, and a terminal where there is one, how far the bucket is."""
        with tqdm(
            desc=f"{self.task_family} {self.bucket_date}",
            unit="report",
            disable=not sys.stderr.isatty(),
            leave=False,
        ) as bar:
            shown, heard = -1, True

            def progress(done: int, total: int) -> None:
                nonlocal shown, heard
                bar.total = total
                bar.update(done - bar.n)
                percent = 100 * done // total if total else 100
                if percent != shown and heard:  # each call is a request to luigid
                    shown = percent
                    try:
                        self._tell(percent, f"bucket {self.bucket_date}: {done} of {total} reports")
                    except RPCError:  # the work is not about luigid: the bucket is finished without it
                        heard = False
                        logger.warning("%s of bucket %s: %s", self.task_family, self.bucket_date, NO_LUIGID)

            yield progress

    def _tell(self, percent: int, message: str) -> None:
        if self.set_progress_percentage and self.set_status_message:  # luigi sets them to run it
            self.set_progress_percentage(percent)
            self.set_status_message(message)

    @classmethod
    @unquoted()
    def bulk_complete(cls, parameter_tuples: Iterable[Any]) -> list[Any]:
        """Which of many buckets are done, asked at once: what RangeDaily needs for years of them."""
        return [date for date in parameter_tuples if cls(bucket_date=date).complete()]
