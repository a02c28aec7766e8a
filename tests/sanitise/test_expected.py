"""Where a known bridge is expected, and how many addresses a report may name beside one."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ooni_pipeline.sanitise.expected import all_expected, names_more_than
from ooni_pipeline.sanitise.search import Secrets

BRIDGE = "192.0.2.1"
BRIDGES = Secrets([BRIDGE])
CODED = base64.b64encode(f"{BRIDGE}:443".encode()).decode()


@pytest.mark.parametrize(
    "entry",
    [
        {"input": f"http://{BRIDGE}/"},
        {"options": ["-b", f"{BRIDGE}:443"]},
        {"test_keys": {"legacy_options": {"subargs": [[BRIDGE]]}}},
        {"test_keys": {"failure": f"connect to {BRIDGE}"}},
        {"test_keys": {"requests": [{"failure": BRIDGE}], "dns_experiment_failure": BRIDGE, "error": BRIDGE}},
        {"test_keys": {"bridge_address": BRIDGE, "tor_log": BRIDGE, "targets": {"a": {"b": BRIDGE}}}},
        {"test_keys": {"body": "192.0.2.10"}},
    ],
)
def test_expected(entry: dict[str, Any]) -> None:
    assert all_expected(entry, BRIDGES)


@pytest.mark.parametrize(
    "entry",
    [
        {"test_keys": {"requests": [{"response": {"body": BRIDGE}}]}},
        {"test_keys": {"queries": [{"answers": [{"ipv4": BRIDGE}]}]}},
        {"annotations": {"platform": BRIDGE}},
        {"input": "http://a.test/", "report_id": BRIDGE},
        {"test_keys": {BRIDGE: 1}},
        {"input": {BRIDGE: 1}},
        {"input": f"http://a.test/?q={CODED}"},
        {"test_keys": {"failure": "192%2E0%2E2%2E1"}},
        {"input": BRIDGE, "test_keys": {"x": BRIDGE}},
    ],
)
def test_not_expected(entry: dict[str, Any]) -> None:
    assert not all_expected(entry, BRIDGES)


@pytest.mark.parametrize(("limit", "more"), [(3, True), (4, False), (200, False)])
def test_distinct_addresses_of_hosts(limit: int, more: bool) -> None:
    lines = [
        b'{"a":"192.0.2.1 192.0.2.2:80"}',
        b'{"b":["192.0.2.1","[2001:db8::1]:443","127.0.0.1"]}',
        b"203.0.113.7",
    ]
    assert names_more_than(limit, lines) is more
