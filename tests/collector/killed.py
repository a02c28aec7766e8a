"""Kills this process -9 at the N-th step that it takes on disk below a directory."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket import files

#: What changes something on disk, or makes it last.
_STEPS = (
    "open", "pwrite", "fsync", "rename", "replace", "unlink", "ftruncate", "truncate", "utime",
    "fchmod", "mkdir",
)  # fmt: skip


class Killer:
    """Counts steps; dies right before number ``last`` (0: never). With ``torn`` half of a write is done."""

    def __init__(self, last: int, torn: bool) -> None:
        self.count = 0
        self._last = last
        self._torn = torn
        self._lock = threading.Lock()

    def install(self) -> None:
        """For good: to be called in a process that is there to die."""
        for name in _STEPS:
            setattr(os, name, self._counted(getattr(os, name), name))
        libc = ctypes.CDLL(None, use_errno=True)
        for name in ("renameat2", "syncfs"):
            setattr(files._LIBC, name, self._counted(getattr(libc, name), name))

    def _counted(self, step: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_CREAT):
                return step(*arguments, **options)
            with self._lock:
                self.count += 1
                if self.count == self._last:
                    if self._torn and name == "pwrite":
                        descriptor, data, place = arguments
                        step(descriptor, data[: len(data) // 2], place)
                    os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments, **options)

        return counted


def in_a_child(work: Callable[[int], None], last: int = 0, torn: bool = False) -> tuple[bool, int, bytes]:
    """Do ``work`` in a forked process that dies at that step. It is given a pipe to write to.

    Returns whether it came to its end, how many steps it took then, and what it wrote.
    """
    reading, writing = os.pipe()
    counting, counted = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            killer = Killer(last, torn)
            killer.install()
            work(writing)
            os.write(counted, b"%d" % killer.count)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    os.close(counted)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    with os.fdopen(counting, "rb") as file:
        count = file.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, said
    return not os.WIFSIGNALED(status), int(count or 0), said


def below(path: Path, number: int) -> Path:
    """A fresh directory of a test that needs many."""
    place = path / str(number)
    place.mkdir()
    return place
