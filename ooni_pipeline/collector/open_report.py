"""What the collector holds in memory of a report that is open."""

from __future__ import annotations

import asyncio
from array import array
from dataclasses import dataclass, field
from typing import Literal

from ooni_pipeline.collector.journal import MAX_BATCH

#: A batch ends before it has more bytes than this, if it is more than one entry.
_BATCH_BYTES = 8 * 1024 * 1024


@dataclass(eq=False)
class Waiting:
    """An entry that is not on disk yet: its line, the bytes that its client sent, and who waits for it.

    ``stored`` is None until it is known; ``left`` that nobody waits any more.
    """

    line: bytes
    size: int
    future: asyncio.Future[None]
    stored: bool | None = None
    left: bool = False


@dataclass(eq=False)
class OpenReport:
    """One open report. It is used in the event loop alone.

    ``touched`` is when it was updated, by the steady clock; ``length`` of its journal, acknowledged.
    ``closing`` says that it takes no more entries, ``failed`` that the disk refused to let it be archived.
    Of ``batch``, when there is one, a thread is writing.
    """

    format: Literal["json", "yaml"]
    touched: float
    length: int = 0
    closing: bool = False
    failed: bool = False
    batch: list[Waiting] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    #: Entries that are still to be written and whose callers are gone.
    left: list[Waiting] = field(default_factory=list)
    #: Hashes of lines that are stored although their clients may not know. Thousands of reports may be open.
    forgiven: array[int] | None = None
    idle: asyncio.Future[None] | None = None

    def next_batch(self) -> list[bytes]:
        """Take what is to be written at once, in its order; at least one entry."""
        size = count = 0
        for one in self.waiting[:MAX_BATCH]:
            size += len(one.line)
            if count and size > _BATCH_BYTES:
                break
            count += 1
        self.batch, self.waiting = self.waiting[:count], self.waiting[count:]
        return [one.line for one in self.batch]

    def settle(self, batch: list[Waiting], error: BaseException | None) -> None:
        """Tell everybody who waits for these what became of it."""
        for one in batch:
            one.stored = error is None
            if one.left:
                self.left.remove(one)
                if one.stored:
                    self.remember(one.line)
            elif one.future.done():
                pass  # its caller was cancelled this moment, and will say so
            elif error is None:
                one.future.set_result(None)
            else:
                one.future.set_exception(error)

    def leave(self, one: Waiting) -> None:
        """The caller of an entry was cancelled: its client will not be told, and may send it again."""
        if one.stored is None:
            one.future = asyncio.get_running_loop().create_future()
            one.left = True
            self.left.append(one)
        elif one.stored:
            self.remember(one.line)

    def take_back(self, line: bytes) -> Waiting | None:
        """The same entry where it is still to be written and its first caller is gone; now it has another."""
        for one in self.left:
            if one.line == line:
                self.left.remove(one)
                one.left = False
                return one
        return None

    def remember(self, line: bytes) -> None:
        """One repetition of a line that is stored will be forgiven."""
        self.forgiven = self.forgiven or array("q")
        self.forgiven.append(hash(line))
        del self.forgiven[:-MAX_BATCH]

    def forgive(self, line: bytes) -> bool:
        """Whether it is such a repetition; it counts once."""
        if not self.forgiven:
            return False
        try:
            self.forgiven.remove(hash(line))
        except ValueError:
            return False
        return True

    async def until_idle(self) -> None:
        """Wait until nothing is being written, nor waits to be."""
        if self.batch or self.waiting:
            if self.idle is None or self.idle.done():
                self.idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self.idle)

    def now_idle(self) -> None:
        """Tell whoever waits for it."""
        if self.idle is not None and not self.idle.done():
            self.idle.set_result(None)
