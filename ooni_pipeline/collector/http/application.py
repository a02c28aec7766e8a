"""The two applications: what probes see, and what the operator sees."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Scope

from ooni_pipeline.collector.bouncer import Bouncer
from ooni_pipeline.collector.http import bouncer as bouncer_routes
from ooni_pipeline.collector.http import reports
from ooni_pipeline.collector.http.answers import answer
from ooni_pipeline.collector.http.direct import Direct
from ooni_pipeline.collector.http.guard import PEER_KEY, Guard
from ooni_pipeline.collector.http.intake import Intake
from ooni_pipeline.collector.http.limits import Limits
from ooni_pipeline.collector.http.metrics import CONTENT_TYPE, Metrics
from ooni_pipeline.collector.http.page import page
from ooni_pipeline.collector.http.peers import Peers
from ooni_pipeline.collector.reception import Reception
from ooni_pipeline.collector.refusals import ReportNotFoundError
from ooni_pipeline.collector.settings import MB, CollectorSettings
from ooni_pipeline.errors import told

_NO_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'"
_log = logging.getLogger(__name__)
_TITLE = "OONI collector and bouncer"
#: What a file system says that has no files without a name.
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT)
_ABOUT = "Where probes submit reports of censorship measurements, and learn where to do so."


class Service:
    """One collector: its applications, and what is done in them every minute.

    ``clock`` is Unix time, ``steady`` a clock that never jumps.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        reception: Reception,
        bouncer: Bouncer,
        *,
        clock: Callable[[], float],
        steady: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._reception = reception
        self._intake = Intake(settings.body_limit, settings.bodies_mb * MB)
        self._limits = Limits(
            rate=settings.requests_per_second,
            rate_per_address=settings.requests_per_second_per_address,
            reports_per_address=settings.open_reports_per_address,
            steady=steady,
            is_open=self._is_open,
        )
        self._metrics = Metrics(lambda: dataclasses.asdict(reception.counts), self._now)
        taking = reports.Reports(reception, self._intake, self._limits, bouncer, clock, settings.open_reports)
        self._peers = Peers(settings.proxies(), os.urandom(32))
        routes = reports.router(taking)
        self.public: ASGIApp = Guard(
            Direct(routes, _public(routes, bouncer_routes.router(bouncer, self._intake))),
            admit=self._admit,
            finished=self._metrics.request,
            steady=steady,
            body_limit=settings.body_limit,
        )
        self.admin: ASGIApp = Guard(
            _framework(self._admin()),
            admit=lambda scope, peer: None,
            finished=lambda route, status, seconds: None,
            steady=steady,
            body_limit=settings.body_limit,
        )

    def _admit(self, scope: Scope, peer: str | None) -> None:
        scope[PEER_KEY] = key = self._peers.key(peer, scope["headers"])
        self._limits.request(key)

    async def every_minute(self) -> None:
        """What is done now and then. What goes wrong is told, and tried again the next time."""
        self._limits.forget()
        try:
            await self._reception.archive_stale()
        except Exception as error:
            _log.error("stale reports: %s", told(error))

    def close(self) -> None:
        """End what the applications started."""
        self._intake.close()

    def _is_open(self, report_id: str) -> bool:
        try:
            self._reception.format_of(report_id)
        except ReportNotFoundError:
            return False
        return True

    def _now(self) -> dict[str, float]:
        return {
            "open_reports": self._reception.open_reports,
            "free_bytes": free_bytes(self._settings.directory),
            "bodies_bytes": self._intake.memory.used,
            "limited_addresses": self._limits.addresses,
        }

    async def _health(self) -> Response:
        """200 where reports can be taken, 503 where they cannot; the reason in both."""
        free = free_bytes(self._settings.directory)
        fault = await asyncio.get_running_loop().run_in_executor(None, write_fault, self._settings.directory)
        if fault is None and free < self._settings.keep_free_mb * MB:
            fault = "less than [collector] keep_free_mb is free"
        status = {"status": fault or "ok", "open_reports": self._reception.open_reports, "free_bytes": free}
        return answer(status, 503 if fault else 200)

    def _admin(self) -> APIRouter:
        routes = APIRouter()

        @routes.get("/health")
        async def health(request: Request) -> Response:
            return await self._health()

        @routes.get("/metrics")
        async def metrics(request: Request) -> Response:
            return Response(self._metrics.page(), media_type=CONTENT_TYPE)

        return routes


class _Application(FastAPI):
    """Without the framework's own handling of faults, which answers in other forms and hands them on to the
    server's log: the Guard does that."""

    def build_middleware_stack(self) -> ASGIApp:
        return AsyncExitStackMiddleware(self.router)


def _framework(*routers: APIRouter) -> FastAPI:
    application = _Application(
        title=_TITLE, description=_ABOUT, version="1", docs_url=None, redoc_url=None, openapi_url=None
    )
    for router in routers:
        application.include_router(router)
    application.router.redirect_slashes = False
    return application


def _public(*routers: APIRouter) -> ASGIApp:
    """What probes see, and its description: made once, when it starts."""
    application = _framework(*routers)
    described = application.openapi()
    text, as_json = page(described), answer(described)

    @application.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return as_json

    @application.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return HTMLResponse(text, headers={"Content-Security-Policy": _NO_SCRIPTS})

    return application


def free_bytes(directory: Path) -> int:
    """How much may still be written there."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def write_fault(directory: Path) -> str | None:
    """Why nothing can be written and flushed there; None when it can. Leaves nothing behind."""
    try:
        file = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        # Some file systems have no files without a name; then a directory that can be written must do.
        return None if os.access(directory, os.W_OK) and error.errno in _NO_TMPFILE else error.strerror
    try:
        os.write(file, b"\n")
        os.fsync(file)
    except OSError as error:
        return error.strerror
    finally:
        os.close(file)
    return None
