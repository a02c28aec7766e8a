"""Which addresses a report itself reveals as the volunteer's own, worked out from its private entries."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.leaks.addresses import is_somebodys, parsed, stated
from tests.leaks.headers import echo_in, listed_values, plain_key
from tests.leaks.packets import quoted_source

#: Nettests whose counterpart is our own helper, which echoes what reaches it.
ECHOING = frozenset({"http_host", "http_header_field_manipulation"})
_GUESSED = re.compile(
    r"guess(?:ed)? our IP(?:v[46])? address (?:as|to be) \[?([0-9A-Fa-f:.]+)", re.IGNORECASE
)
#: scapy's long form, and its short one, which names the receiver of the error alone.
_IP_ERROR = re.compile(r"<IPv?6?error\s[^<>|]*?\bsrc=([0-9A-Fa-f:.]+)")
_SHORT_ERROR = re.compile(r"\bICMP(?:v6)? [0-9A-Fa-f:.]+ > ([0-9A-Fa-f:.]+) .*\bIP(?:v?6)?error\b", re.DOTALL)
_LOGS = re.compile(r"logs?\Z|stdout\Z|stderr\Z")

Path = tuple[str | int, ...]


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value in an entry with its path, the entry first."""
    waiting = [(path, value)]
    for at, one in waiting:
        yield at, one
        if isinstance(one, dict):
            waiting += [((*at, key), below) for key, below in one.items()]
        elif isinstance(one, list):
            waiting += [((*at, number), below) for number, below in enumerate(one)]


def own_addresses(entry: dict[str, Any]) -> set[bytes]:
    """The packed addresses; none that names nobody (loopback, unspecified, broadcast, multicast)."""
    echoes = entry.get("test_name") in ECHOING
    return {
        packed
        for path, value in walk(entry)
        for packed in _revealed(path, value, echoes)
        if is_somebodys(packed)
    }


def addresses_in(value: Any) -> Iterator[bytes]:
    """Every address in every string of a value."""
    for _, one in walk(value):
        if isinstance(one, str):
            yield from stated(one)


def named_by_headers(entry: dict[str, Any]) -> Iterator[tuple[Path, set[bytes]]]:
    """Messages (their path) with the addresses that listed headers of theirs name."""
    for path, value in walk(entry):
        if isinstance(value, dict):
            named = {packed for listed in listed_values(value) for packed in addresses_in(listed)}
            if found := {packed for packed in named if is_somebodys(packed)}:
                yield path, found


def packet_bytes(value: Any) -> bytes | None:
    """The bytes of a ``raw_packet``."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        return None
    try:
        return base64.b64decode(value["data"])
    except (ValueError, binascii.Error):
        return None


def _revealed(path: Path, value: Any, echoes: bool) -> Iterator[bytes]:
    key = plain_key(path[-1]) if path and isinstance(path[-1], str) else ""
    if key == "probe_ip" or (key in ("real_address", "internal_address") and "receiver_data" in path):
        yield from addresses_in(value)
    elif key == "RemAddress":
        yield from _remote(value)
    elif key == "Client" and len(path) > 1 and path[-2] == "ConnectionInfo":
        yield from addresses_in(value)
    elif key == "raw_packet" and (packet := packet_bytes(value)) and (source := quoted_source(packet)):
        yield source
    elif key == "body" and echoes and (echo := echo_in(value)) is not None:
        for listed in listed_values(echo):
            yield from addresses_in(listed)
    if isinstance(value, str):
        names = [name for name in path if isinstance(name, str)]
        patterns = [_IP_ERROR, _SHORT_ERROR] if key == "summary" else []
        patterns += [_GUESSED] if any(_LOGS.search(name) for name in names) else []
        for pattern in patterns:
            for match in pattern.finditer(value):
                if packed := parsed(match[1].rstrip(".")):
                    yield packed


def _remote(value: Any) -> Iterator[bytes]:
    """web100's address of the client: in hexadecimal digits of either byte order, an integer, or as text.

    Its C type has 16 bytes, of which an IPv4 address fills the first four, and at times one more that says
    which of the two it is.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 2**24 <= value < 2**32:
        yield value.to_bytes(4, "big")
        yield value.to_bytes(4, "little")
    elif isinstance(value, str):
        digits = re.fullmatch(r"(?:0[xX])?([0-9A-Fa-f]{8}|[0-9A-Fa-f]{32}|[0-9A-Fa-f]{34})", value.strip())
        if digits is None:
            yield from addresses_in(value)
            return
        raw = bytes.fromhex(digits[1])[:16]
        if len(raw) == 16 and not any(raw[4:]):
            raw = raw[:4]
        yield raw
        yield raw[::-1]
    else:
        yield from addresses_in(value)


def read_report(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The entries of JSON lines; what is none is passed over."""
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry
