"""The volunteer's own addresses: which ones a report reveals, and the keys that hold nothing else.

An address counts as the volunteer's own for the whole report where the probe itself, or a server of ours
that it talked to, says so: ``probe_ip``, the clients' addresses of dash and ndt, the source that an ICMP
error quotes, tor's guess in its log, the headers that our test helpers echo. (What a third party's header
names counts for that header and its body alone, see :mod:`.headers`: else a censor could have evidence
erased by naming its address there.)
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ooni_pipeline.report.nettests import canonical_test_name
from ooni_pipeline.sanitise import headers, packets
from ooni_pipeline.sanitise.addresses import addresses_in, is_of_a_host
from ooni_pipeline.sanitise.cuts import SCRUBBED, Cuts
from ooni_pipeline.sanitise.probe_ip import OTHER_THAN_WITHHELD, WITHHELD
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import mappings_in, plain_key, strings_in, texts_in

#: Keys (in lower case) that hold an address of the volunteer: of dash, ndt, ndt7 and of test helpers.
KEYS = frozenset(
    {
        *("real_address", "internal_address", "remaddress"),
        *("client_ip", "clientip", "client_address", "client_addr", "clientaddress"),
    }
)
#: ndt7: ``{"ConnectionInfo": {"Client": "192.0.2.1:5000", …}}``.
_CONNECTION, _CLIENT = "connectioninfo", "client"
_HEXADECIMAL = re.compile(r"\s*(?:0x)?([0-9A-Fa-f]{8})\s*\Z")
#: How the keys of logs end.
_LOGS = ("log", "logs", "stdout", "stderr")
_GUESSED = re.compile(r"[Gg]uessed our IP address as ([^\s,;]+)")
#: Keys that hold the address of a resolver.
RESOLVERS = frozenset(
    {"client_resolver", "resolver_ip", "resolver_hostname", "resolver_address", "resolver", "dns_resolver"}
)
#: Resolvers in the same network of this many bits are as good as the volunteer's address.
_NEAR = {4: 24, 6: 48}

_FIELDS = rf'(?:{"|".join(sorted(KEYS))}|"{_CLIENT})":{OTHER_THAN_WITHHELD}'


def lines(settings: Settings) -> bytes:
    """A regular expression for the lines of which :func:`withhold` may change something."""
    return _FIELDS.encode()


def revealing_lines(settings: Settings) -> bytes:
    """A regular expression for the lines that may reveal an address, apart from those with a probe_ip."""
    return "|".join(
        [
            _FIELDS,
            r'"raw_packet":|IP(?:v6)?error|guessed our IP|_logs?":\[?\{',
            headers.HELPER_LINES,
        ]
    ).encode()


def reveal(entry: dict[str, Any], settings: Settings) -> set[str]:
    """The volunteer's own addresses that an entry reveals, canonical, IPv4 or IPv6 without port."""
    found: set[str] = set()
    for mapping in _written_by_the_probe(entry):
        for key, value in mapping.items():
            name = plain_key(key).lower()
            if name == "probe_ip" or name in KEYS:
                found.update(_named(value))
            elif name == _CONNECTION and isinstance(value, dict):
                found.update(*(_named(one) for part, one in value.items() if part.lower() == _CLIENT))
            elif name in packets.DIRECTIONS:
                found.update(packets.own_addresses(name, value))
            elif name.endswith(_LOGS):
                found.update(*map(_guessed, texts_in(value)))
    if canonical_test_name(entry.get("test_name")) in headers.OUR_HELPERS:
        found |= headers.echoed_addresses(entry, settings.headers)
    return found


def withhold(entry: dict[str, Any], cuts: Cuts) -> None:
    """Put the marker in the place of what these keys hold, whatever it is."""
    for mapping in _written_by_the_probe(entry):
        for key, value in mapping.items():
            name = plain_key(key).lower()
            if name in KEYS and value not in (None, "", WITHHELD, SCRUBBED):
                mapping[key] = SCRUBBED
                cuts.count("client_address")
            elif name == _CONNECTION and isinstance(value, dict):
                for part in value:
                    if part.lower() == _CLIENT and value[part] not in (None, "", SCRUBBED):
                        value[part] = SCRUBBED
                        cuts.count("client_address")


def near_lines(own: Iterable[str]) -> bytes:
    """A regular expression for the lines that may name a resolver near one of these addresses."""
    texts = set()
    for address in own:
        ip = ipaddress.ip_address(address)
        texts.add(":" if ip.version == 6 else re.escape(address[: address.rindex(".") + 1]))
    keys = "|".join(sorted(RESOLVERS))
    return rf'"(?:{keys})":(?:[{{\[]|"[^"]*(?:{"|".join(sorted(texts))}))'.encode()


def near_resolvers(entry: dict[str, Any], own: Iterable[str]) -> set[str]:
    """The addresses of resolvers in an entry that are in a volunteer's own network (/24 or /48)."""
    bits = {one: _NEAR[ipaddress.ip_address(one).version] for one in own}
    networks = [ipaddress.ip_network(f"{one}/{length}", strict=False) for one, length in bits.items()]
    resolvers: set[str] = set()
    for mapping in mappings_in(entry):
        for key, value in mapping.items():
            if plain_key(key).lower() in RESOLVERS:
                resolvers.update(one for text in strings_in(value) for one in addresses_in(text))
    return {one for one in resolvers if any(ipaddress.ip_address(one) in network for network in networks)}


def _written_by_the_probe(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The mappings of an entry, but for those of headers: their keys are what a server chose."""
    return mappings_in(entry, without=headers.KEYS)


def _named(value: Any) -> Iterator[str]:
    """The addresses in a value that is the volunteer's, also as a number or in hexadecimal.

    Of those nobody knows the order of the bytes: both are his.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 << 24 <= value < 1 << 32:
        yield from _both_orders(value.to_bytes(4, "big"))
    for text in strings_in(value):
        yield from addresses_in(text)
        if match := _HEXADECIMAL.match(text):
            yield from _both_orders(bytes.fromhex(match[1]))
        elif text.isascii() and text.isdigit() and len(text) <= 10:
            yield from _named(int(text))


def _both_orders(packed: bytes) -> Iterator[str]:
    for one in (packed, packed[::-1]):
        address = str(ipaddress.IPv4Address(one))
        if is_of_a_host(address):
            yield address


def _guessed(text: str) -> Iterator[str]:
    for match in _GUESSED.finditer(text):
        yield from addresses_in(match[1])
