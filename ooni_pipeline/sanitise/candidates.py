"""What looks like an address or a fingerprint, in clear or coded; and whether it is one of a set.

Every candidate is a whole run of the characters that such a thing may consist of, so that hostile text costs
no more than its length, and so that a part of a longer number is not taken for an address.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from ooni_pipeline.sanitise.spellings import IN_BASE64, PERCENT_ENCODED, SHORTEST_ENCODED

_IPV4 = rb"[0-9]+(?:\.[0-9]+){3,}"
_IPV6 = rb"[0-9a-f:]*::[0-9a-f:.]*|(?:[0-9a-f]{1,4}:){6}[0-9a-f:.]+"
_FINGERPRINT = rb"[0-9a-f]{40,}"
_IN_FOURS = rb"[0-9a-f]{4}(?:[ +][0-9a-f]{4}){9,}"
#: What may be a secret, coded: for re2, as :meth:`Known.expressions`.
CODED = (IN_BASE64, PERCENT_ENCODED)

_CLEAR = re.compile(
    b"(?P<v6>%b)|(?P<fours>%b)|(?P<fingerprint>%b)|(?P<v4>%b)" % (_IPV6, _IN_FOURS, _FINGERPRINT, _IPV4),
    re.IGNORECASE,
)
_BASE64 = re.compile(IN_BASE64.replace(b"(?-i:", b"(?:"))
_ENCODED = re.compile(PERCENT_ENCODED, re.IGNORECASE)
_LETTERS = re.compile(rb"[A-Za-z0-9+/_-]*")
_LETTERS_BEFORE = re.compile(rb"[A-Za-z0-9+/_-]*\Z")
_CHARACTER = re.compile(rb"(?:%(?:25)*|\\+u00)([0-9A-Fa-f]{2})|.", re.DOTALL)
_NUMBER = re.compile(rb"[0-9]+")
_FOUR = re.compile(rb"[0-9A-Fa-f]{4}")
_GROUP = re.compile(rb"[0-9A-Fa-f]+(?:\.[0-9]+)*")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
#: Around base64 another letter may belong to it: two groups on each side.
_AROUND = 8
#: A run of clear text that begins in a candidate is looked at so far beyond its end.
_BEYOND = 64

#: So much of a candidate is decoded at once, and so much of that again with what follows: what the longest
#: secret takes of which every character is encoded, twice.
_PART, _LONGEST = 1024, 320

Span = tuple[int, int]


class Found(NamedTuple):
    """Where a secret stands; ``coded`` when it is written in base64 or percent-encoded."""

    start: int
    end: int
    coded: bool


class Known(NamedTuple):
    """What is looked for: addresses as bytes, the ends of those of IPv6, fingerprints in lower case."""

    addresses: frozenset[bytes]
    ends: frozenset[tuple[bytes, bytes]]
    fingerprints: frozenset[bytes]

    def expressions(self) -> tuple[bytes, ...]:
        """Regular expressions for candidates in clear, in any case: what looks like an address of IPv6 or a
        fingerprint, which is rare; and the addresses of IPv4 themselves, for others stand everywhere."""
        if not any(self):
            return ()
        four = [one for one in self.addresses if len(one) == 4]
        return (_IPV6, _IN_FOURS, _FINGERPRINT, *([_any_of(four)] if four else []))

    @classmethod
    def of(cls, addresses: Collection[str], fingerprints: Collection[str]) -> Known:
        packed = frozenset(ipaddress.ip_address(address).packed for address in addresses)
        ends = frozenset((one[:2], one[-2:]) for one in packed if len(one) == 16)
        return cls(packed, ends, frozenset(one.lower().encode() for one in fingerprints))


def _any_of(addresses: Collection[bytes]) -> bytes:
    """An expression for these addresses of IPv4, number by number, so that it stays small."""
    tree: dict[int, dict[int, dict[int, set[int]]]] = {}
    for first, second, third, fourth in addresses:
        tree.setdefault(first, {}).setdefault(second, {}).setdefault(third, set()).add(fourth)

    def either(parts: Iterable[str]) -> str:
        return "(?:" + "|".join(parts) + ")"

    return either(
        rf"{one}\."
        + either(
            rf"{two}\."
            + either(rf"{three}\." + either(map(str, sorted(fourths))) for three, fourths in thirds.items())
            for two, thirds in seconds.items()
        )
        for one, seconds in sorted(tree.items())
    ).encode()


def kind_of(text: bytes) -> str | None:
    """Which kind of candidate something is that a larger pattern found; None for something else of it."""
    if b'"' in text:
        return None
    if b"%" in text or b"\\" in text:
        return "encoded" if _ENCODED.fullmatch(text) else None
    if clear := _CLEAR.fullmatch(text):
        return clear.lastgroup
    return "base64" if _BASE64.fullmatch(text) else None


def known_in(line: bytes, start: int, end: int, known: Known) -> Found | None:
    """The first known one in clear that begins in this part of a line."""
    last = 0
    for run in _CLEAR.finditer(line, start, min(len(line), end + _BEYOND)):
        if run.start() >= end:
            return None
        if found := known_at(line, run.start(), run.end(), str(run.lastgroup), known, last):
            return found
        last = run.end()
    return None


def known_at(line: bytes, start: int, end: int, kind: str, known: Known, last: int = 0) -> Found | None:
    """The first known one in a run of this kind, in clear. (Of IPv4 a part of a run will do.) What stands
    before ``last`` is something else."""
    if kind == "v4":
        start, end = _whole(line, start, end)
        start = max(start, last)
    for first in _beginnings(line, start, end):
        text = line[first:end]
        if kind == "v4":
            found = _ipv4(text, known)
        elif kind == "v6":
            found = _ipv6(text, known, cut=first == start > max(last, 0) and line[first - 1] in _HEX)
        else:
            found = _fingerprint(text, known) if kind == "fingerprint" else _in_fours(text, known)
        if found:
            return Found(first + found[0], first + found[1], False)
    if kind in ("v4", "v6") and ((end < len(line) and line[end] in _HEX) or end - start > 40):
        return _fingerprint_behind(line, start, end, known)
    return None


def _whole(line: bytes, start: int, end: int) -> Span:
    """The run of numbers and dots around a part of it; of a long one no more than what matters."""
    before = _NUMBERS_BEFORE.search(line[max(0, start - _AROUND) : start])
    behind = _NUMBERS.match(line[end : end + _AROUND])
    return start - len(before[0] if before else b""), end + len(behind[0] if behind else b"")


_NUMBERS, _NUMBERS_BEFORE = re.compile(rb"[0-9.]*"), re.compile(rb"[0-9.]*\Z")


def _fingerprint_behind(line: bytes, start: int, end: int, known: Known) -> Found | None:
    """A fingerprint whose first digits look like part of an address."""
    for run in _RUN.finditer(line, start, min(len(line), end + _BEYOND)):
        if run.start() >= end:
            return None
        if found := _fingerprint(run.group(), known):
            return Found(run.start() + found[0], run.start() + found[1], False)
    return None


_RUN = re.compile(_FINGERPRINT, re.IGNORECASE)
_HEX = b"0123456789abcdefABCDEF"


def _beginnings(line: bytes, start: int, end: int) -> list[int]:
    """Where a run begins: behind an escape whose last digits look like its first (\\u00e9, \\b, %20)."""
    before = line[max(0, start - 5) : start]
    if b"\\" in before:
        escape = line.rfind(b"\\u", start - len(before), start)
        digits = line[escape + 2 : start]
        if escape >= 0 and not digits.strip(_HEX):  # behind another backslash it may be none
            behind = min(escape + 6, end)
            return [start, behind] if line[escape - 1 : escape] == b"\\" else [behind]
        if before[-1:] == b"\\" and line[start] in b"bf":
            return [start + 1]
    if before[-1:] == b"%" or (before[-2:-1] == b"%" and before[-1] in _HEX):
        return [start, start + (2 if before[-1:] == b"%" else 1)]
    return [start]


def _ipv4(run: bytes, known: Known) -> Span | None:
    numbers = list(_NUMBER.finditer(run))
    values = [int(one.group()) if one.end() - one.start() <= 3 else 256 for one in numbers]
    for place in range(len(values) - 3):
        four = values[place : place + 4]
        if max(four) < 256 and bytes(four) in known.addresses:
            return numbers[place].start(), numbers[place + 3].end()
    return None


def _ipv6(run: bytes, known: Known, *, cut: bool) -> Span | None:
    """Any part of a run that is an address: behind one a port may stand, before it anything with colons.

    ``cut`` when the first group is the end of something longer.
    """
    groups = list(_GROUP.finditer(run))[cut:]
    for number, first in enumerate(groups):
        value = first.group()
        if value.lower() == b"ffff" and (found := _mapped(groups[number : number + 3], known)):
            return found
        if b"." in value and (dotted := _ipv4(value, known)):
            return first.start() + dotted[0], first.start() + dotted[1]
        start = first.start()
        begin = start + value.rfind(b".") + 1  # behind a number and a dot: 1.2001:db8::1
        head = _two(value.rpartition(b".")[2])
        for tail, end in _tails(groups[number : number + 8]):
            if (head, tail) in known.ends and _packed(run[begin:end]) in known.addresses:
                return begin, end
            behind = run[end : end + 2] == b"::" and (head, b"\0\0") in known.ends
            if behind and _packed(run[begin : end + 2]) in known.addresses:
                return begin, end + 2
            before = start > 1 and run[start - 2 : start] == b"::" and (b"\0\0", tail) in known.ends
            if before and _packed(run[start - 2 : end]) in known.addresses:
                return start - 2, end
    return None


def _tails(groups: list[re.Match[bytes]]) -> Iterator[tuple[bytes, int]]:
    """How an address of these groups may end, its last two bytes and where, the longest first: with four
    numbers, or with a group, behind which a dot and a port may stand (2001:db8::1.443)."""
    for last in reversed(groups):
        numbers = last.group().split(b".")
        if len(numbers) > 3:
            four = b".".join(numbers[:4])
            yield _dotted_end(four), last.start() + len(four)
        yield _two(numbers[0]), last.start() + len(numbers[0])


def _two(group: bytes) -> bytes:
    return int(group, 16).to_bytes(2, "big") if len(group) <= 4 else b""


def _dotted_end(group: bytes) -> bytes:
    numbers = [int(number) for number in group.split(b".")[-2:] if number.isdigit() and len(number) <= 3]
    return bytes(numbers) if len(numbers) == 2 and max(numbers) < 256 else b""


def _packed(text: bytes) -> bytes:
    try:
        return ipaddress.IPv6Address(text.decode("ascii")).packed
    except ValueError:
        return b""


def _mapped(groups: list[re.Match[bytes]], known: Known) -> Span | None:
    """IPv4 as the last two groups behind ``ffff``."""
    if len(groups) == 3 and all(one.end() + 1 == two.start() for one, two in pairwise(groups)):
        packed = _two(groups[1].group()) + _two(groups[2].group().partition(b".")[0])
        if packed in known.addresses:
            return groups[0].start(), groups[2].end()
    return None


def _fingerprint(run: bytes, known: Known) -> Span | None:
    for first, last in _parts(0, len(run)):  # else each of many in a long run would cost the whole of it
        digits = run[first:last].lower()
        for place in range(len(digits) - 39):
            if digits[place : place + 40] in known.fingerprints:
                return first + place, first + place + 40
    return None


def _in_fours(run: bytes, known: Known) -> Span | None:
    fours = list(_FOUR.finditer(run))
    for place in range(len(fours) - 9):
        ten = fours[place : place + 10]
        if b"".join(one.group() for one in ten).lower() in known.fingerprints:
            return ten[0].start(), ten[9].end()
    return None


class Decoded(NamedTuple):
    """What a part of a candidate is decoded. ``where`` tells a place in it as one in the line, whole
    characters; ``is_cut`` when the candidate goes on behind it."""

    text: bytes
    where: Callable[[int, int], Span]
    is_cut: bool


def decodings(line: bytes, start: int, end: int, kind: str) -> Iterator[Decoded]:
    """What a candidate is decoded, part by part, so that each of many secrets in it costs no more."""
    if kind == "base64":
        for first, last in _parts(start, end):
            yield from _of_base64(line, first, last, last < end)
    elif kind == "encoded" and end - start >= SHORTEST_ENCODED:
        for begin in _beginnings(line, start, end):
            for first, last in _parts(begin, end):
                yield _of_encoded(line, first, last, last < end)


def _parts(start: int, end: int) -> Iterator[Span]:
    """Parts of a candidate: each begins so much before the end of another that a secret fits into it."""
    while end - start > _PART:
        yield start, start + _PART
        start += _PART - _LONGEST
    yield start, end


def _of_base64(line: bytes, start: int, end: int, is_cut: bool) -> Iterator[Decoded]:
    before = _LETTERS_BEFORE.search(line[max(0, start - _AROUND) : start])
    behind = _LETTERS.match(line[end : end + _AROUND])
    begin = start - len(before.group() if before else b"")
    window = line[begin : end + len(behind.group() if behind else b"")].translate(_FROM_URL)
    for offset in range(4):
        letters = window[offset:]
        letters = letters[: len(letters) - (len(letters) % 4 == 1)]
        decoded = base64.b64decode(letters + b"=" * (-len(letters) % 4))

        def where(first: int, last: int, at: int = begin + offset) -> Span:
            return at + first * 4 // 3, at + -(-last * 4 // 3)

        yield Decoded(decoded, where, is_cut)


def _of_encoded(line: bytes, start: int, end: int, is_cut: bool) -> Decoded:
    characters = list(_CHARACTER.finditer(line, start, end))
    decoded = b"".join(bytes.fromhex(one[1].decode("ascii")) if one[1] else one.group() for one in characters)

    def where(first: int, last: int) -> Span:
        return characters[first].start(), characters[last - 1].end()

    return Decoded(decoded, where, is_cut)
