"""Whether the disk takes more."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ooni_pipeline.collector.refusals import NoRoomError

#: Seconds for which it is believed what the disk said of itself, less what was written since.
_BELIEVED = 1.0


class Room:
    """What is free of a disk, down to ``keep_free`` bytes. ``steady`` is a clock that never jumps."""

    def __init__(self, directory: Path, keep_free: int, steady: Callable[[], float]) -> None:
        self._directory = directory
        self._keep_free = keep_free
        self._steady = steady
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._left = 0

    def take(self, size: int) -> None:
        """Before ``size`` bytes are written. Raises NoRoomError where too little would be left."""
        with self._lock:
            now = self._steady()
            if self._looked is None or not 0 <= now - self._looked < _BELIEVED or size > self._left:
                status = os.statvfs(self._directory)
                self._left = status.f_bavail * status.f_frsize - self._keep_free
                self._looked = now
            if size > self._left:
                raise NoRoomError(
                    f"{self._directory}: less than [collector] keep_free_mb would be left; nothing more is "
                    "taken until reports are fetched from renamed/ or the disk grows"
                )
            self._left -= size


def no_room(error: OSError) -> bool:
    """Whether it is the disk that is full, or a quota of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
