"""Requests that go past the framework's routing are those of its routes, and no others."""

from __future__ import annotations

import pytest

from tests.collector.http.client import CREATE, ask
from tests.parts.collector import Collector


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/report", 200),
        ("POST", "/report/", 404),
        ("POST", "//report", 404),
        ("POST", "/report/x/y", 404),
        ("POST", "/report/x/close/", 404),
        ("DELETE", "/report", 405),
        ("GET", "/report/x", 405),
        ("PUT", "/report/x/close", 405),
    ],
)
def test_only_what_is_a_route_is_one(shared: Collector, method: str, path: str, status: int) -> None:
    reply = ask(shared.url, method, path, CREATE)
    assert reply.status == status
    assert list(reply.body) == ["error"] or status == 200
