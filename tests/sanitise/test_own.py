"""Which addresses a report reveals as the volunteer's own, and that every such line is looked at."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ooni_pipeline.report.json_lines import dump_entry
from ooni_pipeline.sanitise import Sanitiser
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable
from ooni_pipeline.sanitise.own import near_resolvers, reveal
from ooni_pipeline.sanitise.settings import Settings

SANITISER = Sanitiser(BridgeTable.of([Bridge("192.0.2.1", 443, "01" * 20, None, None)]))
OWN = "203.0.113.77"
LOG = f"Guessed our IP address as {OWN} (source: 198.51.100.99)."
CODED = {"format": "base64", "data": base64.b64encode(LOG.encode()).decode()}
ECHO = json.dumps({"headers_dict": {"X-Forwarded-For": [OWN]}})


@pytest.mark.parametrize(
    "entry",
    [
        {"probe_ip": OWN},
        {"test_keys": {"legacy_probe_ip": f"{OWN}:5000"}},
        {"test_keys": {"receiver_data": [{"real_address": OWN}]}},
        {"test_keys": {"web100_snap": {"RemAddress": OWN}}},
        {"test_keys": {"download": [{"ConnectionInfo": {"Client": f"{OWN}:5000"}}]}},
        {"test_keys": {"tor_log": LOG}},
        {"test_keys": {"tor_logs": ["x", LOG]}},
        {"test_keys": {"tor_log": CODED}},
        {"test_keys": {"tor_logs": [CODED]}},
        {"test_name": "http_host", "test_keys": {"requests": [{"response": {"body": ECHO}}]}},
        {"test_name": "HTTP Host", "test_keys": {"received": [f"GET /\r\nX-Real-IP: {OWN}\r\n"]}},
    ],
)
def test_what_reveals(entry: dict[str, Any]) -> None:
    assert reveal(entry, Settings()) == {OWN}
    assert SANITISER.reveals(dump_entry(entry), 0)


@pytest.mark.parametrize("said", ["0xcb00714d", "cb00714d", "4D7100CB", 0xCB00714D, str(0x4D7100CB)])
def test_web100_in_either_order_of_bytes(said: str | int) -> None:
    assert OWN in reveal({"test_keys": {"RemAddress": said}}, Settings())


@pytest.mark.parametrize(
    "entry",
    [
        {"probe_ip": "127.0.0.1"},
        {"probe_ip": None, "input": OWN},
        {"test_keys": {"response": {"headers": {"client_ip": OWN, "ConnectionInfo": OWN}, "body": LOG}}},
        {"test_name": "web_connectivity", "test_keys": {"requests": [{"response": {"body": ECHO}}]}},
        {"test_keys": {"real_address": "0.0.0.0", "client_ip": "255.255.255.255"}},  # noqa: S104
    ],
)
def test_what_does_not(entry: dict[str, Any]) -> None:
    """Least of all what a server says: a censor could have any address erased by it."""
    assert reveal(entry, Settings()) == set()


@pytest.mark.parametrize(
    ("own", "resolver", "is_near"),
    [
        (OWN, "203.0.113.1", True),
        (OWN, "203.0.112.77", False),
        ("2001:db8:7::1", "2001:db8:7:ffff::53", True),
        ("2001:db8:7::1", "2001:db8:8::53", False),
        (OWN, "2001:db8:7::53", False),
    ],
)
def test_resolvers_in_the_same_network(own: str, resolver: str, is_near: bool) -> None:
    entry = {"resolver_ip": resolver, "test_keys": {"queries": [{"answers": [{"ipv4": "203.0.113.2"}]}]}}
    assert near_resolvers(entry, [own]) == ({resolver} if is_near else set())
