"""openapi.json: what it describes is what is answered, whatever comes; and its page needs nobody else."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.collector.http.client import ask
from tests.parts.collector import Collector

#: Of each route: making them takes longer than answering.
EXAMPLES = 15


def described(collector: Collector) -> dict[str, Any]:
    with urllib.request.urlopen(f"{collector.url}/openapi.json") as answer:  # noqa: S310
        return dict(json.load(answer))


ROUTES = [
    ("POST", "/report"), ("PUT", "/report"), ("POST", "/report/{report_id}"),
    ("POST", "/report/{report_id}/close"), ("POST", "/measurement"), ("POST", "/bouncer"),
    ("POST", "/bouncer/net-tests"), ("POST", "/bouncer/test-helpers"),
    ("GET", "/api/v1/collectors"), ("GET", "/api/v1/test-helpers"),
]  # fmt: skip


def test_every_route_is_described(shared: Collector) -> None:
    found = described(shared)["paths"]
    assert {(method.upper(), path) for path, methods in found.items() for method in methods} == set(ROUTES)
    for path, methods in found.items():
        for method, told in methods.items():
            assert told["summary"] and "200" in told["responses"] and "422" not in told["responses"]
            assert ("requestBody" in told) == (method != "get" and not path.endswith("/close")), path


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_whatever_comes_is_answered_as_described(shared: Collector, method: str, path: str) -> None:
    """Requests made of the description, right and wrong: never a 500, no status and no body that it lacks."""
    schema = schemathesis.openapi.from_url(f"{shared.url}/openapi.json")

    @hypothesis.given(case=schema[path][method].as_strategy())
    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def send(case: Any) -> None:
        reply = case.call(base_url=shared.url)
        case.validate_response(
            reply, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
        )

    send()


@pytest.mark.parametrize("path", ["/report", "/measurement", "/bouncer"])
def test_any_json_is_answered(shared: Collector, path: str) -> None:
    values = hypothesis.strategies.recursive(
        hypothesis.strategies.none() | hypothesis.strategies.text() | hypothesis.strategies.floats(),
        lambda inner: (
            hypothesis.strategies.lists(inner)
            | hypothesis.strategies.dictionaries(
                hypothesis.strategies.sampled_from(("content", "format", "report_id", "software_name", "x")),
                inner,
            )
        ),
    )

    @hypothesis.given(values)
    @hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None)
    def send(value: object) -> None:
        for method in ("POST", "PUT") if path == "/report" else ("POST",):
            assert ask(shared.url, method, path, value).status in (200, 400, 404)

    send()


def test_the_page_needs_no_script_and_no_other_host(shared: Collector) -> None:
    with urllib.request.urlopen(f"{shared.url}/docs") as answer:  # noqa: S310
        text = answer.read().decode()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in text
    assert re.findall(r'(?:href|src)="([^"]*)"', text) == ["openapi.json"]
    for method, path in ROUTES:
        assert f"<h2>{method} {path}</h2>" in text
    assert text.index("<h2>POST /report</h2>") < text.index("<h2>PUT /report</h2>"), "made, then added to"
