"""Addresses in text that is no list of addresses: logs, header values, summaries of packets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

V4 = r"(?<![0-9])(?<![0-9]\.)(?P<v4>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?:/[0-9]{1,2})?(?::[0-9]{1,5})?(?![0-9])"
V6 = (
    r"\[?(?P<v6>(?:(?<![0-9A-Fa-f:])[0-9A-Fa-f]{1,4}|(?<![0-9A-Za-z:])):[0-9A-Fa-f:.]{1,41})"
    r"(?:%\w{1,15})?(?:\](?::[0-9]{1,5})?)?"
)
_V4 = re.compile(V4)
_ANY = re.compile(f"{V4}|{V6}")


def addresses_in(text: str) -> Iterator[str]:
    """Every address of some host in a text, canonical (a mapped one as IPv4), as often as it stands there.

    A port, a zone, a mask or brackets around it do not matter. Addresses of no host are left out:
    see :func:`is_of_a_host`.
    """
    for match in _ANY.finditer(text):
        if match["v6"]:
            length = length_of_v6(match["v6"])
            if length:
                ip = ipaddress.IPv6Address(match["v6"][:length])
                address = str(ip.ipv4_mapped or ip)
                if is_of_a_host(address):
                    yield address
            else:  # 443:192.0.2.1
                yield from (address for v4 in _V4.finditer(match[0]) if (address := _v4(v4["v4"])))
        elif address := _v4(match["v4"]):
            yield address


def is_of_a_host(address: str) -> bool:
    """Whether an address names one machine: not this one (127.0.0.1, ::), nor many at once."""
    ip = ipaddress.ip_address(address)
    no_host = ip.is_loopback or ip.is_unspecified or ip.is_multicast
    return not no_host and not (ip.version == 4 and (ip.packed[0] == 0 or ip.packed == b"\xff" * 4))


def is_v4(text: str) -> bool:
    """Whether four numbers are an address, leading zeros or not; a version of tor (0.2.4.20) is none."""
    numbers = [int(number) for number in text.split(".")]
    return max(numbers) <= 255 and numbers[0] > 0


def length_of_v6(text: str) -> int:
    """How much of a text is an address, the rest being punctuation of the sentence; 0 when it is none."""
    for candidate in (text, text.rstrip("."), text.rstrip(".:")):
        try:
            return 0 if ipaddress.IPv6Address(candidate).is_unspecified else len(candidate)
        except ValueError:
            continue
    return 0


def _v4(text: str) -> str:
    if not is_v4(text):
        return ""
    address = ".".join(str(int(number)) for number in text.split("."))
    return address if is_of_a_host(address) else ""
