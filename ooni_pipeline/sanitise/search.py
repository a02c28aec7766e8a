"""Finding many secrets at once in serialised entries, at the speed of a scan. The home of re2.

It works on the line as it is written: JSON in plain ASCII. An address or a fingerprint consists of
characters that this form never escapes, so what stands in a string, a key or a log stands in the line.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator

import re2

_HEX = b"0123456789abcdefABCDEF"
_DIGITS = b"0123456789"


def pattern(alternatives: Iterable[bytes], *, any_case: bool = True) -> Callable[[bytes, int], int]:
    """A search for the first of many regular expressions: ``search(data, start)`` gives where, or -1."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = not any_case
    options.max_mem = 256 * 1024 * 1024  # else a large table falls back to a slow machine
    options.never_capture = True
    options.log_errors = False
    compiled = re2.compile(b"|".join(alternatives), options)

    def search(data: bytes, start: int) -> int:
        match = compiled.search(data, start)
        return match.start() if match else -1

    return search


class Secrets:
    """Known addresses and fingerprints, to be found and cut out wherever they stand."""

    def __init__(self, addresses: Iterable[str], fingerprints: Iterable[str]) -> None:
        self._spellings = {spelling for address in addresses for spelling in spellings(address)}
        self._spellings |= {fingerprint.lower().encode() for fingerprint in fingerprints}
        self._lengths = sorted({len(spelling) for spelling in self._spellings}, reverse=True)
        self._search = pattern(self.alternatives()) if self._spellings else None

    def alternatives(self) -> list[bytes]:
        """The secrets as regular expressions, for a larger pattern."""
        return [re2.escape(spelling) for spelling in sorted(self._spellings)]

    def find(self, line: bytes) -> Iterator[tuple[int, int]]:
        """Where secrets stand in a line: (start, end), in order, not overlapping."""
        if self._search is None:
            return
        start = self._search(line, 0)
        while start >= 0:
            end = self._end(line, start)
            if end:
                yield start, end
            start = self._search(line, end or start + 1)

    def cut(self, line: bytes, marker: bytes) -> tuple[bytes, int]:
        """The line with every secret replaced by the marker, and how many there were."""
        pieces, last, count = [], 0, 0
        for start, end in self.find(line):
            pieces += [line[last:start], marker]
            last, count = end, count + 1
        return b"".join([*pieces, line[last:]]) if count else line, count

    def _end(self, line: bytes, start: int) -> int:
        """The end of the longest secret that stands at ``start`` on its own, else 0."""
        for length in self._lengths:
            spelling = line[start : start + length].lower()
            if spelling in self._spellings and _on_its_own(line, start, start + length, spelling):
                return start + length
        return 0


def spellings(address: str) -> set[bytes]:
    """The ways in which an address is written, in lower case: IPv6 compressed and in full."""
    ip = ipaddress.ip_address(address)
    return {ip.compressed.lower().encode(), ip.exploded.lower().encode()}


def _on_its_own(line: bytes, start: int, end: int, spelling: bytes) -> bool:
    """Whether what was found is no part of a longer address: 192.0.2.1 is not in 192.0.2.10."""
    if b":" not in spelling and b"." not in spelling:
        return True  # 40 hexadecimal digits are never part of something harmless
    more = _HEX if b":" in spelling else _DIGITS
    if line[end : end + 1] in more and line[end : end + 1]:
        return False
    before = line[start - 1 : start]
    if not before or before not in more:
        return True
    # What looks like a digit before it may be the end of an escape: \u00e9, \b or \f.
    return line[start - 6 : start - 4] == b"\\u" or (before in b"bf" and line[start - 2 : start - 1] == b"\\")
