"""tcp_connect: its input is a host and a port, at times those of a bridge."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ooni_pipeline.sanitise.bridge_lines import parse_bridge_line
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.search import Secrets


def sanitise(entry: dict[str, Any], table: BridgeTable, cuts: Counter[str]) -> Secrets | None:
    """Name a bridge of the table by its hashed fingerprint; leave every other input as it is."""
    if not isinstance(entry.get("input"), str):
        return None
    address = parse_bridge_line(entry["input"]).address_and_port
    bridge = table.find(address) if address else None
    if bridge is None:
        return None
    test_keys = entry.get("test_keys")
    if not isinstance(test_keys, dict):
        test_keys = entry["test_keys"] = {}
    entry["input"] = test_keys["bridge_hashed_fingerprint"] = bridge.hashed_fingerprint
    cuts["bridge_input"] += 1
    return None
