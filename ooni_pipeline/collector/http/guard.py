"""The outermost part of the application: nothing that goes wrong gets past it.

Not a middleware of the framework, whose own would answer a fault in another form and log its text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ooni_pipeline.collector.bouncer import BouncerRefusalError
from ooni_pipeline.collector.http.answers import RefusedError, refusal
from ooni_pipeline.collector.http.body import ClientGoneError, discard_body
from ooni_pipeline.errors import told

_log = logging.getLogger(__name__)
#: Where there are too many of them, no more than so many bytes of their bodies are read.
_LITTLE, _IN_HASTE = 64 * 1024, (429, 503)
#: Of any other body that is refused, so many times the limit: a connection that is closed amid a body which
#: is somewhat too large would be reset under the answer.
_READ_ON = 4
#: What the metrics call a path that is none of ours.
_UNKNOWN = "unknown"
#: What they call the status of a request whose client went away.
_GONE = "gone"
#: Where the key of a request's address is found in its scope.
PEER_KEY = "ooni.peer_key"


class Guard:
    """Wraps an application. The peer's address stays here: nobody further inside can write it down.

    ``admit`` decides on a request before anything else; ``finished`` is told its route (the template, never
    the path), its status and its seconds.
    """

    def __init__(
        self,
        application: ASGIApp,
        *,
        admit: Callable[[Scope, str | None], None],
        finished: Callable[[str, str, float], None],
        steady: Callable[[], float],
        body_limit: int,
    ) -> None:
        self._application = application
        self._admit = admit
        self._finished = finished
        self._steady = steady
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = self._steady()
        peer, scope["client"] = scope["client"], None
        exchange = _Exchange(scope, receive, send, self._body_limit)
        try:
            try:
                self._admit(scope, peer[0] if peer else None)
                await self._application(scope, exchange.receive, exchange.send)
            except RefusedError as error:
                await exchange.refuse(error)
            except BouncerRefusalError as error:
                await exchange.refuse(RefusedError(error.status, str(error)))
            except HTTPException as error:  # of the framework: no such path, no such method
                await exchange.refuse(RefusedError(error.status_code, headers=error.headers))
        except (ClientGoneError, asyncio.CancelledError):
            pass  # the connection is gone, or the service is about to stop
        except Exception as error:
            _log.error("a request failed: %s", told(error))
            if exchange.status == _GONE:
                await exchange.answer(RefusedError(500))
        route = getattr(scope.get("route"), "path", _UNKNOWN)
        self._finished(route, exchange.status, self._steady() - begun)


class _Exchange:
    """One request and its answer, as far as they have come."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_limit = body_limit
        self._whole = False
        #: Three digits, once it is answered.
        self.status = _GONE

    async def receive(self) -> Message:
        message = await self._receive()
        self._whole = not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = str(message["status"])
        await self._send(message)

    async def refuse(self, error: RefusedError) -> None:
        """Answer once the client can be expected to listen."""
        if not self._whole and any(name == b"expect" for name, _ in self._scope["headers"]):
            error.close = True  # it waits to be told before it sends its body: now it need not
        elif not self._whole:
            in_haste = error.status in _IN_HASTE
            await discard_body(self.receive, _LITTLE if in_haste else _READ_ON * self._body_limit)
        await self.answer(error)

    async def answer(self, error: RefusedError) -> None:
        await refusal(error)(self._scope, self.receive, self.send)
