"""The bouncer, asked over HTTP as probes of all generations ask it."""

from __future__ import annotations

import pytest

from tests.collector.http import client
from tests.parts.collector import Collector, StartCollector

ONION = "httpo://abcdefghijklmnop.onion"
BOUNCER = {
    "collectors": "\n    https https://c.example\n    onion abcdefghijklmnop.onion",
    "test_helpers": "\n    tcp-echo legacy 192.0.2.7:57001\n    web-connectivity https https://h.example",
}
COLLECTORS = [{"type": "https", "address": "https://c.example"}, {"type": "onion", "address": ONION}]
NET_TEST = {
    "name": "web_connectivity",
    "version": "0.1",
    "input-hashes": [],
    "test-helpers": ["web-connectivity"],
}
TOLD = {
    **NET_TEST,
    "test-helpers": {"web-connectivity": "https://h.example"},
    "test-helpers-alternate": {"web-connectivity": [{"type": "https", "address": "https://h.example"}]},
    "collector": ONION,
    "collector-alternate": COLLECTORS[:1],
}
TOLD_HELPER = {
    "tcp-echo": {"address": "192.0.2.7:57001", "collector": ONION},
    "default": {"collector": ONION},
}


@pytest.fixture
def collector(start_collector: StartCollector) -> Collector:
    return start_collector(bouncer=BOUNCER)


def ask(collector: Collector, path: str, body: object = None) -> tuple[int, object]:
    """GET, or POST where there is a body."""
    if body is None:
        reply = client.ask(collector.url, "GET", path)
    else:
        reply = client.ask(collector.url, "POST", path, body)
    return reply.status, reply.body


def test_every_generation_is_answered(collector: Collector) -> None:
    tests, helpers = {"net-tests": [NET_TEST]}, {"test-helpers": ["tcp-echo"]}
    assert ask(collector, "/bouncer/net-tests", tests) == (200, {"net-tests": [TOLD]})
    assert ask(collector, "/bouncer/test-helpers", helpers) == (200, TOLD_HELPER)
    assert ask(collector, "/bouncer", tests) == (200, {"net-tests": [TOLD]})
    assert ask(collector, "/bouncer", helpers) == (200, TOLD_HELPER)
    assert ask(collector, "/api/v1/collectors") == (200, COLLECTORS)
    assert ask(collector, "/api/v1/test-helpers") == (
        200,
        {
            "tcp-echo": [{"type": "legacy", "address": "192.0.2.7:57001"}],
            "web-connectivity": [{"type": "https", "address": "https://h.example"}],
        },
    )


def test_what_cannot_be_answered_is_an_error_of_the_protocol(collector: Collector) -> None:
    missing = (400, {"error": "test-helpers-or-net-test-key-missing"})
    invalid = (400, {"error": "invalid-request"})
    unknown = (404, {"error": "test-helper-not-found"})
    assert ask(collector, "/bouncer", {}) == missing
    assert ask(collector, "/bouncer/net-tests", {"test-helpers": []}) == missing
    assert ask(collector, "/bouncer/test-helpers", {"net-tests": []}) == missing
    bodies: list[object] = [b"", b"{", b"[" * 10_000, b"\xff", []]
    assert [ask(collector, "/bouncer", body) for body in bodies] == [invalid] * len(bodies)
    assert ask(collector, "/bouncer", b" " * 300_000) == (413, {"error": "request-too-large"})
    assert ask(collector, "/bouncer/test-helpers", {"test-helpers": ["dns"]}) == unknown
    assert (
        ask(collector, "/bouncer/net-tests", {"net-tests": [{**NET_TEST, "test-helpers": ["dns"]}]})
        == unknown
    )
    said = ask(collector, "/bouncer/net-tests", {"net-tests": [{**NET_TEST, "name": "<script>"}]})
    assert said == invalid


def test_without_collectors_there_is_none(start_collector: StartCollector) -> None:
    empty = start_collector()
    assert ask(empty, "/api/v1/collectors") == (200, [])
    assert ask(empty, "/api/v1/test-helpers") == (200, {})
    none = (404, {"error": "collector-not-found"})
    assert ask(empty, "/bouncer/net-tests", {"net-tests": [{**NET_TEST, "test-helpers": []}]}) == none
    assert ask(empty, "/bouncer/test-helpers", {"test-helpers": []}) == none


@pytest.mark.parametrize("path", ["/bouncer/net-tests", "/bouncer/test-helpers", "/bouncer"])
def test_an_onion_address_of_today_goes_to_who_came_by_one(
    start_collector: StartCollector, path: str
) -> None:
    """ooniprobe 2.3.0, which comes by https, stops at the sight of it; 1.3.2 comes by onion and needs it."""
    onion = f"{'a' * 56}.onion"
    both = start_collector(bouncer={"collectors": f"\n    onion {onion}\n    https https://c.example"})
    tests = {"net-tests": [{**NET_TEST, "test-helpers": []}]}
    body = {"test-helpers": []} if "helpers" in path else tests

    def told(host: str) -> str:
        reply = client.ask(both.url, "POST", path, body, headers={"Host": host})
        assert reply.status == 200
        return str(reply.body)

    assert onion not in told("c.example") and "https://c.example" in told("c.example")
    assert f"'collector': 'httpo://{onion}'" in told(onion)
    assert onion in str(ask(both, "/api/v1/collectors")[1])


def test_a_report_is_told_where_its_helper_is(collector: Collector) -> None:
    create = {"software_name": "x", "software_version": "1", "test_name": "tcp_connect", "test_version": "1"}
    status, told = ask(collector, "/report", {**create, "test_helper": "tcp-echo"})
    assert status == 200 and isinstance(told, dict)
    assert told["test_helper_address"] == "192.0.2.7:57001"
    unknown = ask(collector, "/report", {**create, "test_helper": "dns"})
    assert unknown == (404, {"error": "test-helper-not-found"})
