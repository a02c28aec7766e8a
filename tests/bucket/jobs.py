"""Work for pools: functions that a spawned process can import."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.bucket.pool import run_all
from tests.bucket import jobs  # this module under its name, when it is a program


class TwoArgumentsError(Exception):
    """An exception that cannot travel between processes: unpickling it fails."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def square(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


def perhaps_die(number: int) -> int:
    """Multiples of 7 are killed, multiples of 10 crash in C, the rest are squared."""
    if number % 7 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 10 == 0:
        ctypes.string_at(0)
    return number * number


def always_die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    if number == 3:
        raise ZeroDivisionError("three")
    return number


@dataclass(frozen=True)
class Probes:
    """A job about a report."""

    report: str


def fail_without_pickle(job: Probes) -> None:
    raise TwoArgumentsError("what a", " probe said")


def fail_after_another(job: Probes) -> None:
    try:
        fail_without_pickle(job)
    except TwoArgumentsError as error:
        raise ValueError("again what a probe said") from error


def fail_with(error: Exception) -> None:
    raise error


def write_pid_and_wait(directory: Path) -> None:
    (directory / str(os.getpid())).touch()
    time.sleep(600)


def umask(_: int) -> int:
    old = os.umask(0o077)
    os.umask(old)
    return old


def core_limit(_: int) -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_CORE)


def knows_the_program(_: int) -> bool:
    """Whether this process has imported the program that its parent runs."""
    return hasattr(sys.modules["__main__"], "__file__")


def main(directory: Iterable[str]) -> None:
    """A parent of two workers that wait: for a test that kills it."""
    for place in directory:
        list(run_all([Path(place)] * 2, jobs.write_pid_and_wait, 2))


if __name__ == "__main__":
    main(sys.argv[1:])
