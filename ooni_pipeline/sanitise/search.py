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


def pattern(alternatives: Iterable[bytes]) -> Callable[[bytes, int], tuple[int, int] | None]:
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


class Secrets:
    """Known addresses (without port) and fingerprints, to be found and cut out wherever they stand."""

    def __init__(self, addresses: Iterable[str], fingerprints: Iterable[str]) -> None:
        expressions = [address_expression(address) for address in addresses]
        expressions += [fingerprint_expression(fingerprint) for fingerprint in fingerprints]
        self.alternatives = sorted(expressions)
        """The secrets as regular expressions, for a larger pattern."""

    @functools.cached_property
    def _search(self) -> Callable[[bytes, int], tuple[int, int] | None]:
        return pattern(self.alternatives)

    def stand_in(self, line: bytes) -> bool:
        """Whether any secret stands in a line."""
        return next(self.find(line), None) is not None

    def find(self, line: bytes) -> Iterator[tuple[int, int]]:
        """Where secrets stand in a line: (start, end), in order, not overlapping."""
        last = -1
        found = self._search(line, 0) if self.alternatives else None
        while found:
            start, end = found
            if _on_its_own(line, start, end, is_first=start != last):
                yield start, end
                last = end
            else:
                end = start + 1
            found = self._search(line, end)

    def cut(self, line: bytes, marker: bytes) -> tuple[bytes, int]:
        """The line with every secret replaced by the marker, and how many there were."""
        pieces, last, count = [], 0, 0
        for start, end in self.find(line):
            pieces += [line[last:start], marker]
            last, count = end, count + 1
        return b"".join([*pieces, line[last:]]) if count else line, count


def address_expression(address: str) -> bytes:
    """A regular expression for every way in which an address is written: IPv4 in one; IPv6 with and
    without leading zeros in each of its groups, in full and with any run of zero groups as ``::``."""
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        return bytes(re2.escape(str(ip).encode()))
    values = [int(group, 16) for group in ip.exploded.split(":")]
    groups = [f"0{{0,{4 - len(f'{value:x}')}}}{value:x}" for value in values]
    forms = [":".join(groups)]
    for start in range(8):
        for end in range(start + 1, 9):
            if any(values[start:end]):
                break
            forms.append(":".join(groups[:start]) + "::" + ":".join(groups[end:]))
    return "|".join(forms).encode()


def fingerprint_expression(fingerprint: str) -> bytes:
    """A regular expression for the ways in which a fingerprint is written: in one piece, and as Tor
    prints it for people, in ten groups of four."""
    groups = [fingerprint[place : place + 4] for place in range(0, len(fingerprint), 4)]
    return f"{fingerprint}|{' '.join(groups)}".encode()


def _on_its_own(line: bytes, start: int, end: int, *, is_first: bool) -> bool:
    """Whether what was found is no part of a longer address: 192.0.2.1 is not in 192.0.2.10.

    What stands directly behind another secret (not ``is_first``) has nothing before it.
    """
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
