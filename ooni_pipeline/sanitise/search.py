"""Finding many secrets at once in serialised entries, at the speed of a scan. The home of re2.

It works on JSON in plain ASCII, as entries are written. An address or a fingerprint consists of
characters that this form never escapes, so what stands in a string, a key or a log stands in the line.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable, Iterator

import re2

_HEX = b"0123456789abcdefABCDEF"
_DIGITS = b"0123456789"


def pattern(alternatives: Iterable[bytes]) -> Callable[[bytes, int], int]:
    """A search for the first of many regular expressions, in any case: ``search(data, start)`` gives
    where it begins, or -1."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    options.max_mem = 256 * 1024 * 1024  # else a large table falls back to a slow machine
    options.never_capture = True
    options.log_errors = False
    compiled = re2.compile(b"|".join(alternatives), options)

    def search(data: bytes, start: int) -> int:
        match = compiled.search(data, start)
        return match.start() if match else -1

    return search


class Secrets:
    """Known addresses (without port) and fingerprints, to be found and cut out wherever they stand."""

    def __init__(self, addresses: Iterable[str], fingerprints: Iterable[str]) -> None:
        self._spellings = {spelling for address in addresses for spelling in spellings(address)}
        for fingerprint in fingerprints:
            self._spellings |= fingerprint_spellings(fingerprint)
        self._lengths = sorted({len(spelling) for spelling in self._spellings}, reverse=True)

    @functools.cached_property
    def _search(self) -> Callable[[bytes, int], int]:
        return pattern(self.alternatives())

    def alternatives(self) -> list[bytes]:
        """The secrets as regular expressions, for a larger pattern."""
        return [re2.escape(spelling) for spelling in sorted(self._spellings)]

    def stand_in(self, line: bytes) -> bool:
        """Whether any secret stands in a line."""
        return next(self.find(line), None) is not None

    def find(self, line: bytes) -> Iterator[tuple[int, int]]:
        """Where secrets stand in a line: (start, end), in order, not overlapping."""
        if not self._spellings:
            return
        last, start = -1, self._search(line, 0)
        while start >= 0:
            end = self._end(line, start, is_first=start != last)
            if end:
                yield start, end
                last = end
            start = self._search(line, end or start + 1)

    def cut(self, line: bytes, marker: bytes) -> tuple[bytes, int]:
        """The line with every secret replaced by the marker, and how many there were."""
        pieces, last, count = [], 0, 0
        for start, end in self.find(line):
            pieces += [line[last:start], marker]
            last, count = end, count + 1
        return b"".join([*pieces, line[last:]]) if count else line, count

    def _end(self, line: bytes, start: int, is_first: bool) -> int:
        """The end of the longest secret that stands at ``start`` on its own, else 0.

        What stands directly behind another secret (not ``is_first``) has nothing before it.
        """
        for length in self._lengths:
            spelling = line[start : start + length].lower()
            if spelling in self._spellings and _on_its_own(line, start, start + length, is_first):
                return start + length
        return 0


def spellings(address: str) -> set[bytes]:
    """The ways in which an address is written, in lower case: IPv4 in one; IPv6 with and without leading
    zeros, in full and with any run of zero groups as ``::``."""
    ip = ipaddress.ip_address(address)
    found = {str(ip)}
    if ip.version == 6:
        padded = ip.exploded.split(":")
        for groups in (padded, [f"{int(group, 16):x}" for group in padded]):
            found.add(":".join(groups))
            for start in range(8):
                for end in range(start + 1, 9):
                    if any(int(group, 16) for group in groups[start:end]):
                        break
                    found.add(":".join(groups[:start]) + "::" + ":".join(groups[end:]))
    return {spelling.encode() for spelling in found}


def fingerprint_spellings(fingerprint: str) -> set[bytes]:
    """The ways in which a fingerprint is written, in lower case: in one piece, and as Tor prints it for
    people, in ten groups of four."""
    digits = fingerprint.lower()
    groups = (digits[place : place + 4] for place in range(0, len(digits), 4))
    return {digits.encode(), " ".join(groups).encode()}


def _on_its_own(line: bytes, start: int, end: int, is_first: bool) -> bool:
    """Whether what was found is no part of a longer address: 192.0.2.1 is not in 192.0.2.10."""
    if b":" not in line[start:end] and b"." not in line[start:end]:
        return True  # 40 hexadecimal digits are never part of something harmless
    more = _HEX if b":" in line[start:end] else _DIGITS
    if end < len(line) and line[end] in more:
        return False
    if not is_first or not start or line[start - 1] not in more:
        return True
    # What looks like a digit before it may be the end of an escape: \u00e9, \b or \f.
    return (start >= 6 and line[start - 6 : start - 4] == b"\\u") or line[start - 2 : start] in (
        b"\\b",
        b"\\f",
    )
