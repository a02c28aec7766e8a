"""The packet family (df-003-scapy): every packet that was sent and that came back, as base64."""

from __future__ import annotations

import base64
from typing import Any

from ooni_pipeline.normalise.source import Source

PACKETS = ("sent_packets", "answered_packets")


def normalise(entry: dict[str, Any], source: Source) -> None:
    """Bring a legacy entry of this family into today's shape: flat lists of ``{raw_packet, summary}``.

    Old probes wrote groups of packets, mostly of one; the packets of all groups stay, in their order.
    """
    test_keys = entry["test_keys"]
    for key in PACKETS:
        groups = test_keys.get(key)
        if not isinstance(groups, list):
            groups = [] if groups is None else [groups]
        test_keys[key] = [
            _packet(packet) for group in groups for packet in (group if isinstance(group, list) else [group])
        ]


def _packet(packet: Any) -> Any:
    if isinstance(packet, dict) and "raw_packet" in packet:
        return {**packet, "raw_packet": bytes_as_base64(packet["raw_packet"])}
    return packet


def bytes_as_base64(value: Any) -> Any:
    """What is bytes by its nature, as base64 even where the bytes happen to be text."""
    if not isinstance(value, str):
        return value
    raw = value.encode("utf-8", "surrogatepass")
    return {"data": base64.b64encode(raw).decode("ascii"), "format": "base64"}
