"""uvicorn's HTTP protocol with what it lacks: deadlines for slow clients, a place in the queue for none.

uvicorn bounds how long a connection may be idle, and nothing else. Deadlines are kept as numbers that
:func:`close_overdue` looks at now and then: a timer for each request would cost more than the request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

#: Requests that may wait behind one that is being answered. Nobody has a reason to send two at once, and each
#: that waits takes a hundred times the memory of its bytes.
_MOST_WAITING = 32
#: Bytes of a request beside its body: its head, or what stands between and after the chunks of a body. Every
#: byte of a body makes up for so many, so that small chunks are taken.
_LONGEST_HEAD, _FOR_A_BYTE = 64 * 1024, 8


@dataclass(frozen=True)
class Patience:
    """Seconds that clients may take, and how many of them there may be; as in CollectorSettings."""

    head_timeout: float
    pause_timeout: float
    body_timeout: float
    connections: int


class PatientProtocol(HttpToolsProtocol):
    """One connection. ``patience`` is set by a subclass for each service (:func:`protocol_of`)."""

    patience: Patience
    #: loop.time() at which the connection is overdue; None: it waits for us.
    _deadline: float | None = None
    #: And the end of the body that is being received, however often a piece of it comes.
    _last: float | None = None
    #: When the transport is given up whose client does not read.
    _unread_by: float | None = None
    #: What came since the last head or body was whole and is no body: uvicorn would keep all of it.
    _beside: int = 0
    _task: asyncio.Task[None] | None = None
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.patience.connections:
            self._say(503, "busy", b"retry-after: 10\r\n")
        self._deadline = self.loop.time() + self.patience.head_timeout

    def eof_received(self) -> None:
        # The loop closes the connection now, and tells of it when an answer may have been written to nobody.
        self._stop_answering()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_answering()

    def _stop_answering(self) -> None:
        # What was written down meanwhile is remembered as unanswered, because its client will send it again.
        if self._task is not None and self._answering is not None:
            self._answering.disconnected = True  # uvicorn says so to the last one that waits alone
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._last is not None:
            self._deadline = min(self._last, self.loop.time() + self.patience.pause_timeout)
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._deadline = self.loop.time() + self.patience.head_timeout
        self._beside += len(data)
        super().data_received(data)
        if self._beside > _LONGEST_HEAD and not self.transport.is_closing():
            self._turn_away(431, "request-head-too-large")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._last is None:  # what follows a body in chunks is no header, whatever it calls itself
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._beside = max(0, self._beside - _FOR_A_BYTE * len(body))
        super().on_body(body)

    def on_headers_complete(self) -> None:
        now = self.loop.time()
        self._beside = 0
        self._last = now + self.patience.body_timeout
        self._deadline = now + self.patience.pause_timeout
        super().on_headers_complete()
        if len(self.pipeline) > _MOST_WAITING:
            self.pipeline.clear()
            self.transport.abort()

    def on_message_complete(self) -> None:
        self._deadline = self._last = None
        self._beside = 0
        if self.cycle.response_complete:  # long ago; uvicorn no longer waits for the next request by now
            self._deadline = self.loop.time() + self.patience.head_timeout
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._last is not None:  # answered before its body was whole: what is left may not take long
            self._last = None
            self._deadline = self.loop.time() + self.patience.head_timeout
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            self.flow.pause_reading()  # what uvicorn does when the first of them waits

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _unsupported_upgrade_warning(self) -> None:
        """Who asks for another protocol is served with this one. What comes next the parser does not read."""
        self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered as all that is refused."""
        self._turn_away(400, "invalid-request")

    def _turn_away(self, status: int, text: str) -> None:
        """Take nothing more of this client, and say so; not where that would be read as the answer to what it
        asked before: that one is answered, and then the connection ends."""
        if self.cycle is not None and not self.cycle.response_complete and self._last is None:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        else:
            self._say(status, text)

    def close_if_overdue(self, now: float) -> None:
        """Close the connection when its deadline has passed: with 408 where it owes us a body, without a word
        where it has not said what it wants."""
        if self.transport.is_closing() or self.flow.write_paused:
            # It does not read what it asked for.
            if self._unread_by is None:
                self._unread_by = now + self.patience.pause_timeout
            elif now > self._unread_by:
                self.transport.abort()
            return
        self._unread_by = None
        if self._deadline is None or now <= self._deadline:
            return
        if self._last is None or self.cycle.response_started:
            self.transport.close()
            return
        self._say(408, "request-timeout")
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _say(self, status: int, text: str, headers: bytes = b"") -> None:
        """Answer without the application, and close."""
        body = json.dumps({"error": text}).encode()
        lines = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n"
        self.transport.write(STATUS_LINE[status] + headers + lines % len(body) + b"\r\n" + body)
        self.transport.close()


def protocol_of(patience: Patience) -> type[PatientProtocol]:
    """The protocol of one service, as uvicorn wants it."""
    return type("Protocol", (PatientProtocol,), {"patience": patience})


async def close_overdue(connections: Iterable[Any], patience: Patience) -> None:
    """Look at all connections, for ever, as often as the shortest of the times asks for."""
    pause = min(1.0, patience.head_timeout / 4, patience.pause_timeout / 4, patience.body_timeout / 4)
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(pause)
        now = loop.time()
        for connection in list(connections):
            connection.close_if_overdue(now)
