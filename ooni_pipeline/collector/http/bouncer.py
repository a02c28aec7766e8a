"""The bouncer's routes: probes ask where to send their reports, and which test helpers there are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ooni_pipeline.collector.bouncer import MAX_HASHES, MAX_HELPERS, MAX_TESTS, PATTERNS, Bouncer
from ooni_pipeline.collector.http.answers import answer
from ooni_pipeline.collector.http.descriptions import operation
from ooni_pipeline.collector.http.intake import Intake


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _some(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"anyOf": [{"type": "array", "items": items, "maxItems": most}, {"type": "null"}]}


def _text(name: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{PATTERNS[name]}$"}


_HELPERS = _some(_text("test-helper"), MAX_HELPERS)
_HASHES = _some(_text("input-hash"), MAX_HASHES)
_TEST = _object(
    {"name": _text("name"), "version": _text("version"), "input-hashes": _HASHES, "test-helpers": _HELPERS},
    "name",
    "version",
)
_TESTS = _some(_TEST, MAX_TESTS)
_SERVICES = {
    "type": "array",
    "items": _object({one: {"type": "string"} for one in ("type", "address", "front")}, "type", "address"),
}
_BY_NAME = {"type": "object", "additionalProperties": _SERVICES}
_TOLD_TEST = _object(
    {
        "name": _text("name"),
        "version": _text("version"),
        "input-hashes": {"type": "array", "items": _text("input-hash")},
        "test-helpers": {"type": "object", "additionalProperties": {"type": "string"}},
        "test-helpers-alternate": _BY_NAME,
        "collector": {"type": "string"},
        "collector-alternate": _SERVICES,
    },
    "name", "version", "input-hashes", "test-helpers", "test-helpers-alternate", "collector",
    "collector-alternate",
)  # fmt: skip
_TOLD_TESTS = _object({"net-tests": {"type": "array", "items": _TOLD_TEST}}, "net-tests")
_TOLD_HELPERS = {
    "type": "object",
    "additionalProperties": _object(
        {"address": {"type": "string"}, "collector": {"type": "string"}}, "collector"
    ),
}

_NET_TESTS = operation(
    "Where to go for some tests",
    "For each test its collector and test helpers. 404: test-helper-not-found, collector-not-found.",
    _TOLD_TESTS,
    _object({"net-tests": _TESTS}, "net-tests"),
)
_TEST_HELPERS = operation(
    "Where some test helpers are",
    "Each with its collector, and the default collector. 404: test-helper-not-found, collector-not-found.",
    _TOLD_HELPERS,
    _object({"test-helpers": _HELPERS}, "test-helpers"),
)
_EITHER = operation(
    "Either of the two",
    "Answered as the key asks; 400: test-helpers-or-net-test-key-missing.",
    {"anyOf": [_TOLD_TESTS, _TOLD_HELPERS]},
    {
        "anyOf": [
            _object({"net-tests": _TESTS}, "net-tests"),
            _object({"test-helpers": _HELPERS}, "test-helpers"),
        ]
    },
)
_COLLECTORS = operation("All collectors", "As [bouncer] lists them.", _SERVICES, None)
_ALL_HELPERS = operation("All test helpers", "As [bouncer] lists them.", _BY_NAME, None)


def router(bouncer: Bouncer, intake: Intake) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["bouncer"])

    def told_to(request: Request) -> Bouncer:
        return bouncer.told_to(request.headers.get("host"))

    @routes.post("/bouncer/net-tests", **_NET_TESTS)
    async def net_tests(request: Request) -> Response:
        return answer(told_to(request).net_tests(await intake.value(request)))

    @routes.post("/bouncer/test-helpers", **_TEST_HELPERS)
    async def test_helpers(request: Request) -> Response:
        return answer(told_to(request).test_helpers_of(await intake.value(request)))

    @routes.post("/bouncer", **_EITHER)
    async def either(request: Request) -> Response:
        return answer(told_to(request).either(await intake.value(request)))

    @routes.get("/api/v1/collectors", **_COLLECTORS)
    async def collectors() -> Response:
        return answer(bouncer.told_collectors())

    @routes.get("/api/v1/test-helpers", **_ALL_HELPERS)
    async def all_test_helpers() -> Response:
        return answer(bouncer.told_test_helpers())

    return routes
