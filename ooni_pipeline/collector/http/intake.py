"""From a request to the JSON that it holds: read, unpacked, parsed, within what the service may spend."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request

from ooni_pipeline.collector.http.answers import RefusedError
from ooni_pipeline.collector.http.body import Memory, Room, encoding_of, read_body, unpack
from ooni_pipeline.collector.http.json_text import Members, read_object

#: A body of more bytes, as sent or unpacked, is not parsed in the loop, where everybody waits for it.
_SMALL = 64 * 1024
#: Requests that are no reports are no longer than that.
_SHORT = 256 * 1024

_Parsed = TypeVar("_Parsed")


class Intake:
    """Reads requests. ``limit`` is the largest body, ``bodies`` what all of them may take, in bytes.

    Large bodies are parsed in a thread, one at a time: parsed, one may be ten times as large, and more
    threads would not be faster.
    """

    def __init__(self, limit: int, bodies: int) -> None:
        self._limit = limit
        self.memory = Memory(bodies)
        self._thread = ThreadPoolExecutor(1, "parse")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def room(self) -> Room:
        """The memory that one request takes, until the block ends."""
        return Room(self.memory)

    async def members(self, request: Request, room: Room) -> Members:
        """The JSON object of a request. Raises RefusedError, ClientGoneError."""
        return await self._read(request, self._limit, room, read_object)

    async def value(self, request: Request) -> Any:
        """The JSON value of a short request, whatever it is. Raises RefusedError, ClientGoneError."""
        with self.room() as room:
            return await self._read(request, _SHORT, room, _value)

    async def _read(
        self, request: Request, limit: int, room: Room, parse: Callable[[bytes], _Parsed]
    ) -> _Parsed:
        encoding = encoding_of(request.scope["headers"])
        body = await read_body(request.scope, request.receive, limit, room)
        if not encoding and len(body) <= _SMALL:
            return parse(body)
        loop = asyncio.get_running_loop()
        if encoding:
            if len(body) > _SMALL:
                body = await loop.run_in_executor(self._thread, unpack, encoding, body, limit, room)
            else:
                body = await self._unpack_little(encoding, body, limit, room)
            if len(body) <= _SMALL:
                return parse(body)
        return await loop.run_in_executor(self._thread, parse, body)

    async def _unpack_little(self, encoding: str, packed: bytes, limit: int, room: Room) -> bytes:
        """Here and now what becomes little; the rest in the thread."""
        try:
            return unpack(encoding, packed, _SMALL, room)
        except RefusedError as error:
            if error.status != 413:
                raise
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, unpack, encoding, packed, limit, room)


def _value(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # it quotes what it choked on
        raise RefusedError(400, "invalid-request") from None
