"""The uncompressed bytes of a report file, which may be anything that a stranger can make."""

from __future__ import annotations

import errno
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import MAX_REPORT_BYTES, BadReport, EntryRejected

_GZIP_MAGIC = b"\x1f\x8b"
_COMPRESSED_READ = 64 * 1024
_MEMBER_IN_GZIP_FORMAT = 16 + zlib.MAX_WBITS
#: One read gives at most this many bytes, however far a gzip stream unfolds.
CHUNK = 1024 * 1024


def open_regular(path: Path) -> io.FileIO:
    """The file at ``path``, when it is a regular file and neither a link to one nor a device.

    Raises BadReport NOT_A_REGULAR_FILE or UNREADABLE. Opening never blocks (a FIFO would).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise BadReport(RejectReason.NOT_A_REGULAR_FILE) from None
        raise BadReport(RejectReason.UNREADABLE, errno.errorcode.get(error.errno or 0, "OSError")) from None
    except ValueError:  # a NUL in the path
        raise BadReport(RejectReason.UNREADABLE, "ValueError") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadReport(RejectReason.NOT_A_REGULAR_FILE)
    return io.FileIO(descriptor, "rb")


class Source(io.RawIOBase):
    """A raw stream of the uncompressed bytes, gzip recognised by its first bytes.

    It never raises while it is read. When the bytes cannot go on (a broken gzip stream, an unreadable
    sector, more than ``MAX_REPORT_BYTES``), it ends there and ``fault`` says why.
    """

    def __init__(self, path: Path) -> None:
        self.fault: EntryRejected | None = None
        self.count = 0
        self._file = open_regular(path)
        try:
            start = self._read_file(len(_GZIP_MAGIC))
            if self.fault:
                raise BadReport(self.fault.reason, self.fault.detail)
            self.compressed = start == _GZIP_MAGIC
            if path.name.endswith(".gz") and start and not self.compressed:
                raise BadReport(RejectReason.BAD_GZIP, "the name ends in .gz, the bytes are no gzip")
            self._file.seek(0)
        except BaseException:
            self._file.close()
            raise
        self._chunks = self._unfolded() if self.compressed else self._plain()
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """The next bytes, 0 at the end or at a fault."""
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        part = self._left[: min(len(buffer), len(self._left))]
        if self.count + len(part) > MAX_REPORT_BYTES:
            self._stop(RejectReason.REPORT_TOO_LARGE, f"over {MAX_REPORT_BYTES} bytes")
            part = part[: MAX_REPORT_BYTES - self.count]
            self._left, self._chunks = memoryview(b""), iter(())
        else:
            self._left = self._left[len(part) :]
        buffer[: len(part)] = part
        self.count += len(part)
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _stop(self, reason: RejectReason, detail: str) -> None:
        self.fault = EntryRejected(reason, detail)

    def _read_file(self, size: int) -> bytes:
        try:
            return self._file.read(size) or b""
        except OSError as error:
            self._stop(RejectReason.UNREADABLE, errno.errorcode.get(error.errno or 0, "OSError"))
            return b""

    def _plain(self) -> Iterator[bytes]:
        while chunk := self._read_file(CHUNK):
            yield chunk

    def _unfolded(self) -> Iterator[bytes]:
        """Every member of a gzip file, in chunks; padding of NUL after a member is skipped."""
        member = zlib.decompressobj(_MEMBER_IN_GZIP_FORMAT)
        packed = b""
        while True:
            packed = packed or self._read_file(_COMPRESSED_READ)
            if member.eof:
                packed = packed.lstrip(b"\0")
                if packed:
                    member = zlib.decompressobj(_MEMBER_IN_GZIP_FORMAT)
                elif self._at_end():
                    return
                else:
                    continue
            if not packed and not member.unconsumed_tail:
                if not self.fault:
                    self._stop(RejectReason.BAD_GZIP, "the stream ends too early")
                return
            before = member.copy()  # what an error in the middle of the bytes would take away is kept
            try:
                chunk = member.decompress(packed, CHUNK)
            except zlib.error:
                yield from _before_error(before, packed)
                self._stop(RejectReason.BAD_GZIP, "the stream is damaged")
                return
            packed = member.unused_data if member.eof else member.unconsumed_tail
            if chunk:
                yield chunk

    def _at_end(self) -> bool:
        position = self._file.tell()
        at_end = not self._read_file(1)
        self._file.seek(position)
        return at_end


def _before_error(member: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """What a damaged stream gives until the very byte that is wrong."""
    try:
        for position in range(len(packed)):
            part = packed[position : position + 1]
            while part:
                if chunk := member.decompress(part, CHUNK):
                    yield chunk
                part = member.unconsumed_tail
    except zlib.error:
        return
