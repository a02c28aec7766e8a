"""Spreading the reports of a bucket over processes, surviving a report that kills its process."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import TypeVar

from ooni_pipeline.bucket.inside import keep_inside
from ooni_pipeline.errors import PipelineError, UnforeseenError, told

Job = TypeVar("Job")
Result = TypeVar("Result")

#: Makes an executor with so many workers; the standard interface, so that other machines may serve.
PoolFactory = Callable[[int], Executor]
#: Called with (reports done, reports in all).
Progress = Callable[[int, int], None]

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, however that happens (Linux)."""
    keep_inside()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


class _Worker(SpawnProcess):
    """A fresh process that imports what its work needs, and not the program that it was started from:
    that would be luigi, which takes longer than all the rest."""

    def start(self) -> None:
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")  # what it would import, by its file or name
        try:
            super().start()
        finally:
            sys.modules["__main__"] = program


class _Fresh(SpawnContext):
    Process = _Worker


def process_pool(workers: int) -> Executor:
    """A pool of fresh processes (spawned: they inherit no connection, lock or thread of ours). Their work
    must be importable: no function of the program that runs."""
    return ProcessPoolExecutor(
        workers,
        mp_context=_Fresh(),
        initializer=die_with_parent,
        initargs=(os.getpid(),),
    )


def run_all(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    workers: int,
    pool: PoolFactory = process_pool,
) -> Iterator[tuple[Job, Result | None]]:
    """Yield each job with its result as they are done; None for a job that kills every process it gets.

    Few jobs are under way at once, so that a process which dies (a crash in a C library, the
    out-of-memory killer) leaves few suspects; each of those then runs alone. An exception that the
    work raises stops everything: it is a fault of the stage, not of the report. Those of ours and
    OSError come as they are, any other as UnforeseenError.
    """
    waiting = deque(jobs)
    while waiting:
        under_way: dict[Future[Result], Job] = {}
        executor = pool(min(workers, len(waiting)))
        try:
            while waiting or under_way:
                while waiting and len(under_way) < 2 * workers:
                    under_way[executor.submit(_work, work, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield under_way.pop(future), result
        except BrokenExecutor:
            suspects = list(under_way.values())
        else:
            suspects = []
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
        for job in suspects:
            yield job, _alone(job, work, pool)
        if waiting and not suspects:
            _alone(waiting[0], _nothing, pool)  # it broke before it took a job: can it work at all?


def _alone(job: Job, work: Callable[[Job], Result], pool: PoolFactory) -> Result | None:
    """The result of a job in a process of its own, None when it kills that too.

    Raises PipelineError where processes die without any job: then no report is to blame.
    """
    with pool(1) as executor:
        try:
            executor.submit(os.getpid).result()
        except BrokenExecutor:
            raise PipelineError(
                "worker processes die as they start: look for what kills them (out of memory? ulimit -u?)"
            ) from None
        try:
            return executor.submit(_work, work, job).result()
        except BrokenExecutor:
            return None


def _work(work: Callable[[Job], Result], job: Job) -> Result:
    """The work. A foreign exception is told in words here: on its way back its traceback becomes a text
    that quotes what it quotes; and one that cannot travel would break the pool."""
    try:
        return work(job)
    except (PipelineError, OSError) as error:
        if _travels(error):
            raise error from None
        raise UnforeseenError(told(error)) from None
    except Exception as error:
        report = getattr(job, "report", "")  # what most jobs are about
        raise UnforeseenError(f"{f'report {report}: ' if report else ''}{told(error)}") from None


def _travels(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own, made in this line
    except Exception:
        return False
    return True


def _nothing(job: object) -> None:
    """Work that any process can do."""
