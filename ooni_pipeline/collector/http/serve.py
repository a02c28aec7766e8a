"""Running the service: two listeners in one process, from the first request to the last.

One process, because the reports that are open, and what their clients may ask for, are known in its memory;
a second one would need both to be agreed upon at each request. The disk is what is waited for, in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
import uvloop
from starlette.types import ASGIApp

from ooni_pipeline.collector.bouncer import Bouncer
from ooni_pipeline.collector.http.application import Service
from ooni_pipeline.collector.http.protocol import Patience, close_overdue, protocol_of
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.reception import Reception
from ooni_pipeline.collector.settings import MB, CollectorSettings, address_and_port
from ooni_pipeline.errors import ConfigurationError, told

_log = logging.getLogger(__name__)
#: Seconds between two looks at what was silent for too long; fewer where that is soon.
_MINUTE = 60.0
#: The operator's listener is for a few.
_ADMIN_CONNECTIONS = 50


class _Server(uvicorn.Server):
    """uvicorn's, stopped by us: its own handling of signals ends with another exit status than 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(
    settings: CollectorSettings,
    bouncer: Bouncer,
    *,
    clock: Callable[[], float],
    steady: Callable[[], float],
    ready: Callable[[str, str], None],
) -> None:
    """Serve until SIGTERM or SIGINT. ``ready`` is told the two addresses, ``host:port``, once they answer.

    Raises ConfigurationError where something of ``settings`` cannot be had, CollectorBusyError where another
    collector has the directory.
    """
    uvloop.run(_serve(settings, bouncer, clock, steady, ready))


async def _serve(
    settings: CollectorSettings,
    bouncer: Bouncer,
    clock: Callable[[], float],
    steady: Callable[[], float],
    ready: Callable[[str, str], None],
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_tell)
    with bound("listen", settings.listen) as public, bound("admin_listen", settings.admin_listen) as admin:
        reception = await Reception.open(
            CollectorLayout(settings.directory),
            clock=clock,
            steady=steady,
            stale_seconds=settings.stale_seconds,
            keep_free_bytes=settings.keep_free_mb * MB,
        )
        service = Service(settings, reception, bouncer, clock=clock, steady=steady)
        try:
            await _both(settings, service, public, admin, ready)
        finally:
            service.close()
            await reception.shut()


async def _both(
    settings: CollectorSettings,
    service: Service,
    public: socket.socket,
    admin: socket.socket,
    ready: Callable[[str, str], None],
) -> None:
    servers = [
        _server(settings, service.public, settings.connections),
        _server(settings, service.admin, _ADMIN_CONNECTIONS),
    ]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(_now_and_then(settings, service))]
    try:
        running = [
            asyncio.create_task(server.serve(sockets=[place]))
            for server, place in zip(servers, (public, admin), strict=True)
        ]
        while not all(server.started for server in servers) and not any(task.done() for task in running):
            await asyncio.sleep(0.01)
        for server in servers:
            watched = server.server_state.connections
            tasks.append(
                asyncio.create_task(close_overdue(watched, _patience(settings, settings.connections)))
            )
        ready(_name(public), _name(admin))
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        stop()
        await asyncio.gather(*running)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _now_and_then(settings: CollectorSettings, service: Service) -> None:
    while True:
        await asyncio.sleep(min(_MINUTE, settings.stale_seconds / 60))
        await service.every_minute()


def _patience(settings: CollectorSettings, connections: int) -> Patience:
    return Patience(settings.head_timeout, settings.pause_timeout, settings.body_timeout, connections)


def _server(settings: CollectorSettings, application: ASGIApp, connections: int) -> _Server:
    """A uvicorn that logs nothing of anybody and says nothing of itself."""
    return _Server(
        uvicorn.Config(
            application,
            http=protocol_of(_patience(settings, connections)),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_timeout,
            timeout_graceful_shutdown=settings.stop_timeout,
        )
    )


@contextlib.contextmanager
def bound(option: str, place: str) -> Iterator[socket.socket]:
    """A socket at ``address:port``, not yet listening. Raises ConfigurationError that names the option."""
    host, port = address_and_port(place)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as error:
            taken = "; ss -tlnp shows who has it" if error.errno == errno.EADDRINUSE else ""
            raise ConfigurationError(
                f"[collector] {option} = {place} cannot be had: {error.strerror}{taken}"
            ) from None
        yield found


def _name(found: socket.socket) -> str:
    host, port = found.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What asyncio would log names the peer, and quotes."""
    error = context.get("exception")
    _log.error(
        "in the event loop: %s", told(error) if isinstance(error, BaseException) else "a fault without a name"
    )
