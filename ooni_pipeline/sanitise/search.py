"""Finding many secrets at once in serialised entries, at the speed of a scan.

It works on JSON in plain ASCII, as entries are written. An address or a fingerprint consists of
characters that this form never escapes, so what stands in a string, a key or a log stands in the line.

The many of a bridge table are not searched for in each of their spellings: one expression finds what looks
like an address of IPv6 or a fingerprint, and what may be one in base64 or percent-encoded, and a look into a
set tells whether it is one of them (:mod:`.candidates`); only IPv4 addresses in clear stand in it
themselves. So the size of the table hardly matters. (All spellings of 2,000 bridges in one expression of
re2: 3 MB/s.) The few of the volunteer, in many more spellings (:mod:`.spellings`), are an expression of
their own.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Iterator

from ooni_pipeline.patterns import Search, pattern
from ooni_pipeline.sanitise.candidates import (
    CODED,
    Found,
    Known,
    decodings,
    kind_of,
    known_at,
    known_in,
)
from ooni_pipeline.sanitise.spellings import HOST_NAME_GOES_ON, own_address_expression, own_numbers

_HEX = b"0123456789abcdefABCDEF"
_DIGITS = b"0123456789"
_REVERSED = re.compile(rf"[0-9]+(?:[.-][0-9]+){{3}}{HOST_NAME_GOES_ON}\Z".encode(), re.IGNORECASE)
_DASHED = re.compile(rb"[0-9]{1,3}(?:-[0-9]{1,3}){3}\Z")
_FRACTION = re.compile(rb"\.[0-9]")
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9A-Fa-f]{0,3}\Z")
#: What another expression finds may begin so far before the end of a candidate that came to nothing.
_OVERLAP = 8

#: So many own addresses at most are looked for at once: the patterns of more take minutes, and no volunteer
#: has as many.
MAX_OWN = 100
#: Further than this beyond where it begins no address reaches, in any spelling.
_REACH = 128


def after(start: int, end: int) -> int:
    """Where to go on behind a candidate that came to nothing."""
    return max(start + 1, end - _OVERLAP)


class Secrets:
    """Addresses (without port) and fingerprints, to be found and cut out wherever they stand."""

    #: As numbers, and as the bytes of a packet: only a volunteer's own are looked for so.
    numbers: frozenset[int] = frozenset()
    packed: tuple[bytes, ...] = ()

    def __init__(self, addresses: Iterable[str], fingerprints: Iterable[str] = ()) -> None:
        self._known = Known.of(list(addresses), list(fingerprints))
        self.clear = self._known.expressions()
        """Regular expressions for a larger pattern: what may be one of them in clear."""

    @property
    def alternatives(self) -> tuple[bytes, ...]:
        """The same, with what may be one of them coded."""
        return (*self.clear, *CODED) if self.clear else ()

    @functools.cached_property
    def _search(self) -> Search:
        return pattern(self.alternatives)

    def stand_in(self, line: bytes) -> bool:
        """Whether any secret stands in a line."""
        return next(self.find(line), None) is not None

    def find(self, line: bytes) -> Iterator[Found]:
        """Where secrets stand in a line, in order, not overlapping."""
        last = -1
        place = self._search(line, 0) if self.clear else None
        while place:
            start, end = place
            kind = kind_of(line[start:end])
            following = after(start, end)
            while (found := self.at(line, start, end, kind, last)) and found.end > last:
                # Around a coded one the former is seen again.
                yield found._replace(start=max(found.start, last))
                start = last = found.end
                if start >= end or kind not in ("base64", "encoded", "fingerprint"):
                    following = last
                    break
            place = self._search(line, max(last, following))

    def at(self, line: bytes, start: int, end: int, kind: str | None, last: int = -1) -> Found | None:
        """The first secret in a candidate of this ``kind``; ``last`` is where the one before it ended."""
        if kind is None:
            return None
        if found := self.coded_at(line, start, end, kind):
            return found
        if kind in ("base64", "encoded"):
            return known_in(line, start, end, self._known)
        return known_at(line, max(start, last), end, kind, self._known, last)

    def coded_at(self, line: bytes, start: int, end: int, kind: str) -> Found | None:
        """The secret that is coded here."""
        for decoded in decodings(line, start, end, kind):
            found = self._in_clear(decoded.text)
            if found and not (decoded.is_cut and found.end >= len(decoded.text) - 1):
                first, last = decoded.where(found.start, found.end)
                return Found(first, last, line[first:last] != decoded.text[found.start : found.end])
        return None

    def _in_clear(self, text: bytes) -> Found | None:
        """The first secret in what was decoded."""
        return known_in(text, 0, len(text), self._known)

    def cut(self, line: bytes, marker: bytes) -> tuple[bytes, int]:
        """The line with every secret replaced by the marker, and how many there were."""
        pieces, end, count = [], 0, 0
        for found in self.find(line):
            pieces += [line[end : found.start], marker]
            end, count = found.end, count + 1
        return b"".join([*pieces, line[end:]]) if count else line, count


class OwnAddresses(Secrets):
    """The volunteer's own addresses, in more spellings, also as ``numbers`` and as bytes of a packet.

    Raises ValueError for more than ``MAX_OWN``.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        addresses = sorted(addresses)
        if len(addresses) > MAX_OWN:
            raise ValueError("too many addresses")
        super().__init__(())
        self.clear = tuple(own_address_expression(address) for address in addresses)
        self.numbers = frozenset[int]().union(*map(own_numbers, addresses))
        self.packed = tuple(ipaddress.ip_address(address).packed for address in addresses)

    @functools.cached_property
    def _search_clear(self) -> Search:
        return pattern(self.clear)

    def at(self, line: bytes, start: int, end: int, kind: str | None, last: int = -1) -> Found | None:
        """As above; what is no candidate is one of the volunteer's other spellings."""
        if kind and (found := self.coded_at(line, start, end, kind)):
            return found
        limit = min(len(line), end + _REACH)
        place = self._search_clear(line, start, limit)
        while place and place[0] < end:
            if found := _own_at(line, *place, is_first=place[0] != last):
                return found
            place = self._search_clear(line, place[0] + 1, limit)
        return None

    def _in_clear(self, text: bytes) -> Found | None:
        return self.at(text, 0, len(text), None)


def _own_at(line: bytes, start: int, end: int, *, is_first: bool) -> Found | None:
    if _REVERSED.match(line[start:end]):
        end -= 2
    inside = line.rfind(b"\\u", max(0, start - 5), start) >= 0 and _ESCAPE.search(
        line[max(0, start - 64) : start]
    )
    if inside or not _on_its_own(line, start, end, is_first=is_first):
        return None
    return Found(start, end, False)


def _on_its_own(line: bytes, start: int, end: int, *, is_first: bool) -> bool:
    """Whether what was found is no part of a longer address: 192.0.2.1 is not in 192.0.2.10.

    What stands directly behind another secret (not ``is_first``) has nothing before it.
    """
    found = line[start:end]
    is_number = found.isdigit()
    dotted = is_number or b"." in found or _DASHED.match(found)
    more = _HEX if b":" in found or not dotted else _DIGITS
    if end < len(line) and line[end] in more:
        return False
    if is_number and _FRACTION.match(line, end):
        return False
    if not is_first or not start or line[start - 1] not in more:
        return not (is_number and start > 1 and line[start - 1] in b"." and line[start - 2] in _DIGITS)
    return _ends_an_escape(line, start)


def _ends_an_escape(line: bytes, start: int) -> bool:
    """Whether what looks like a digit before a place is the end of an escape: \\u00e9, %20, \\b or \\f."""
    return (
        (start >= 6 and line[start - 6 : start - 4] == b"\\u")
        or (start >= 3 and line[start - 3 : start - 2] == b"%" and line[start - 2] in _HEX)
        or line[start - 2 : start] in (b"\\b", b"\\f")
    )
