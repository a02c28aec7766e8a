"""One writer per bucket and stage."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def one_writer(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` alone; wait for whoever holds it. The kernel frees it when we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
