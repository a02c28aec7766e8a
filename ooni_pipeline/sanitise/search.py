"""Finding many secrets at once in serialised entries, at the speed of a scan. The home of re2.

It works on JSON in plain ASCII, as entries are written. An address or a fingerprint consists of
characters that this form never escapes, so what stands in a string, a key or a log stands in the line.
What is looked for is in :mod:`.spellings`.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import re2

from ooni_pipeline.sanitise.spellings import (
    HOST_NAME_GOES_ON,
    IN_BASE64,
    PERCENT_ENCODED,
    address_expression,
    fingerprint_expression,
    own_address_expression,
    own_numbers,
)

_HEX = b"0123456789abcdefABCDEF"
_DIGITS = b"0123456789"
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]*")
_BASE64_BEFORE = re.compile(rb"[A-Za-z0-9+/_-]*\Z")
_IN_BASE64 = re.compile(IN_BASE64.replace(b"(?-i:", b"(?:"))
_PERCENT_ENCODED = re.compile(PERCENT_ENCODED, re.IGNORECASE)
_ENCODED = re.compile(rb"[0-9A-Fa-f.:%+ u\\]*")
_ENCODED_BEFORE = re.compile(rb"[0-9A-Fa-f.:%+ u\\]*\Z")
_CHARACTER = re.compile(rb"(?:%(?:25)*|\\+u00)([0-9A-Fa-f]{2})|.", re.DOTALL)
_REVERSED = re.compile(rf"[0-9]+(?:[.-][0-9]+){{3}}{HOST_NAME_GOES_ON}\Z".encode(), re.IGNORECASE)
#: So far around a candidate another character may belong to it: two groups of base64 on each side; a whole
#: fingerprint of which every character is percent-encoded, twice.
_AROUND, _FAR_AROUND = 8, 256

Search = Callable[[bytes, int], tuple[int, int] | None]


def pattern(alternatives: Iterable[bytes]) -> Search:
    """A search for the first of many regular expressions, in any case: ``search(data, start)`` gives
    where it begins and ends (the longest that begins there), or None."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    options.longest_match = True
    options.max_mem = 256 * 1024 * 1024  # else a large table falls back to a slow machine
    options.log_errors = False
    compiled = re2.compile(b"|".join(alternatives), options)

    def search(data: bytes, start: int) -> tuple[int, int] | None:
        match = compiled.search(data, start)
        return match.span() if match else None

    return search


class Found(NamedTuple):
    """Where a secret stands; ``coded`` when it is written in base64 or percent-encoded."""

    start: int
    end: int
    coded: bool


class Secrets:
    """Addresses (without port) and fingerprints, to be found and cut out wherever they stand.

    ``own`` when the addresses are the volunteer's own: then they are looked for in more spellings, also
    as ``numbers``, and as the bytes ``packed`` of a packet.
    """

    def __init__(
        self, addresses: Iterable[str], fingerprints: Iterable[str] = (), *, own: bool = False
    ) -> None:
        addresses = sorted(addresses)
        expressions = [(own_address_expression if own else address_expression)(one) for one in addresses]
        expressions += [fingerprint_expression(fingerprint) for fingerprint in fingerprints]
        self.plain = sorted(expressions)
        """The secrets as regular expressions, for a larger pattern."""
        self.alternatives = [*self.plain, IN_BASE64, PERCENT_ENCODED] if expressions else []
        """The same, and what may be one of them, coded."""
        self.numbers = frozenset().union(*map(own_numbers, addresses)) if own else frozenset[int]()
        self.packed = [ipaddress.ip_address(one).packed for one in addresses] if own else []

    @functools.cached_property
    def _search(self) -> Search:
        return pattern(self.alternatives)

    @functools.cached_property
    def _search_plain(self) -> Search:
        return pattern(self.plain)

    def stand_in(self, line: bytes) -> bool:
        """Whether any secret stands in a line."""
        return next(self.find(line), None) is not None

    def find(self, line: bytes) -> Iterator[Found]:
        """Where secrets stand in a line, in order, not overlapping."""
        last = -1
        place = self._search(line, 0) if self.alternatives else None
        while place:
            found = self._verified(line, *place, is_first=place[0] != last)
            if found:
                yield found
                last = following = found.end
            else:
                following = place[0] + 1
            place = self._search(line, following)

    def cut(self, line: bytes, marker: bytes) -> tuple[bytes, int]:
        """The line with every secret replaced by the marker, and how many there were."""
        pieces, last, count = [], 0, 0
        for start, end, _ in self.find(line):
            pieces += [line[last:start], marker]
            last, count = end, count + 1
        return b"".join([*pieces, line[last:]]) if count else line, count

    def coded_at(self, line: bytes, start: int, end: int) -> Found | None:
        """The secret that is written in base64 or percent-encoded here, if it is one; where it stands."""
        if _PERCENT_ENCODED.fullmatch(line, start, end) and (found := self._encoded_at(line, start, end)):
            return found
        if _IN_BASE64.fullmatch(line, start, end):
            return self._in_base64_at(line, start, end)
        return None

    def _in_base64_at(self, line: bytes, start: int, end: int) -> Found | None:
        begin, window = _window(line, start, end, _AROUND, _BASE64_BEFORE, _BASE64)
        window = window.translate(_FROM_URL)
        for offset in range(4):
            letters = window[offset:]
            decoded = base64.b64decode(letters[: len(letters) & ~3] + _PADDED[len(letters) & 3](letters))
            if found := self._plain_in(decoded):
                first, behind_it = begin + offset + found.start * 4 // 3, -(-found.end * 4 // 3)
                return Found(first, begin + offset + behind_it, True)
        return None

    def _encoded_at(self, line: bytes, start: int, end: int) -> Found | None:
        begin, window = _window(line, start, end, _FAR_AROUND, _ENCODED_BEFORE, _ENCODED)
        characters = list(_CHARACTER.finditer(window))
        decoded = b"".join(
            bytes.fromhex(one[1].decode("ascii")) if one[1] else one.group() for one in characters
        )
        if found := self._plain_in(decoded):
            first, last = characters[found.start], characters[found.end - 1]
            return Found(begin + first.start(), begin + last.end(), True)
        return None

    def _plain_in(self, decoded: bytes) -> Found | None:
        place = self._search_plain(decoded, 0)
        while place:
            if found := self._on_its_own_at(decoded, *place, is_first=True):
                return found
            place = self._search_plain(decoded, place[0] + 1)
        return None

    def _verified(self, line: bytes, start: int, end: int, *, is_first: bool) -> Found | None:
        """What was found, when it is really one of the secrets."""
        if is_candidate(line, start, end):
            if found := self.coded_at(line, start, end):
                return found
            place = self._search_plain(line, start)  # a fingerprint may look like base64 of something else
            if place is None or place[0] != start:
                return None
            end = place[1]
        return self._on_its_own_at(line, start, end, is_first=is_first)

    def _on_its_own_at(self, line: bytes, start: int, end: int, *, is_first: bool) -> Found | None:
        found = line[start:end]
        if _REVERSED.match(found):
            end, found = end - 2, found[:-2]
        if _is_inside_an_escape(line, start) or not _on_its_own(line, start, end, is_first=is_first):
            return None
        return Found(start, end, False)


_FROM_URL = bytes.maketrans(b"-_", b"+/")
#: What completes the last letters of base64, by how many of four there are. (One alone codes nothing.)
_PADDED: list[Callable[[bytes], bytes]] = [
    lambda letters: b"",
    lambda letters: b"",
    lambda letters: letters[-2:] + b"==",
    lambda letters: letters[-3:] + b"=",
]


def is_candidate(data: bytes, start: int, end: int) -> bool:
    """Whether what a larger pattern found may be a secret, coded, to be looked at with coded_at."""
    return bool(_IN_BASE64.fullmatch(data, start, end) or _PERCENT_ENCODED.fullmatch(data, start, end))


def _window(
    line: bytes, start: int, end: int, around: int, before: re.Pattern[bytes], behind: re.Pattern[bytes]
) -> tuple[int, bytes]:
    """A place in a line with what stands around it and may belong to it; and where that begins."""
    left = before.search(line[max(0, start - around) : start])
    right = behind.match(line[end : end + around])
    begin = start - len(left.group() if left else b"")
    return begin, line[begin : end + len(right.group() if right else b"")]


def _on_its_own(line: bytes, start: int, end: int, *, is_first: bool) -> bool:
    """Whether what was found is no part of a longer address: 192.0.2.1 is not in 192.0.2.10.

    What stands directly behind another secret (not ``is_first``) has nothing before it.
    """
    found = line[start:end]
    if len(found) >= 40 and not set(found) & set(b".:-"):
        return True  # 40 hexadecimal digits are never part of something harmless
    is_number = found.isdigit()
    dotted = is_number or b"." in found or _DASHED.match(found)
    more = _HEX if b":" in found or not dotted else _DIGITS
    if end < len(line) and line[end] in more:
        return False
    if is_number and _FRACTION.match(line, end):
        return False
    if not is_first or not start or line[start - 1] not in more:
        return not (is_number and start > 1 and line[start - 1] in b"." and line[start - 2] in _DIGITS)
    # What looks like a digit before it may be the end of an escape: \u00e9, %20, \b or \f.
    return (
        (start >= 6 and line[start - 6 : start - 4] == b"\\u")
        or (start >= 3 and line[start - 3 : start - 2] == b"%" and line[start - 2] in _HEX)
        or line[start - 2 : start] in (b"\\b", b"\\f")
    )


_DASHED = re.compile(rb"[0-9]{1,3}(?:-[0-9]{1,3}){3}\Z")
_FRACTION = re.compile(rb"\.[0-9]")
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9A-Fa-f]{0,3}\Z")


def _is_inside_an_escape(line: bytes, start: int) -> bool:
    """Whether a place is between the digits of ``\\u00e9``: those are no part of what follows them."""
    return line.rfind(b"\\u", max(0, start - 5), start) >= 0 and bool(_ESCAPE.search(line[:start][-64:]))
