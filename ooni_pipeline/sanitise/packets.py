"""Raw packets and what scapy says of them: which address in them is the volunteer's own.

Probes mask the outer addresses of packets. Inside an ICMP error a router quotes the packet that it
answers, whose source is the volunteer (or the address that a NAT in between gave him).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ooni_pipeline.sanitise.addresses import addresses_in
from ooni_pipeline.sanitise.strings import decoded, plain_key

#: The keys under which packets stand, and whether their source is the volunteer (else their destination).
DIRECTIONS = {"sent_packets": True, "answered_packets": False, "received_packets": False}

_ICMP, _ICMP6, _QUOTING, _QUOTING6 = 1, 58, (3, 4, 5, 11, 12), (1, 2, 3, 4)
# So many characters of other fields, no more: else many beginnings without an end take for ever.
_FIELDS, _ADDRESS = r"[^<|>]{0,400}?", r"([0-9A-Fa-f.:]{2,45})"
_QUOTED = re.compile(rf"IP(?:v6)?error{_FIELDS}\bsrc={_ADDRESS}")
_LONG = re.compile(rf"<IP(?:v6)? {_FIELDS}\bsrc={_ADDRESS}{_FIELDS}\bdst={_ADDRESS}")
_SHORT = re.compile(
    r"IP(?:v6)? / .{0,100}?(?<![0-9A-Fa-f.:])([0-9A-Fa-f.:]{3,45}?)(?::\w{1,20})? > ([0-9A-Fa-f.:]{3,45})"
)


def own_addresses(key: str, packets: Any) -> Iterator[str]:
    """The volunteer's own addresses in the packets (``{raw_packet, summary}``, in lists) under a key."""
    waiting: list[Any] = [packets]
    sent = DIRECTIONS[plain_key(key)]
    for packet in waiting:
        if isinstance(packet, list):
            waiting += packet
        elif isinstance(packet, dict):
            if raw := decoded(packet.get("raw_packet")):
                yield from _of_raw(raw, sent)
            if isinstance(packet.get("summary"), str):
                yield from _of_summary(packet["summary"], sent)
            waiting += [value for name, value in packet.items() if isinstance(value, list)]
        elif isinstance(packet, str):
            yield from _of_summary(packet, sent)


def _of_raw(raw: bytes, sent: bool) -> Iterator[str]:
    ends = _ends(raw)
    if ends is None:
        return
    source, destination, protocol, length = ends
    yield from addresses_in(source if sent else destination)
    quoting = {_ICMP: _QUOTING, _ICMP6: _QUOTING6}.get(protocol, ())
    if len(raw) > length + 8 and raw[length] in quoting and (quoted := _source(raw[length + 8 :])):
        yield from addresses_in(quoted)


def _source(raw: bytes) -> str:
    """The source of an IP packet of which there may be no more than that."""
    if len(raw) >= 16 and raw[0] >> 4 == 4:
        return str(IPv4Address(raw[12:16]))
    if len(raw) >= 24 and raw[0] >> 4 == 6:
        return str(IPv6Address(raw[8:24]))
    return ""


def _ends(raw: bytes) -> tuple[str, str, int, int] | None:
    """Source, destination, protocol and length of the header of an IP packet."""
    if len(raw) >= 20 and raw[0] >> 4 == 4:
        return str(IPv4Address(raw[12:16])), str(IPv4Address(raw[16:20])), raw[9], 4 * (raw[0] & 15)
    if len(raw) >= 40 and raw[0] >> 4 == 6:
        return str(IPv6Address(raw[8:24])), str(IPv6Address(raw[24:40])), raw[6], 40
    return None


def _of_summary(summary: str, sent: bool) -> Iterator[str]:
    for match in _QUOTED.finditer(summary):
        yield from addresses_in(match[1])
    for match in (*_LONG.finditer(summary), *_SHORT.finditer(summary)):
        yield from addresses_in(match[1 if sent else 2])
