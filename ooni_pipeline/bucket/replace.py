"""A directory takes the place of another in one step: whoever looks sees the former one or the new one."""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from pathlib import Path

from ooni_pipeline.bucket.files import flush

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
#: So long (seconds) the former directory stays whole for whoever has opened it and now reads its names.
_MOMENT = 0.1


def put_in_place(fresh: Path, directory: Path, former: Path) -> None:
    """Give a finished directory its name in one step; the one that had it goes."""
    if not directory.exists():
        fresh.rename(directory)
    elif _exchange(fresh, directory):
        fresh.rename(former)
    else:  # a file system that cannot exchange: the directory is away for an instant
        directory.rename(former)
        fresh.rename(directory)
    flush(directory.parent)
    if former.exists():
        time.sleep(_MOMENT)
        shutil.rmtree(former)


def make_public(directory: Path) -> None:
    """Make a public directory, open to everybody in spite of our umask."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


def open_to_everybody(directory: Path) -> None:
    """The modes of what is public, in spite of our umask: of the directory and all below."""
    for path in (*directory.rglob("*"), directory):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _exchange(one: Path, other: Path) -> bool:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)
