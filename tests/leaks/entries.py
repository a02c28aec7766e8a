"""What a published entry must not show in places that a search through text cannot judge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.leaks.addresses import parsed
from tests.leaks.headers import echo_in, is_scrubbed, listed_values, plain_key
from tests.leaks.own import Path, packet_bytes, walk
from tests.leaks.sought import Hit, Sought

#: Keys under which a resolver's address stands, which is often the volunteer's own router.
RESOLVERS = frozenset(
    {
        *("resolver_ip", "client_resolver", "resolver", "dns_resolver"),
        *("resolver_address", "resolver_hostname"),
    }
)


def hits_in_entry(entry: dict[str, Any], own: set[bytes], named: dict[Path, set[bytes]]) -> Iterator[Hit]:
    """Listed headers that still say something, own addresses as bytes of packets, resolvers beside an own
    address, and what a message's listed header named in that message's body.

    ``named`` are the addresses that such headers of the private entry name, by path of the message.
    """
    for path, value in walk(entry):
        if isinstance(value, dict):
            yield from _headers(value)
            if path in named:
                yield from _body(value.get("body"), named[path])
        if not path or not isinstance(path[-1], str):
            continue
        key = plain_key(path[-1])
        if key == "raw_packet" and own and (packet := packet_bytes(value)):
            yield from (Hit("own address", "bytes of a packet", one.hex()) for one in own if one in packet)
        elif key in RESOLVERS and isinstance(value, str):
            resolver = parsed(value)
            if resolver and any(_are_neighbours(resolver, one) for one in own):
                yield Hit("own network", "resolver in the same /24 or /48", resolver.hex())


def _headers(holder: dict[str, Any]) -> Iterator[Hit]:
    for value in listed_values(holder):
        if not is_scrubbed(value):
            yield Hit("listed header", "value of a header", json.dumps(value))
    if (echo := echo_in(holder.get("body"))) is not None:
        for _, below in walk(echo):
            if isinstance(below, dict):
                for value in listed_values(below):
                    if not is_scrubbed(value):
                        yield Hit("listed header", "value of a header in an echo", json.dumps(value))


def _body(body: Any, named: set[bytes]) -> Iterator[Hit]:
    if body:
        for hit in Sought().hits(json.dumps(body), named):
            yield Hit("address that a header of the message names", hit.spelling, hit.secret)


def _are_neighbours(one: bytes, other: bytes) -> bool:
    """Whether two addresses are in one /24, or one /48."""
    size = 3 if len(one) == 4 else 6
    return len(one) == len(other) and one[:size] == other[:size]
