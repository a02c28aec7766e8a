"""A task and a command that fail in ways that nobody foresaw, with a report's content in the exception."""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import luigi

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.pool import run_all
from tasks.base import BucketTask, Progress
from tasks.command import command
from tasks.targets import ManifestTarget
from tests.tasks import faulty  # this module under its name, when it is a program

CANARY = "canary-7f3a"


@dataclass(frozen=True)
class Job:
    """What a worker process gets."""

    report: str


class OddError(BaseException):
    """Not even an Exception."""


class _Unraisable:
    def __del__(self) -> None:
        int(CANARY)


def _chained() -> None:
    try:
        int(CANARY)
    except ValueError as error:
        raise KeyError(CANARY) from error


def _exit() -> None:
    try:
        int(CANARY)
    except ValueError:
        sys.exit(f"while at {CANARY}")


def _interrupted() -> None:
    try:
        int(CANARY)
    except ValueError:
        raise KeyboardInterrupt(CANARY)  # noqa: B904 - the interrupted one is its context


def _raise(error: BaseException) -> None:
    raise error


def _bytes() -> None:
    (CANARY.encode() + b"\xff").decode()


def _thread() -> None:
    thread = threading.Thread(target=int, args=(CANARY,))
    thread.start()
    thread.join()
    raise ValueError(CANARY)


def _unraisable() -> None:
    _Unraisable()
    raise ValueError(CANARY)


def in_a_worker(job: Job) -> None:
    _Unraisable()
    _chained()


#: What happens in the task, and in a command.
FAULTS: dict[str, Callable[[], object]] = {
    "plain": lambda: int(CANARY),
    "chained": _chained,
    "json": lambda: json.loads(f'{{"{CANARY}": nothing'),
    "bytes": _bytes,
    "os": lambda: _raise(OSError(f"cannot take {CANARY}")),
    "odd": lambda: _raise(OddError(CANARY)),
    "thread": _thread,
    "unraisable": _unraisable,
    "worker": lambda: list(run_all([faulty.Job("r1")], faulty.in_a_worker, 1)),
}
#: And in a task alone, where luigi stops even this; or in a command alone, which this one ends.
OF_TASKS = {**FAULTS, "exit": _exit}
OF_COMMANDS = {**FAULTS, "interrupted": _interrupted}


class FaultyReports(BucketTask):
    """Fails so; ``complete``: already when it is asked whether it is done."""

    fault = luigi.Parameter()

    def output(self) -> luigi.Target:
        if self.fault == "complete":
            _chained()
        return ManifestTarget(Stage.RAW, self.bucket_date)

    def work(self, progress: Progress) -> None:
        OF_TASKS[self.fault]()


class AllFaults(luigi.WrapperTask):
    """Every one of them in one run."""

    def requires(self) -> list[luigi.Task]:
        reports: type[Any] = FaultyReports  # luigi types no parameters
        date = dt.date(2016, 8, 1)
        return [reports(bucket_date=date, fault=fault) for fault in (*OF_TASKS, "complete")]


@command
def main() -> int:
    OF_COMMANDS[sys.argv[1]]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
