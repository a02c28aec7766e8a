"""tcp_connect: its input is a host and a port, at times those of a bridge."""

from __future__ import annotations

from typing import Any

from ooni_pipeline.sanitise.bridge_lines import parse_bridge_line
from ooni_pipeline.sanitise.cuts import MARKER, Cuts, test_keys_of
from ooni_pipeline.sanitise.strings import texts_in


def sanitise(entry: dict[str, Any], cuts: Cuts) -> None:
    """Name a bridge by its hashed fingerprint; leave every other input as it is.

    A bridge is what the table knows, and what is written as a bridge line: an address with a word before
    or after it (``obfs3 192.0.2.1:443``), or a fingerprint. One that no table knows is a volunteer's own.
    """
    line = parse_bridge_line(" ".join(texts_in(entry.get("input"))))
    bridge = line.known_to(cuts.table)
    if bridge.public if bridge else not line.fingerprints and not (line.places and line.words > 1):
        return
    cuts.names_a_bridge |= bridge is not None
    cuts.hide(line.addresses, line.fingerprints)
    hashed = bridge.hashed_fingerprint if bridge else line.hashed_fingerprint
    test_keys_of(entry)["bridge_hashed_fingerprint"] = hashed
    entry["input"] = hashed or MARKER
    cuts.count("bridge_input")
