"""The collector's requests: a report is made, updated, closed; a measurement comes in one request.

Bodies are read by :mod:`intake`, not by the framework: clients send no Content-Type or a wrong one, and
entries are kept as they were sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ooni_pipeline.collector.bouncer import Bouncer
from ooni_pipeline.collector.header import ReportHeader
from ooni_pipeline.collector.http import descriptions, fields
from ooni_pipeline.collector.http.answers import RETRY_AFTER, RefusedError, answer, invalid
from ooni_pipeline.collector.http.body import Room
from ooni_pipeline.collector.http.guard import PEER_KEY
from ooni_pipeline.collector.http.intake import Intake
from ooni_pipeline.collector.http.json_text import Members
from ooni_pipeline.collector.http.limits import Limits
from ooni_pipeline.collector.reception import Reception
from ooni_pipeline.collector.refusals import (
    CollectorShutError,
    HeaderTextError,
    NoRoomError,
    ReportNotFoundError,
)

#: The generation of the protocol that clients know; no version of ours.
BACKEND_VERSION = "1.3.5"
FORMATS = ["yaml", "json"]
_SUCCESS = {"status": "success"}


class Reports:
    """What the routes need: where reports go, and how many may be open at a time."""

    def __init__(
        self,
        reception: Reception,
        intake: Intake,
        limits: Limits,
        bouncer: Bouncer,
        clock: Callable[[], float],
        most_open: int,
    ) -> None:
        self._reception = reception
        self._intake = intake
        self._limits = limits
        self._bouncer = bouncer
        self._clock = clock
        self._most_open = most_open
        self._opening = 0

    async def create(self, request: Request) -> dict[str, Any]:
        """Make a report: what the client is answered."""
        key = request.scope[PEER_KEY]
        with self._intake.room() as room:
            sent = await self._intake.members(request, room)
            header = fields.report_header(sent, self._clock())
            helper = fields.test_helper(sent)
            address = None if helper is None else self._bouncer.helper_address(helper)
            # To its end also where the client goes away meanwhile: else such a report would count for nobody.
            report_id = await asyncio.shield(self._open(key, header))
        told = {"backend_version": BACKEND_VERSION, "supported_formats": FORMATS, "report_id": report_id}
        return told if address is None else {**told, "test_helper_address": address}

    async def _open(self, key: bytes | None, header: ReportHeader) -> str:
        with self._one_more(), self._limits.opening(key):
            report_id = await self._reception.create(header)
            self._limits.opened(key, report_id)
            return report_id

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        """While a report is being made. Those that are made at the same time count, too."""
        if self._reception.open_reports + self._opening >= self._most_open:
            raise RefusedError(503, "too-many-open-reports", retry_after=RETRY_AFTER)
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    async def update(self, request: Request, report_id: str | None) -> None:
        """Take one entry, into the report of the URL or, in the first generation, of the body."""
        if report_id is not None:
            self._format(report_id)  # before its body is read
        with self._intake.room() as room:
            sent = await self._intake.members(request, room)
            report_id = report_id or fields.report_id(sent)
            written = self._format(report_id)
            if fields.format_of(sent) not in (None, written):
                raise RefusedError(400, "invalid-format-field")
            entry = _entry(sent, written, report_id, room)
            del sent
            await self._reception.append(report_id, entry)

    async def close(self, report_id: str) -> None:
        """Finish a report. What the body says, if there is one, is of no interest."""
        self._format(report_id)
        await self._reception.close(report_id)

    async def submit(self, request: Request) -> dict[str, Any]:
        """A report of one entry in one request."""
        with self._intake.room() as room:
            sent = await self._intake.members(request, room)
            wrapped = None if "software_name" in sent else sent.inner
            if wrapped and fields.format_of(sent) == "yaml":
                raise RefusedError(400, "invalid-format-field")
            header = fields.measurement_header(wrapped or sent, self._clock())
            entry = sent.cut("content") if wrapped else sent.whole()
            room.add(len(entry))
            report_id = await self._reception.submit(header, entry)
        return {"report_id": report_id, "measurement_id": measurement_id(entry)}

    def _format(self, report_id: str) -> str:
        if not fields.is_report_id(report_id):
            raise ReportNotFoundError("no such report")
        return self._reception.format_of(report_id)


def measurement_id(entry: bytes) -> str:
    """The first 16 bytes of the SHA-256 of an entry's bytes, in one line, as a UUID: whoever sent it can
    compute it too, and the same entry has the same. Never used for anything that must not be guessed."""
    return str(uuid.UUID(bytes=hashlib.sha256(entry).digest()[:16]))


def _entry(sent: Members, written: str, report_id: str, room: Room) -> bytes:
    entry = fields.json_entry(sent, report_id) if written == "json" else fields.yaml_entry(sent)
    room.add(len(entry))
    return entry


def router(reports: Reports) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["collector"])

    @routes.post("/report", **descriptions.CREATE)
    async def create(request: Request) -> Response:
        return await _answered(reports.create(request))

    @routes.put("/report", **descriptions.UPDATE_OF_OLD)
    async def update_of_old(request: Request) -> Response:
        return await _answered(reports.update(request, None))

    @routes.post("/report/{report_id}", **descriptions.UPDATE)
    async def update(request: Request) -> Response:
        return await _answered(reports.update(request, request.path_params["report_id"]))

    @routes.post("/report/{report_id}/close", **descriptions.CLOSE)
    async def close(request: Request) -> Response:
        return await _answered(reports.close(request.path_params["report_id"]))

    @routes.post("/measurement", **descriptions.SUBMIT)
    async def submit(request: Request) -> Response:
        return await _answered(reports.submit(request))

    return routes


async def _answered(work: Any) -> Response:
    """Success, or what the Reception refuses as the protocol says it."""
    try:
        told = await work
    except ReportNotFoundError:
        raise RefusedError(404, "report-not-found") from None
    except HeaderTextError:
        raise invalid("content") from None
    except NoRoomError:
        raise RefusedError(507, "no-room", retry_after=RETRY_AFTER) from None
    except CollectorShutError:
        raise RefusedError(503, "busy", retry_after=RETRY_AFTER) from None
    return answer(_SUCCESS if told is None else told)
