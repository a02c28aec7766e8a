"""Recognising addresses in text: every word that may be one is parsed, and its packed bytes are the answer.

No list of secrets is compiled into a pattern, so the time does not depend on how many there are, and no
spelling of one of them is forgotten because nobody wrote it down: what parses as the address is it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator

#: An address as packed bytes (4 or 16; an IPv4-mapped one has 4), and the name of its spelling.
Found = tuple[bytes, str]

#: Three numbers behind the first separator: what begins with a character is found faster than what begins
#: with any digit. The first number is looked for before it.
_THREE = {
    separator: re.compile(rf"\{separator}(?=((?:[0-9]{{1,3}}\{separator}){{2}}[0-9]{{1,3}})(?![0-9]))")
    for separator in (".", "-")
}
_FIRST = re.compile(r"(?:\A|[^0-9])([0-9]{1,3})\Z")
_GROUPS = re.compile(r"(?<![0-9A-Fa-f:.])[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
_DASHED_GROUPS = re.compile(r"(?<![0-9A-Fa-f-])[0-9A-Fa-f]*-[0-9A-Fa-f]*-[0-9A-Fa-f-]*")
_INTEGER = re.compile(r"(?<![0-9.])[0-9]{8,39}(?!\.?[0-9])")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{32})(?![0-9A-Fa-f])")
_NIBBLES = re.compile(r"(?<![0-9A-Fa-f])(?=((?:[0-9A-Fa-f]\.){31}[0-9A-Fa-f])(?![0-9A-Fa-f]))")
#: Groups that one address may have with an empty one for ``::`` at either end.
_MOST_GROUPS = 10
_HOST_BEFORE = re.compile(r"[A-Za-z][.-]?\Z")
_HOST_BEHIND = re.compile(r"[.-]?[A-Za-z]")


def plain(text: str) -> Iterator[Found]:
    """Addresses as people write them: four decimal numbers, or groups with colons in any of their forms.

    An address ends where no digit of its kind goes on: 192.0.2.1 is not in 192.0.2.10 or 1192.0.2.1.
    """
    for _, _, packed, padded in _quads(text, "."):
        if not padded:
            yield packed, "IPv4"
    for match in _GROUPS.finditer(text):
        yield from _in_groups(match[0])


def wide(text: str) -> Iterator[Found]:
    """What :func:`plain` finds, and what machines and names of hosts make of an address: an integer and
    hexadecimal digits in both byte orders, dashes, leading zeros, reversed numbers and nibbles."""
    yield from plain(text)
    for separator, spelling in ((".", "with leading zeros"), ("-", "dashed")):
        for start, end, packed, padded in _quads(text, separator):
            if padded or separator == "-":
                yield packed, spelling
            if _HOST_BEFORE.search(text[max(0, start - 2) : start]) or _HOST_BEHIND.match(text, end):
                yield packed[::-1], "reversed in the name of a host"
    for match in _DASHED_GROUPS.finditer(text):
        if "--" in match[0] or match[0].count("-") >= 7:
            for packed, _ in _in_groups(match[0].replace("-", ":")):
                yield packed, "dashed"
    for match in _INTEGER.finditer(text):
        value = int(match[0])
        size = 4 if value < 2**32 else 16
        if 2**24 <= value < 2 ** (8 * size):
            yield value.to_bytes(size, "big"), "integer"
            yield value.to_bytes(size, "little"), "integer, bytes reversed"
    for match in _HEX.finditer(text):
        packed = bytes.fromhex(match[0])
        yield packed, "hexadecimal"
        yield packed[::-1], "hexadecimal, bytes reversed"
    for match in _NIBBLES.finditer(text):
        yield bytes.fromhex(match[1].replace(".", "")[::-1]), "nibbles reversed, as in ip6.arpa"


def stated(text: str) -> Iterator[bytes]:
    """The addresses that a text names, each as a whole: of 2001:db8::7 the part db8::7 is none."""
    for _, _, packed, padded in _quads(text, "."):
        if not padded:
            yield packed
    for match in _GROUPS.finditer(text):
        run = match[0].strip(".")
        for candidate in (run, run.rstrip(":"), run.rpartition(":")[0]):  # the last may be a port
            if (address := parsed(candidate)) is not None:
                yield address
                break


def parsed(text: str) -> bytes | None:
    """The packed bytes of one address, which the whole text is; a zone behind it is none of its business."""
    try:
        address = ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    return _packed(address)


def is_somebodys(packed: bytes) -> bool:
    """Whether an address may be a volunteer's: no loopback, unspecified, broadcast or multicast one."""
    address = ipaddress.ip_address(packed)
    return not (
        address.is_loopback
        or address.is_unspecified
        or address.is_multicast
        or packed in (b"\xff" * 4, b"\xff" * 16)
    )


def _packed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).packed


def _quads(text: str, separator: str) -> Iterator[tuple[int, int, bytes, bool]]:
    """Four numbers below 256: where they begin and end, their bytes, and whether one has leading zeros."""
    for match in _THREE[separator].finditer(text):
        begin = match.start()
        if first := _FIRST.search(text[max(0, begin - 4) : begin]):
            parts = [first[1], *match[1].split(separator)]
            numbers = [int(part) for part in parts]
            if max(numbers) < 256:
                padded = any(len(part) > 1 and part[0] == "0" for part in parts)
                yield begin - len(first[1]), match.end(1), bytes(numbers), padded


@functools.lru_cache(maxsize=8192)
def _in_groups(run: str) -> tuple[Found, ...]:
    """Every address that stands in a run of groups: a port may stand before or behind it."""
    if "::" not in run and run.count(":") < 6:
        return ()  # a time of day, mostly
    found = []
    groups = run.split(":")
    for start in range(len(groups)):
        for end in range(start + 2, min(start + _MOST_GROUPS, len(groups)) + 1):
            part = groups[start:end]
            empty = part.count("")
            if empty > 3 or (len(part) < 7 and not empty):
                continue
            if "." in part[-1] and part[-1].count(".") != 3:
                part = [*part[:-1], part[-1].split(".")[0]]  # the full stop of a sentence
            text = ":".join(part).rstrip(".")
            if any("." in group for group in part[:-1]):
                continue
            try:
                address = ipaddress.IPv6Address(text)
            except ValueError:
                continue
            found.append((_packed(address), "IPv4 in IPv6" if address.ipv4_mapped else "IPv6"))
    return tuple(found)
