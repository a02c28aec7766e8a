"""The threads that do a reception's file work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ooni_pipeline.collector.counts import ReceptionCounts
from ooni_pipeline.collector.refusals import HeaderTextError, NoRoomError
from ooni_pipeline.collector.room import no_room

_T = TypeVar("_T")
#: So many reports go to disk at the same time.
THREADS = 16


class Crew:
    """Threads of its own, and the work of the event loop that must come to its end."""

    def __init__(self, counts: ReceptionCounts) -> None:
        self._counts = counts
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="collector")
        self._tasks: set[asyncio.Task[Any]] = set()

    def in_thread(self, work: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Do something that blocks."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

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
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return asyncio.shield(task)

    async def end(self) -> None:
        """Wait for all that was begun."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._threads.shutdown()
