"""The journal of an open report: its entries, one JSON text a line.

Of a JSON report the entry itself, as it was sent, so that the journal becomes the archived file; of a YAML
report the text as a JSON string in ASCII. No line holds a line feed or a NUL byte: what follows the last
line feed is torn, and blocks of zeros, which a power cut may leave, are no entry.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from ooni_pipeline.bucket.files import flush, open_plain
from ooni_pipeline.collector.refusals import DamagedError

#: So many entries are written and flushed at once at most. Those of a batch are acknowledged together, so
#: only so many of the last lines of a journal may be such that nobody was told of.
MAX_BATCH = 64
#: The pipeline's account on this machine is in the collector's group, and no other account reads reports.
_MODE = 0o640
_FRAMES = {"json": (b"{", b"}\n"), "yaml": (b'"', b'"\n')}


def as_line(entry: bytes, kind: Literal["json", "yaml"]) -> bytes:
    """An entry as a line of the journal. Raises ValueError for a JSON entry that is no object on one line."""
    if kind == "yaml":
        return json.dumps(entry.decode("utf-8", "surrogateescape")).encode("ascii") + b"\n"
    line = entry + b"\n"
    if not _has_the_form(line, kind) or b"\n" in entry:
        raise ValueError("an entry of a JSON report is one object on one line, without NUL bytes")
    return line


def text_of(line: bytes) -> bytes:
    """The text of a YAML entry that a line of the journal holds."""
    text: str = json.loads(line)
    return text.encode("utf-8", "surrogateescape")


def open_journal(path: str) -> int:
    """Open a journal to be written. Raises DamagedError where there is none.

    O_DSYNC: each write is flushed when it returns. Writing and flushing apart is two calls of the system,
    and after each the thread waits until the interpreter is free.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_DSYNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DamagedError("its journal is gone") from None


def append(descriptor: int, length: int, data: bytes) -> int:
    """Write lines at the end of a journal of ``length`` bytes; they are on disk when this returns.

    Returns its new length. Raises DamagedError where the file is not of that length or nobody would find
    it, or could not be cut again after a write or flush that failed; any other OSError leaves it as it was.
    """
    status = os.fstat(descriptor)
    if status.st_size != length or not status.st_nlink:
        raise DamagedError("its journal has another length than was written, or is gone")
    try:
        _write(descriptor, data, length)
    except OSError:
        # Flushing it once more would tell nothing: after an error the kernel calls lost pages clean.
        _cut(descriptor, length)
        raise
    return length + len(data)


def _write(descriptor: int, data: bytes, place: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, place)
        rest, place = rest[count:], place + count


def _cut(descriptor: int, length: int) -> None:
    try:
        os.ftruncate(descriptor, length)
        whole = os.fstat(descriptor).st_size == length
    except OSError:
        whole = False
    if not whole:
        raise DamagedError("what was written of an entry could not be taken back")


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines of a journal."""
    return (line for line in file if line.endswith(b"\n"))


@dataclass
class Looked:
    """What a journal holds that a process left behind.

    ``whole`` is where its last line ends, ``size`` where the file does, ``modified`` when (ns). ``bad``
    are (offset, size) of lines that are no entry; ``last`` the hashes of the last MAX_BATCH entries.
    """

    size: int = 0
    modified: int = 0
    whole: int = 0
    bad: list[tuple[int, int]] = field(default_factory=list)
    last: list[int] = field(default_factory=list)


def look(path: Path, kind: Literal["json", "yaml"]) -> Looked:
    """Read a journal that a process left behind. Raises OSError for what is no regular file."""
    looked = Looked()
    ends: deque[tuple[int, int]] = deque(maxlen=MAX_BATCH)
    with open_plain(path) as file:
        status = os.fstat(file.fileno())
        looked.size, looked.modified = status.st_size, status.st_mtime_ns
        for line in lines(file):
            part = (looked.whole, len(line))
            looked.whole += len(line)
            (ends if _has_the_form(line, kind) else looked.bad).append(part)
        for place, size in ends:
            file.seek(place)
            line = file.read(size)
            if _is_json(line):
                looked.last.append(hash(line))
            else:
                looked.bad.append((place, size))
    looked.bad.sort()
    return looked


def _has_the_form(line: bytes, kind: Literal["json", "yaml"]) -> bool:
    begin, end = _FRAMES[kind]
    return line.startswith(begin) and line.endswith(end) and b"\0" not in line


def _is_json(line: bytes) -> bool:
    """Whether a line is JSON, by a reading more lenient than any that let an entry in."""
    try:
        json.loads(line, strict=False, parse_int=str, parse_float=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def mend(path: Path, looked: Looked, kept: Path) -> int:
    """Cut the torn end off a journal and take the lines out that are no entry; ``kept`` gets those.

    Returns the length that it has then. Its time stays, whatever is done.
    """
    if looked.bad:
        part = path.with_name(f"{path.name}.part")
        with path.open("rb") as journal:
            _copy(journal, kept, looked.bad)
            good, place = [], 0
            for begin, size in looked.bad:
                good.append((place, begin - place))
                place = begin + size
            good.append((place, looked.whole - place))
            part.unlink(missing_ok=True)
            _copy(journal, part, good)
        os.utime(part, ns=(looked.modified, looked.modified))
        flush(part)
        part.replace(path)
        flush(path.parent)
    elif looked.whole < looked.size:
        os.truncate(path, looked.whole)
        os.utime(path, ns=(looked.modified, looked.modified))
    return looked.whole - sum(size for _, size in looked.bad)


def _copy(journal: BinaryIO, destination: Path, parts: Sequence[tuple[int, int]]) -> None:
    """Write parts of a journal, (offset, size) each, into a new file, flushed."""
    with os.fdopen(new_file(destination), "wb") as file:
        for place, size in parts:
            journal.seek(place)
            while size > 0 and (chunk := journal.read(min(size, 1024 * 1024))):
                file.write(chunk)
                size -= len(chunk)
        file.flush()
        os.fsync(file.fileno())


def new_file(path: Path) -> int:
    """Make a file of a report, open to be written. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        os.fchmod(descriptor, _MODE)  # whatever the umask says
    except OSError:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor
