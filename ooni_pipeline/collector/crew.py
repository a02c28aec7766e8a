"""The threads that do a reception's file work.

Not those of concurrent.futures: an entry is one small piece of work, and handing it over and back would take
longer than the piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from ooni_pipeline.collector.counts import ReceptionCounts
from ooni_pipeline.collector.refusals import HeaderTextError, NoRoomError
from ooni_pipeline.collector.room import no_room

_T = TypeVar("_T")
#: Is told in the event loop what a piece of work gave, and None, or None and what it raised.
Done = Callable[[Any, BaseException | None], None]
#: So many reports go to disk at the same time.
THREADS = 16


class Crew:
    """Threads of its own, and the work of the event loop that must come to its end."""

    def __init__(self, counts: ReceptionCounts) -> None:
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[tuple[Done, Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._finished: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._is_called = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads = [
            # A daemon: a process that must end, ends; what is on disk by then is what counts.
            threading.Thread(target=self._go, name=f"collector-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, done: Done, work: Callable[..., Any], *arguments: Any) -> None:
        """Do something that blocks."""
        self._work.put((done, work, arguments))

    def _go(self) -> None:
        """What each thread does, until it is told that there is no more."""
        while (piece := self._work.get()) is not None:
            done, work, arguments = piece
            try:
                self._finished.append((done, work(*arguments), None))
            except BaseException as error:
                self._finished.append((done, None, error))
            if not self._is_called:  # one call for all that is finished by then
                self._is_called = True
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    self._loop.call_soon_threadsafe(self._tell)
            del piece, done, work, arguments

    def _tell(self) -> None:
        self._is_called = False  # first: what is finished from now on calls again
        while self._finished:
            done, result, error = self._finished.popleft()
            try:
                done(result, error)
            except Exception as fault:  # the others are told all the same
                self._loop.call_exception_handler({"message": "a result of a thread", "exception": fault})

    def in_thread(self, work: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """The same for who waits."""
        future: asyncio.Future[_T] = self._loop.create_future()
        self.start(partial(_resolve, future), work, *arguments)
        return future

    async def on_disk(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """The same; what the disk refuses is counted, and NoRoomError where it is full."""
        try:
            return await self.in_thread(work, *arguments)
        except Exception as error:
            raise self.judged(error, 1) from None

    def judged(self, error: BaseException, count: int) -> BaseException:
        """What is raised for ``count`` entries or reports that the disk refused; they are counted."""
        if isinstance(error, OSError) and no_room(error):
            error = NoRoomError("the disk of the collector is full: nothing of this was kept")
        if isinstance(error, NoRoomError):
            self._counts.refused_no_room += count
        elif not isinstance(error, HeaderTextError):
            self._counts.write_errors += count
        return error

    def keep(self, work: Coroutine[Any, Any, _T]) -> Awaitable[_T]:
        """Do something to its end, also where its caller is cancelled."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return asyncio.shield(task)

    async def end(self) -> None:
        """Wait for all that was begun."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # who waited was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
