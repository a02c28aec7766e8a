"""What fetch needs from a collector, and the collector that is a directory of this machine."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from ooni_pipeline.bucket.files import copy_plain, file_digest
from ooni_pipeline.bucket.manifest import timestamp
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
        """The SHA-256 of the file's bytes, computed where it lies; None when it is gone or unreadable.
        Raises TransferError when the collector cannot be reached."""

    def copy(self, path: str, destination: Path) -> None:
        """Copy the file. Raises TransferError when that fails."""

    def remove(self, path: str) -> None:
        """Remove the one file. Raises TransferError when that fails; a file that is gone is no failure."""


class DirectoryCollector:
    """A collector whose archive is a directory of this machine (``/data/bouncer/archive`` style)."""

    def __init__(self, directory: Path, name: str | None = None) -> None:
        self.name = name or str(directory)
        self._root = directory
        self._listed_root: tuple[int, int] | None = None

    def list(self) -> Iterator[Listed]:
        self._must_be_here()
        status = self._root.stat()
        self._listed_root = status.st_dev, status.st_ino
        yield from self._below(self._root)

    def _below(self, directory: Path) -> Iterator[Listed]:
        try:
            with os.scandir(directory) as found:
                names = sorted(entry.name for entry in found)
        except OSError as error:
            if directory == self._root:
                raise self._cannot_list(error) from None
            if os.path.lexists(directory):  # one bad directory does not cost the others
                yield Listed(self._relative(directory), 0, "", RejectReason.UNREADABLE.value)
            return
        for name in names:
            if name.startswith(".") or name.endswith((".part", ".tmp", "~")):
                continue  # somebody is still writing it
            path = directory / name
            try:
                status = path.lstat()
            except OSError:
                continue  # gone since it was listed
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(path)
            else:
                yield self._listed(path, status)

    def _listed(self, path: Path, status: os.stat_result) -> Listed:
        modified = timestamp(dt.datetime.fromtimestamp(status.st_mtime, dt.timezone.utc))
        regular = stat.S_ISREG(status.st_mode)
        problem = "" if regular else RejectReason.NOT_A_REGULAR_FILE.value
        return Listed(self._relative(path), status.st_size, modified, problem)

    def digest(self, path: str) -> str | None:
        try:
            return file_digest(self._inside(path))
        except OSError:
            self._must_be_here()
            return None

    def _must_be_here(self) -> None:
        """Raise TransferError when it is the archive that is gone, or another one mounted in its place."""
        try:
            status = self._root.stat()
            os.scandir(self._root).close()
        except OSError as error:
            raise self._cannot_list(error) from None
        if self._listed_root not in (None, (status.st_dev, status.st_ino)):
            raise TransferError(f"collector {self.name}: {self._root} is not the directory that was listed")

    def copy(self, path: str, destination: Path) -> None:
        try:
            copy_plain(self._inside(path), destination)
        except OSError as error:
            raise TransferError(f"collector {self.name}: cannot copy {path!r}: {error.strerror}") from None

    def remove(self, path: str) -> None:
        try:
            self._inside(path).unlink(missing_ok=True)
        except OSError as error:
            raise TransferError(f"collector {self.name}: cannot remove {path!r}: {error.strerror}") from None

    def _cannot_list(self, error: OSError) -> TransferError:
        return TransferError(f"collector {self.name}: cannot list {self._root}: {error.strerror}")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _inside(self, path: str) -> Path:
        return self._root / inside(path)


def inside(path: str) -> PurePosixPath:
    """A relative path that stays below where it is used. Raises TransferError for any other."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts:
        raise TransferError(f"refusing the path {path!r}")
    return pure
