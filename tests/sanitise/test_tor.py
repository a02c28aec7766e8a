"""The other nettests of Tor: logs are cleaned, and only authorities keep their address."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest

from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.sanitise import Sanitiser
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable

SANITISER = Sanitiser(BridgeTable.of([Bridge("192.0.2.1", 443, "01" * 20, None, None)]))
DIGEST = "f372c264e9a470335d9ac79fe780847bda052aa3b6a9ee5ff497cb6501634f9f"
BRIDGE = "203.0.113.7:443"


def run(name: str, test_keys: Any, **keys: Any) -> tuple[dict[str, Any], dict[str, int]]:
    entry = {"id": "x", "test_name": name, "probe_ip": "127.0.0.1", "test_keys": test_keys, **keys}
    line, counts = dump_entry(entry), Counter[str]()
    assert list(SANITISER.of_report().wanted(line))
    clean = SANITISER.of_report().sanitise_line(line, counts)
    assert clean is not None
    return loads(clean), dict(counts)


@pytest.mark.parametrize("name", ["vanilla_tor", "torsf", "tor"])
@pytest.mark.parametrize("key", ["tor_log", "tor_logs", "obfsproxy_log", "logs"])
@pytest.mark.parametrize("as_lines", [False, True])
def test_logs(name: str, key: str, as_lines: bool) -> None:
    said = "Aug 18 06:52:08.000 [notice] Tor 0.4.7.13: connected to 203.0.113.7:443 in 12:30:45"
    clean = said.replace("203.0.113.7:443", "[REDACTED]")
    entry, cuts = run(name, {key: [said, "Done"] if as_lines else said, "failure": None})
    assert entry["test_keys"] == {key: [clean, "Done"] if as_lines else clean, "failure": None}
    assert cuts == entry["sanitised"] == {key: 1}


@pytest.mark.parametrize("name", ["vanilla_tor", "torsf", "tor"])
def test_nothing_to_cut(name: str) -> None:
    test_keys = {
        "tor_logs": ["Bootstrapped 100% (done): Done"],
        "failure": "timeout to 198.51.100.7",
        "targets": None,
        "tor_progress": 100,
    }
    entry, cuts = run(name, copy.deepcopy(test_keys))
    assert (entry["test_keys"], cuts) == (test_keys, {})


@pytest.mark.parametrize("test_keys", [None, "x", 5, [], {}, {"targets": {}}, {"targets": []}])
def test_without_test_keys(test_keys: Any) -> None:
    assert run("tor", test_keys)[1] == {}


def test_command_lines() -> None:
    entry, cuts = run("vanilla_tor", {}, options=["-b", "obfs4 203.0.113.7:443"])
    assert (entry["options"], cuts) == (["-b", "[REDACTED]"], {"options": 1})


def target(address: str = BRIDGE, protocol: str = "obfs4", **keys: Any) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {
        "agent": "redirect",
        "failure": None,
        "network_events": [{"address": address, "operation": "connect", "t": 1.5}, {"num_bytes": 5}],
        "summary": {"connect": {"failure": f"dial tcp {address}: refused"}},
        "target_address": address,
        "target_protocol": protocol,
        "tcp_connect": [{"ip": host, "port": int(port), "status": {"success": True}}],
        **keys,
    }


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (DIGEST, target()),
        (DIGEST, target(target_name="moria1")),
        (DIGEST, target(protocol="or_port_dirauth")),
        (BRIDGE, target()),
        (BRIDGE, target(protocol="or_port")),
        (BRIDGE, target(protocol="or_port", target_name="Unnamed")),
        (BRIDGE, target(protocol="dir_port", target_source="bridgedb")),
        (BRIDGE, target(protocol="or_port", target_name="Serge", target_source="bridgedb")),
        ("198.51.100.1:1", target(protocol="dir_port")),
        ("[2001:db8:0::7]:443", target("[2001:db8::7]:443")),
        ("bridge.test:443", target("bridge.test:443")),
        (DIGEST, target(target_address=None)),
        (DIGEST, [{"address": BRIDGE}]),
        (BRIDGE, BRIDGE),
        (DIGEST, {"format": "base64", "data": "MjAzLjAuMTEzLjc="}),
    ],
)
def test_whoever_is_no_authority_is_hidden(key: str, said: Any) -> None:
    test_keys = {"targets": {key: said}, "note": f"{BRIDGE} and [2001:DB8::7]:443"}
    entry, cuts = run("tor", test_keys)
    text = json.dumps(entry["test_keys"]["targets"]).lower()
    assert not any(secret in text for secret in ("203.0.113", "2001:", "bridge.test", "mjaz"))
    assert list(entry["test_keys"]["targets"]) == [key if key == DIGEST else "[REDACTED]"]
    assert cuts["tor_target"] >= 1


def test_what_is_left_of_a_bridge() -> None:
    certificate = {"format": "base64", "data": "AAAA"}
    said = target(tls_handshakes=[{"peer_certificates": [certificate], "tls_version": "TLSv1.3"}])
    entry, cuts = run("tor", {"targets": {DIGEST: said}, "note": f"at {BRIDGE}", "obfs4_total": 1})
    marker = "[REDACTED]"
    assert entry["test_keys"] == {
        "targets": {
            DIGEST: {
                "agent": "redirect",
                "failure": None,
                "network_events": [
                    {"address": marker, "operation": "connect", "t": 1.5},
                    {"num_bytes": 5},
                ],
                "summary": {"connect": {"failure": f"dial tcp {marker}: refused"}},
                "target_address": marker,
                "target_protocol": "obfs4",
                "tcp_connect": [{"ip": marker, "port": 443, "status": {"success": True}}],
                "tls_handshakes": [{"peer_certificates": [marker], "tls_version": "TLSv1.3"}],
            }
        },
        "note": f"at {marker}:443",
        "obfs4_total": 1,
    }
    assert cuts == {"tor_target": 5, "bridge": 1}


@pytest.mark.parametrize(
    "said",
    [
        target("128.31.0.39:9131", "dir_port"),
        target("128.31.0.39:9101", "or_port_dirauth"),
        target("128.31.0.39:9101", "or_port_dirauth", target_name="moria1", target_source=""),
        target("128.31.0.39:9101", "or_port", target_name="Faravahar"),
    ],
)
def test_authorities_are_evidence(said: dict[str, Any]) -> None:
    test_keys = {"targets": {said["target_address"]: said}}
    entry, cuts = run("tor", copy.deepcopy(test_keys))
    assert (entry["test_keys"], cuts) == (test_keys, {})


def test_authorities_of_the_first_version() -> None:
    """Their or_port says nothing about itself; it is known by the host of a dir_port beside it."""
    targets = {
        "128.31.0.39:9101": target("128.31.0.39:9101", "or_port"),
        "128.31.0.39:9131": target("128.31.0.39:9131", "dir_port"),
    }
    entry, cuts = run("tor", {"targets": copy.deepcopy(targets)})
    assert (entry["test_keys"]["targets"], cuts) == (targets, {})
    entry, cuts = run("tor", {"targets": list(copy.deepcopy(targets).values())})
    assert (entry["test_keys"]["targets"], cuts) == (list(targets.values()), {})


def test_targets_that_become_alike_are_kept() -> None:
    targets = {"a.test:1": target(), "[REDACTED]": target(), "b.test:1": target()}
    entry, _ = run("tor", {"targets": targets})
    assert len(entry["test_keys"]["targets"]) == 3
    assert BRIDGE[:-4] not in json.dumps(run("tor", {"targets": [target(), BRIDGE]})[0])
    assert run("tor", {"targets": BRIDGE})[0]["test_keys"] == {"targets": [{"target": "[REDACTED]"}]}
