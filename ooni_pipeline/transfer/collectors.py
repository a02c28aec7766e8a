"""What fetch needs from a collector, and the collector that is a directory of this machine."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from ooni_pipeline.bucket.manifest import flush, timestamp
from ooni_pipeline.errors import RejectReason, TransferError


@dataclass(frozen=True)
class Listed:
    """A file on a collector. ``path`` is relative to its archive, ``modified`` UTC, ``problem`` a reason
    for which it cannot be taken."""

    path: str
    size: int
    modified: str
    problem: str = ""


class Collector(Protocol):
    """A machine that receives reports. ``name`` stands in manifests; every path is data, never a pattern."""

    name: str

    def list(self) -> Iterator[Listed]:
        """Every file of the archive. Raises TransferError when the collector cannot be reached."""

    def digest(self, path: str) -> str | None:
        """The SHA-256 of the file's bytes, computed where it lies; None when it is gone or unreadable."""

    def copy(self, path: str, destination: Path) -> None:
        """Copy the file. Raises TransferError when that fails."""

    def remove(self, path: str) -> None:
        """Remove the one file. Raises TransferError when that fails; a file that is gone is no failure."""


class DirectoryCollector:
    """A collector whose archive is a directory of this machine (``/data/bouncer/archive`` style)."""

    def __init__(self, directory: Path, name: str | None = None) -> None:
        self.name = name or str(directory)
        self._root = directory

    def list(self) -> Iterator[Listed]:
        if not self._root.is_dir():
            raise TransferError(f"collector {self.name}: there is no directory {self._root}")
        for directory, subdirectories, names in os.walk(self._root, onerror=self._unreadable):
            subdirectories.sort()
            for name in sorted(names):
                if name.startswith(".") or name.endswith((".part", ".tmp", "~")):
                    continue  # somebody is still writing it
                yield self._listed(Path(directory) / name)

    def _unreadable(self, error: OSError) -> None:
        raise TransferError(f"collector {self.name}: cannot list {error.filename}: {error.strerror}")

    def _listed(self, path: Path) -> Listed:
        relative = path.relative_to(self._root).as_posix()
        status = path.lstat()
        modified = timestamp(dt.datetime.fromtimestamp(status.st_mtime, dt.timezone.utc))
        problem = ""
        if not stat.S_ISREG(status.st_mode):
            problem = RejectReason.NOT_A_REGULAR_FILE.value
        return Listed(relative, status.st_size, modified, problem)

    def digest(self, path: str) -> str | None:
        try:
            return file_digest(self._inside(path))
        except OSError:
            return None

    def copy(self, path: str, destination: Path) -> None:
        try:
            shutil.copyfile(self._inside(path), destination, follow_symlinks=False)
        except OSError as error:
            raise TransferError(f"collector {self.name}: cannot copy {path!r}: {error.strerror}") from None

    def remove(self, path: str) -> None:
        try:
            self._inside(path).unlink(missing_ok=True)
        except OSError as error:
            raise TransferError(f"collector {self.name}: cannot remove {path!r}: {error.strerror}") from None

    def _inside(self, path: str) -> Path:
        return self._root / inside(path)


def inside(path: str) -> PurePosixPath:
    """A relative path that stays below where it is used. Raises TransferError for any other."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts:
        raise TransferError(f"refusing the path {path!r}")
    return pure


def file_digest(path: Path) -> str:
    """The hexadecimal SHA-256 of a regular file's bytes; refuses links, waits for no fifo."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        digest = hashlib.sha256()
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()


def settle(part: Path, path: Path) -> None:
    """Flush a finished file and give it its name; never over a file that is there."""
    flush(part)
    os.link(part, path)
    part.unlink()
