"""Bytes of a report that belong together, gathered in bounded memory."""

from __future__ import annotations

import hashlib

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import MAX_ENTRY_BYTES, MAX_REJECTED_BYTES, BadEntry

#: What some editors put before the first byte; framing, no part of an entry.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def bad_entry(reason: RejectReason, offset: int, raw: bytes, detail: str = "") -> BadEntry:
    """``raw`` (all of its bytes) as a rejected piece that begins at ``offset``."""
    digest = hashlib.sha256(raw).hexdigest()
    return BadEntry(reason, offset, len(raw), raw[:MAX_REJECTED_BYTES], digest, detail)


class Piece:
    """One piece of a report while it is read: whole up to ``MAX_ENTRY_BYTES``, above that its beginning.

    ``offset`` is where it begins in the uncompressed report, ``size`` how many bytes it has.
    """

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.size = 0
        self._parts: list[bytes] = []
        self._digest: hashlib._Hash | None = None

    @property
    def too_large(self) -> bool:
        """Whether only the beginning is still here."""
        return self._digest is not None

    def add(self, data: bytes) -> None:
        """The next bytes of the piece."""
        self.size += len(data)
        if self._digest is not None:
            self._digest.update(data)
            return
        self._parts.append(data)
        if self.size > MAX_ENTRY_BYTES:
            self._digest = hashlib.sha256()
            for part in self._parts:
                self._digest.update(part)
            self._parts = [b"".join(self._parts)[:MAX_REJECTED_BYTES]]

    def raw(self) -> bytes:
        """All bytes, or of a piece that is too large the first ``MAX_REJECTED_BYTES``."""
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def drop(self, count: int) -> None:
        """Forget the first ``count`` bytes, which are framing; not of a piece that is too large."""
        self._parts = [self.raw()[count:]]
        self.offset += count
        self.size -= count

    def rejected(self, reason: RejectReason, detail: str = "") -> BadEntry:
        """The piece as one that no stage can take."""
        if self._digest is None:
            return bad_entry(reason, self.offset, self.raw(), detail)
        return BadEntry(reason, self.offset, self.size, self.raw(), self._digest.hexdigest(), detail)
