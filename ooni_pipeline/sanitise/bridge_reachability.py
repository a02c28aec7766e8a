"""bridge_reachability: does Tor start through this bridge? Its input is the bridge itself."""

from __future__ import annotations

from typing import Any

from ooni_pipeline.sanitise.bridge_lines import BridgeLine, parse_bridge_line
from ooni_pipeline.sanitise.cuts import MARKER, Cuts, test_keys_of
from ooni_pipeline.sanitise.strings import texts_in
from ooni_pipeline.sanitise.tor_logs import clean_logs

LOGS = ("tor_log", "obfsproxy_log")


def sanitise(entry: dict[str, Any], cuts: Cuts) -> None:
    """Name the bridge by its hashed fingerprint and clean the logs and the command line.

    The bridge's own address and fingerprint go from the rest of the entry too, also where the table does
    not know it. A public bridge stays as it is written, and says its hashed fingerprint beside that.
    """
    test_keys = test_keys_of(entry)
    clean_logs(entry, LOGS, cuts)
    written = texts_in([entry.get("input"), test_keys.get("bridge_address")])
    lines = [parse_bridge_line(line) for line in written]
    bridge = next((found for line in lines if (found := line.known_to(cuts.table))), None)
    is_public = bridge is not None and all(_is_public(line, cuts) for line in lines)
    hashed = bridge.hashed_fingerprint if bridge else None
    if hashed is None:
        hashed = next((line.hashed_fingerprint for line in lines if line.fingerprints), None)
    if not is_public:
        cuts.count("bridge_address", int(test_keys.get("bridge_address") is not None))
        test_keys["bridge_address"] = None
    test_keys["bridge_hashed_fingerprint"] = hashed
    test_keys["distributor"] = bridge.distributor if bridge else None
    if bridge:
        test_keys["transport"] = bridge.transport
    if is_public:
        return
    cuts.names_a_bridge |= bridge is not None
    for line in lines:
        cuts.hide(line.addresses, line.fingerprints)
    if entry.get("input") is not None:
        cuts.count("bridge_input")
        entry["input"] = hashed or MARKER


def _is_public(line: BridgeLine, cuts: Cuts) -> bool:
    """Whether a line names nothing but public bridges."""
    fingerprints = {one.upper() for one in cuts.table.public_fingerprints}
    return all(address in cuts.table.public_addresses for address in line.addresses) and all(
        one.upper() in fingerprints for one in line.fingerprints
    )
