"""Spreading the reports of a bucket over processes, surviving a report that kills its process."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

#: Makes an executor with so many workers; the standard interface, so that other machines may serve.
PoolFactory = Callable[[int], Executor]

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, however that happens (Linux)."""
    os.umask(0o077)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def process_pool(workers: int) -> Executor:
    """A pool of fresh processes (spawned: they inherit no connection, lock or thread of ours)."""
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
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
    work raises stops everything: it is a fault of the stage, not of the report.
    """
    waiting = deque(jobs)
    while waiting:
        under_way: dict[Future[Result], Job] = {}
        executor = pool(min(workers, len(waiting)))
        try:
            while waiting or under_way:
                while waiting and len(under_way) < 2 * workers:
                    under_way[executor.submit(work, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield under_way.pop(future), result
        except BrokenProcessPool:
            suspects = list(under_way.values())
        else:
            suspects = []
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
        for job in suspects:
            yield job, _alone(job, work, pool)


def _alone(job: Job, work: Callable[[Job], Result], pool: PoolFactory) -> Result | None:
    with pool(1) as executor:
        try:
            return executor.submit(work, job).result()
        except BrokenProcessPool:
            return None
