"""Who is on the other side, for the limits alone: an address becomes a keyed digest here, and ends here."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence

from ooni_pipeline.collector.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_FORWARDED = b"x-forwarded-for"
#: A proxy adds one address. Whoever sends a longer header adds to it himself.
_LONGEST_FORWARDED = 4096
_V6_NETWORK = 8


class Peers:
    """Keys for addresses, of no use to anybody who does not know ``salt``: a random one for each process."""

    def __init__(self, proxies: Sequence[Network], salt: bytes) -> None:
        self._proxies = proxies
        self._salt = salt

    def key(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """Whom the limits of an address count for a request from ``peer``: a keyed digest of the address, of
        the /64 where it is IPv6. None for whoever shares the limits of all: a peer of this machine, or a
        proxy, that does not say for whom it asks.

        What a proxy says of its own peer is believed, so of X-Forwarded-For the rightmost address that is
        none of a proxy; what stands left of it anybody may have written.
        """
        if peer is None:
            return None
        is_proxy, key = self._judge(_address(peer))
        if not is_proxy:
            return key
        for hop in reversed(_forwarded(headers)):
            is_proxy, key = self._judge(_address(hop))
            if not is_proxy:
                return key
        return None

    def _judge(self, address: Address | None) -> tuple[bool, bytes | None]:
        """Whether it is that of a proxy; and its key, None for one of this machine, or none at all."""
        if address is None:
            return False, None
        if any(address in network for network in self._proxies):
            return True, None
        if address.is_loopback:
            return False, None
        packed = address.packed if address.version == 4 else address.packed[:_V6_NETWORK]
        return False, hmac.digest(self._salt, packed, "sha256")[:16]


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    lines = [value for name, value in headers if name == _FORWARDED]
    if not lines:
        return []
    whole = b",".join(lines)[-_LONGEST_FORWARDED:]
    return [hop.strip() for hop in whole.decode("latin-1").split(",")]


def _address(text: str) -> Address | None:
    """An address, with or without a port; an IPv4 one in IPv6 clothes is the IPv4 one."""
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
