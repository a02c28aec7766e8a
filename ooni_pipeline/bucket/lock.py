"""One writer per bucket and stage."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

#: So long (seconds) somebody waits for a lock before it is told.
PATIENCE = 5.0


@contextlib.contextmanager
def one_writer(path: Path, waits: Callable[[int | None], None] = lambda holder: None) -> Iterator[None]:
    """Hold the lock file ``path`` alone; wait for whoever holds it. The kernel frees it when we die.

    Who waits for more than a moment calls ``waits``, once, with the holder's process id (None where the
    file does not tell): it may hang, and somebody must know whom to look at.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            telling = threading.Timer(PATIENCE, lambda: waits(_holder(path)))
            telling.daemon = True
            telling.start()
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            finally:
                telling.cancel()
        _sign(file)
        yield


def hold(path: Path) -> BinaryIO:
    """Hold the lock file ``path`` alone until what this returns is closed, or we die.

    Raises BlockingIOError at once where somebody else has it; its text is for the operator.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BlockingIOError(f"{path} is held by process {_holder(path) or 'unknown'}") from None
    _sign(file)
    return file


def hold_directory(path: Path) -> int:
    """Hold the directory ``path`` alone, by itself: a lock file can be removed, or be another one elsewhere.

    Returns a descriptor, which holds it until it is closed. Raises BlockingIOError at once where somebody
    else has it. A file system that locks no directories lets everybody have it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BlockingIOError(f"{path} is held by another process, although its lock file is not") from None
    except OSError:
        pass
    return descriptor


def _sign(file: BinaryIO) -> None:
    """Leave our process id in the lock. It only informs: on a full disk the lock holds without it."""
    with contextlib.suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), b"%d\n" % os.getpid())


def _holder(path: Path) -> int | None:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None
