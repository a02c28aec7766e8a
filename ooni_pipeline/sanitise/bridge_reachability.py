"""bridge_reachability: does Tor start through this bridge? Its input is the bridge itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ooni_pipeline.sanitise.bridge_lines import MARKER, parse_bridge_line, without_addresses
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.search import Secrets

LOGS = ("tor_log", "obfsproxy_log")


def sanitise(entry: dict[str, Any], table: BridgeTable, cuts: Counter[str]) -> Secrets | None:
    """Name the bridge by its hashed fingerprint and clean the logs.

    Returns the bridge's own address and fingerprint where the table does not know it, so that they go
    from the rest of the entry too.
    """
    test_keys = entry.get("test_keys")
    if not isinstance(test_keys, dict):
        test_keys = entry["test_keys"] = {}
    for key in LOGS:
        if isinstance(test_keys.get(key), str):
            test_keys[key], count = without_addresses(test_keys[key])
            cuts[key] += count
    written = [entry.get("input"), test_keys.get("bridge_address")]
    lines = [parse_bridge_line(line) for line in written if isinstance(line, str)]
    addresses = [line.address_and_port for line in lines if line.address_and_port]
    fingerprints = [line.fingerprint for line in lines if line.fingerprint]
    bridge = next((found for address in addresses if (found := table.find(address))), None)
    hashed = bridge.hashed_fingerprint if bridge else None
    if hashed is None:
        hashed = next((line.hashed_fingerprint for line in lines if line.hashed_fingerprint), None)
    if test_keys.get("bridge_address") is not None:
        cuts["bridge_address"] += 1
    test_keys["bridge_address"] = None
    test_keys["bridge_hashed_fingerprint"] = hashed
    test_keys["distributor"] = bridge.distributor if bridge else None
    if bridge:
        test_keys["transport"] = bridge.transport
    if entry.get("input") is not None:
        cuts["bridge_input"] += 1
        entry["input"] = hashed or MARKER
    if bridge:
        return None  # the table's own addresses go from everywhere anyhow
    return Secrets([address.rpartition(":")[0].strip("[]") for address in addresses], fingerprints)
