"""Files that are there whole or not at all, whatever dies while they are written."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ooni_pipeline.report.writer import part_of

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_CHUNK = 1024 * 1024
#: A name that is made longer is cut to this many bytes first: file systems take 255.
_ROOM = 230
_LIBC = ctypes.CDLL(None, use_errno=True)
#: Of renameat2(2): the names are paths; what is there stays.
_HERE, _NO_REPLACE = -100, 1
#: How the names of files end that somebody still writes.
_UNFINISHED = (".part", ".tmp", "~")


def is_being_written(name: str) -> bool:
    """Whether a file or directory of this name is not for us yet: hidden, or named as temporary ones are."""
    return name.startswith(".") or name.endswith(_UNFINISHED)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write; when the block ends well the file stands at ``path``, whole and flushed.

    Whoever writes the same file at the same time waits; what a run that died left behind goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    descriptor = _claim(part)
    try:
        yield part
        flush(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    flush(path.parent)


def _claim(part: Path) -> int:
    """Make the file anew and hold it alone, until the descriptor is closed or we die."""
    while True:
        descriptor = os.open(part, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):  # a mounted disk may know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        ours = os.fstat(descriptor)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(ours, part.lstat()):
                if not ours.st_size:
                    return descriptor
                part.unlink()  # half a file of a run that died
        os.close(descriptor)  # its writer has just finished: it is a file of another name now


def flush_file_system(directory: Path) -> None:
    """Make all that was written below make it through a power cut: one wait instead of one a file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _LIBC.syncfs(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(directory))
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Make a file's bytes, or a directory's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a mounted disk may not flush directories
            raise
    finally:
        os.close(descriptor)


def settle(part: Path, path: Path) -> None:
    """Flush a finished file and give it its name; never over what is there (FileExistsError)."""
    flush(part)
    settle_flushed(part, path)


def settle_flushed(part: Path, path: Path) -> None:
    """The same for a file that is flushed already, with many others at once."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is there already") from None
        part.rename(path)
    else:
        part.unlink()


def rename_at_once(source: Path, destination: Path) -> bool:
    """Rename in one step, never over what is there (FileExistsError). False, and nothing was done, where the
    file system or the C library cannot. Who flushes is the caller."""
    rename = getattr(_LIBC, "renameat2", None)
    if rename is None:
        return False
    if not rename(_HERE, os.fsencode(source), _HERE, os.fsencode(destination), _NO_REPLACE):
        return True
    error = ctypes.get_errno()
    if error in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(error, os.strerror(error), str(source), None, str(destination))


def rename_new(source: Path, destination: Path) -> None:
    """The same, also where it takes two steps: good enough where one alone writes."""
    if rename_at_once(source, destination):
        return
    if os.path.lexists(destination):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(source), None, str(destination))
    source.rename(destination)


def open_plain(path: Path) -> BinaryIO:
    """A regular file to be read. Raises OSError for anything else: follows no link, waits for no fifo."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def file_digest(path: Path) -> str:
    """The hexadecimal SHA-256 of a regular file's bytes. Raises OSError as :func:`open_plain`."""
    with open_plain(path) as file:
        return rest_digest(file)


def rest_digest(file: BinaryIO) -> str:
    """The hexadecimal SHA-256 of what is left to read of an open file."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def copy_plain(source: Path, destination: Path) -> None:
    """Copy the bytes of a regular file. Raises OSError as :func:`open_plain`."""
    with open_plain(source) as plain, destination.open("wb") as copy:
        shutil.copyfileobj(plain, copy, _CHUNK)


def link_or_copy(source: Path, destination: Path) -> None:
    """The same bytes at another place: a hard link where the file system can, so no second copy."""
    destination.unlink(missing_ok=True)
    try:
        os.link(source, destination)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, destination)


def set_aside(path: Path) -> Path:
    """Rename what stands in the way: nothing raw is ever overwritten or deleted. Returns where it is now."""
    name = os.fsdecode(os.fsencode(path.name)[:_ROOM])
    for number in itertools.count(1):
        aside = path.with_name(f"{name}.aside-{number}")
        if not os.path.lexists(aside):
            return path.rename(aside)
    raise AssertionError  # itertools.count never ends


def only(directory: Path, names: set[str]) -> None:
    """Delete what the directory holds apart from ``names``: left by a run that died, or by older code."""
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name not in names:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def sweep_parts(directory: Path) -> None:
    """Delete the half files that a run of ours which died left; call it where nobody else writes."""
    for path in directory.iterdir() if directory.is_dir() else ():
        if _PART.fullmatch(path.name):
            path.unlink(missing_ok=True)
