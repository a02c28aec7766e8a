"""The body of a request: read in bounded memory, unpacked. The only module that knows zstandard."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import zstandard
from starlette.types import Receive

from ooni_pipeline.collector.http.answers import RefusedError

_GZIP_MEMBER = 16 + zlib.MAX_WBITS
#: A frame of zstd may ask for a window of no more than that: as large as the largest body.
_LARGEST_WINDOW = 32 * 1024 * 1024
#: Four bytes of zstd may become 128 KB: so many are unpacked at a time, into 8 MB at most.
_ZSTD_STEP = 256
_GZIP_STEP = 1024 * 1024
#: Nobody sends a body in pieces that are packed each by itself; what begins anew is copied each time.
_MOST_MEMBERS = 64
#: What Content-Encoding may say, and how it is unpacked.
ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd", "identity": "", "": ""}
_TOO_LARGE = "request-too-large"


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole: there is nobody to answer."""


class Memory:
    """What all bodies that are being received may take together, in bytes. Threads unpack too."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self.used = 0

    def change(self, count: int) -> None:
        """Take so many, or give them back. Raises RefusedError 503 where there is no room."""
        with self._lock:
            if count > 0 and self.used + count > self._most:
                raise RefusedError(503, "busy", retry_after=10)
            self.used += count


class Room:
    """What one request takes of it, until the block ends."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._taken = 0
        self._over = False

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            self._memory.change(-self._taken)

    def add(self, count: int) -> None:
        """Raises RefusedError 503 where there is no room, ClientGoneError where the request has ended."""
        with self._lock:
            if self._over:
                raise ClientGoneError
            self._memory.change(count)
            self._taken += count


def encoding_of(headers: list[tuple[bytes, bytes]]) -> str:
    """``gzip``, ``zstd``, or empty for a body as it is. Raises RefusedError 415 for any other."""
    said = b",".join(value for name, value in headers if name == b"content-encoding")
    named = said.decode("latin-1").strip().lower()
    if named not in ENCODINGS:
        raise RefusedError(415, "unsupported-content-encoding")
    return ENCODINGS[named]


async def read_body(scope: MutableMapping[str, Any], receive: Receive, limit: int, room: Room) -> bytes:
    """The body as sent, at most ``limit`` bytes. Raises RefusedError 413 or 503, ClientGoneError."""
    for name, value in scope["headers"]:
        # A body that says that it is too large is not waited for. httptools has seen that it is a number.
        if name == b"content-length" and int(value) > limit:
            raise RefusedError(413, _TOO_LARGE)
    message = await _next_piece(receive)
    whole = message.get("body", b"")
    pieces, size = [whole], len(whole)
    room.add(size)
    while size <= limit and message.get("more_body"):
        message = await _next_piece(receive)
        piece = message.get("body", b"")
        room.add(len(piece))
        size += len(piece)
        pieces.append(piece)
    if size > limit:
        raise RefusedError(413, _TOO_LARGE)
    return whole if len(pieces) == 1 else b"".join(pieces)


async def discard_body(receive: Receive, most: int) -> None:
    """Read on, and throw away, up to ``most`` bytes: a client may not look at an answer before it has sent
    all, and one that closes the connection under it may never see it."""
    while most > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        most -= len(message.get("body", b""))


async def _next_piece(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message


def unpack(encoding: str, packed: bytes, limit: int, room: Room) -> bytes:
    """The body that was packed: all members or frames of it, at most ``limit`` bytes. Raises RefusedError
    413; 400 for one that is broken, cut off, or followed by something else."""
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _gunzipped(packed) if encoding == "gzip" else _unzstd(packed):
            size += len(piece)
            if size > limit:
                raise RefusedError(413, _TOO_LARGE)
            room.add(len(piece))
            pieces.append(piece)
    except (zlib.error, zstandard.ZstdError, ValueError):
        raise RefusedError(400, "invalid-content-encoding") from None
    return b"".join(pieces)


def _gunzipped(packed: bytes) -> Iterator[bytes]:
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(_GZIP_MEMBER)
        while not member.eof:
            piece = member.decompress(packed, _GZIP_STEP)
            packed = member.unconsumed_tail
            if not piece and not packed and not member.eof:
                raise ValueError("cut off")
            yield piece
        packed = member.unused_data
        if not packed:
            return
    raise ValueError("too many members")


def _unzstd(packed: bytes) -> Iterator[bytes]:
    at = 0
    for _ in range(_MOST_MEMBERS):
        frame = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()
        while not frame.eof:
            if at >= len(packed):
                raise ValueError("cut off")
            yield frame.decompress(packed[at : at + _ZSTD_STEP])
            at += _ZSTD_STEP
        at = min(at, len(packed)) - len(frame.unused_data)
        if at == len(packed):
            return
    raise ValueError("too many frames")
