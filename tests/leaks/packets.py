"""What a packet quotes: a router that drops one sends its beginning back, with the true source."""

from __future__ import annotations

_ICMP, _ICMPV6 = 1, 58
#: Destination unreachable, source quench, redirect, time exceeded, parameter problem.
_QUOTING = frozenset({3, 4, 5, 11, 12})
_QUOTING_V6 = frozenset({1, 2, 3, 4})


def quoted_source(packet: bytes) -> bytes | None:
    """The packed source address of the packet that an ICMP error quotes; None for any other packet."""
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    if version == 4 and packet[9] == _ICMP:
        icmp = packet[(packet[0] & 15) * 4 :]
        return _source(icmp[8:]) if icmp[:1] and icmp[0] in _QUOTING else None
    if version == 6 and len(packet) > 40 and packet[6] == _ICMPV6:
        icmp = packet[40:]
        return _source(icmp[8:]) if icmp[0] in _QUOTING_V6 else None
    return None


def _source(quoted: bytes) -> bytes | None:
    if len(quoted) >= 16 and quoted[0] >> 4 == 4:
        return quoted[12:16]
    if len(quoted) >= 24 and quoted[0] >> 4 == 6:
        return quoted[8:24]
    return None
