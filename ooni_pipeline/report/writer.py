"""Writing a stage's files: entries line by line, and the bytes of what was rejected or held."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import MAX_REJECTED_BYTES, BadEntry
from ooni_pipeline.report.json_lines import dump_entry

#: So much is kept of what one report has that cannot be taken: two bytes may be such an entry.
MAX_REJECTED_FILE = 256 * 1024 * 1024


def part_of(path: Path) -> Path:
    """Where a file is written until it is whole: hidden, beside its place, its name never too long.

    Nobody reads it, and the next run of the same work overwrites or deletes it.
    """
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{mark}.part")


class Checksum(Protocol):
    """What :mod:`hashlib` makes, or something that is used like it."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class LinesWriter:
    """Writes one entry a line into ``path``, which appears, whole, when the block ends well.

    Afterwards ``size`` (bytes), ``digest`` (hexadecimal SHA-256, or what ``checksum`` gives) and ``lines``
    describe it.
    """

    def __init__(self, path: Path, checksum: Checksum | None = None) -> None:
        self.path = path
        self.size = 0
        self.lines = 0
        self._hash: Checksum = checksum or hashlib.sha256()
        self._part = part_of(path)
        self._file: IO[bytes]

    def __enter__(self) -> LinesWriter:
        self._file = self._part.open("wb", buffering=1024 * 1024)
        return self

    def write(self, line: bytes) -> None:
        """Write one entry, given without its line end."""
        for part in (line, b"\n"):  # entries are large: not copied to get their end
            self._file.write(part)
            self._hash.update(part)
        self.size += len(line) + 1
        self.lines += 1

    def write_lines(self, chunk: bytes, lines: int) -> None:
        """Write whole lines, line ends included."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)
        self.lines += lines

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _finish(self._file, self._part, self.path if kind is None else None)


class RejectedWriter:
    """Keeps the bytes of bad entries: one JSON line each in ``<directory>/<report>.jsonl``.

    A line has ``reason``, ``detail``, ``source`` (the report's file), ``offset`` and ``size`` (bytes in
    the uncompressed report), ``digest`` (SHA-256 of all its bytes) and ``base64`` (the first
    ``MAX_REJECTED_BYTES`` of them; the rest is in the raw report). No file where nothing was rejected.
    After ``MAX_REJECTED_FILE`` bytes the last line says that the others are counted, not listed.
    """

    def __init__(self, directory: Path, report: str, source: str) -> None:
        self.path = directory / f"{report}.jsonl"
        self._source = source
        self._part = part_of(self.path)
        self._file: IO[bytes] | None = None
        self._room = MAX_REJECTED_FILE

    def __enter__(self) -> RejectedWriter:
        return self

    def keep(self, bad: BadEntry) -> None:
        """Keep what the reader could not read."""
        if self._room <= 0:
            return
        if self._file is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        record: dict[str, Any] = {
            "reason": bad.reason.value,
            "detail": bad.detail,
            "source": self._source,
            "offset": bad.offset,
            "size": bad.size,
            "digest": bad.digest,
            "base64": base64.b64encode(bad.raw).decode(),
        }
        self._room -= self._file.write(dump_entry(record) + b"\n")
        if self._room <= 0:
            more = "the entries that are rejected from here on are counted; their bytes are in the raw report"
            record = {"reason": None, "detail": more, "source": self._source, "offset": bad.offset + bad.size}
            self._file.write(dump_entry(record) + b"\n")

    def keep_bytes(self, reason: RejectReason, offset: int, raw: bytes, detail: str) -> None:
        """Keep an entry that was read and then could not be taken by a stage."""
        digest = hashlib.sha256(raw).hexdigest()
        self.keep(BadEntry(reason, offset, len(raw), raw[:MAX_REJECTED_BYTES], digest, detail))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            _finish(self._file, self._part, self.path if kind is None else None)
        elif kind is None:
            self.path.unlink(missing_ok=True)


def _finish(file: IO[bytes], part: Path, path: Path | None) -> None:
    """Close a file that was written as ``part``: whole and at ``path``, or gone where that is None.

    It is not on the disk yet: a stage flushes all its files at once before it writes its proof.
    """
    try:
        file.close()
        if path is not None:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
