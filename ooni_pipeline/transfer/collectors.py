"""What fetch needs from a collector, and the collector that is a directory of this machine."""

from __future__ import annotations

import datetime as dt
import errno
import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from ooni_pipeline.bucket.files import is_being_written, open_plain, rest_digest
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.errors import RejectReason, TransferError

#: What became of a file that was to be removed. Any other word is why it is still there.
REMOVED, GONE, CHANGED = "removed", "gone", "changed"
#: A file system's clock is a little ahead of the one that is asked: a time so many seconds ahead is now.
CLOCK_GRAIN = 2.0
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Listed:
    """A file on a collector. ``path`` is relative to its archive, ``modified`` UTC, ``problem`` a reason
    for which it cannot be taken, ``age`` the seconds for which it has not changed, by the clock of the
    machine where it lies (see :func:`quiet_for`)."""

    path: str
    size: int
    modified: str
    problem: str = ""
    age: float = float("inf")


class Collector(Protocol):
    """A source of a bucket: a machine that receives reports. ``name`` stands in manifests; every path is
    data, never a pattern. Any method may raise TransferError: the collector cannot be reached (any more).

    A source of another kind, such as a subscriber to what collectors announce, offers the same: what waits
    for us under paths of its own, its digests before and its bytes on request; and it keeps what it has
    until ``remove`` names it with the digest of what is backed up here.
    """

    name: str

    def list(self) -> Iterator[Listed]:
        """Every file of the archive."""

    def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
        """The SHA-256 of each file's bytes, computed where it lies; None when it is gone or unreadable. A
        file that is being written (it is another one than was listed, or than before it was read) is left
        out."""

    def copy(self, files: Mapping[str, Path]) -> None:
        """Copy each file to its place. A file that cannot be read does not arrive; what arrives may be cut
        or changed, so the digest decides. What arrived before a TransferError stays. Raises OSError where
        it is our side that cannot write."""

    def remove(self, files: Mapping[str, str]) -> dict[str, str]:
        """Remove each file that still has this SHA-256, compared where it lies, right before. What became
        of it: REMOVED, GONE, CHANGED, or in a few words why it could not be removed."""

    def close(self) -> None:
        """Give back what is held, such as a connection. The collector can be used again."""


class DirectoryCollector:
    """A collector whose archive is a directory of this machine (``/data/bouncer/renamed`` style).
    ``clock`` tells the seconds since the epoch, for the age of files."""

    def __init__(
        self, directory: Path, name: str | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.name = name or str(directory)
        self._root = directory
        self._clock = clock
        self._listed_root: tuple[int, int] | None = None
        self._seen: dict[str, tuple[int, int]] = {}

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
            if is_being_written(name):
                continue
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
        regular = stat.S_ISREG(status.st_mode)
        problem = "" if regular else RejectReason.NOT_A_REGULAR_FILE.value
        relative = self._relative(path)
        self._seen[relative] = _mark(status)
        age = quiet_for(status.st_mtime, status.st_ctime, self._clock()) if self._clock else float("inf")
        return Listed(relative, status.st_size, modified(status.st_mtime), problem, age)

    def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for path in paths:
            place = self._inside(path)
            try:
                with open_plain(place) as file:
                    before = os.fstat(file.fileno())
                    digest = rest_digest(file)
                    after = os.fstat(file.fileno())
            except OSError:
                self._must_be_here()
                found[path] = None
                continue
            if _mark(before) == _mark(after) == self._seen.get(path, _mark(after)):
                found[path] = digest
        return found

    def _must_be_here(self) -> None:
        """Raise TransferError when it is the archive that is gone, or another one mounted in its place."""
        try:
            status = self._root.stat()
            os.scandir(self._root).close()
        except OSError as error:
            raise self._cannot_list(error) from None
        if self._listed_root not in (None, (status.st_dev, status.st_ino)):
            raise TransferError(f"collector {self.name}: {self._root} is not the directory that was listed")

    def copy(self, files: Mapping[str, Path]) -> None:
        for path, destination in files.items():
            try:
                source = open_plain(self._inside(path))
            except OSError:
                self._must_be_here()
                continue
            with source, destination.open("wb") as copy:
                while chunk := self._read(source, path):
                    copy.write(chunk)

    def _read(self, source: BinaryIO, path: str) -> bytes:
        try:
            return source.read(_CHUNK)
        except OSError as error:
            raise TransferError(f"collector {self.name}: cannot read {path!r}: {error.strerror}") from None

    def remove(self, files: Mapping[str, str]) -> dict[str, str]:
        return {path: self._remove(self._inside(path), digest) for path, digest in files.items()}

    def _remove(self, place: Path, digest: str) -> str:
        try:
            with open_plain(place) as file:
                same = rest_digest(file) == digest
                read = os.fstat(file.fileno())
            here = place.lstat()  # the very file that was read, and nobody wrote meanwhile
            if not same or not os.path.samestat(read, here) or _mark(read) != _mark(here):
                return CHANGED
            place.unlink()
        except FileNotFoundError:
            self._must_be_here()
            return GONE
        except OSError as error:
            self._must_be_here()
            another = error.errno == errno.ELOOP or not stat.S_ISREG(place.lstat().st_mode)
            return CHANGED if another else error.strerror or type(error).__name__
        return REMOVED

    def close(self) -> None:
        self._seen.clear()

    def _cannot_list(self, error: OSError) -> TransferError:
        return TransferError(f"collector {self.name}: cannot list {self._root}: {error.strerror}")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _inside(self, path: str) -> Path:
        return self._root / inside(path)


def quiet_for(modified: float, changed: float, now: float) -> float:
    """The seconds for which a file was left alone: since its content was written and since anything of it
    was changed, whatever is later. All three are of one machine, so its clock may be wrong.

    A time that is yet to come says nothing (its clock was set back, or somebody chose the time): the other
    counts, and with none the file is as old as can be, or it would wait until that time.
    """
    past = [moment for moment in (modified, changed) if moment <= now + CLOCK_GRAIN]
    return now - max(past) if past else float("inf")


def modified(seconds: float) -> str:
    """The time of a file as manifests write it; what no calendar holds becomes its first or last day."""
    bounded = min(max(seconds, -30610224000.0), 253402300799.0)
    epoch = dt.datetime(1970, 1, 1)
    return timestamp(epoch + dt.timedelta(seconds=int(bounded)))


def _mark(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=20_000)  # each path is asked for several times
def inside(path: str) -> PurePosixPath:
    """A relative path that stays below where it is used, written in the one plain way. Raises TransferError
    for any other."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts or str(pure) != path:
        raise TransferError(f"refusing the path {path!r}")
    return pure
