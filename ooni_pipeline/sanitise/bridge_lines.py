"""What a bridge is written as in inputs and keys of Tor tests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable, hashed_fingerprint, split_address

#: ``--bridge=`` before a value.
_OPTION = re.compile(r"\A[\"']?[A-Za-z-]+=")
_FINGERPRINT = re.compile(r"\$?([0-9A-Fa-f]{40})(?:[~=]\w{1,19})?\Z")


@dataclass(frozen=True)
class BridgeLine:
    """A line such as ``Bridge obfs3 192.0.2.1:443 FINGERPRINT key=value``; any part may be missing.

    ``places`` are its (address, port), canonical, port 0 where none is written.
    """

    places: tuple[tuple[str, int], ...]
    fingerprints: tuple[str, ...]
    words: int

    @property
    def addresses(self) -> list[str]:
        return [address for address, _ in self.places]

    @property
    def hashed_fingerprint(self) -> str | None:
        return hashed_fingerprint(self.fingerprints[0]) if self.fingerprints else None

    def known_to(self, table: BridgeTable) -> Bridge | None:
        """The first bridge of the table that the line names by address and port."""
        return next((found for place in self.places if (found := table.find(place))), None)


def parse_bridge_line(line: str) -> BridgeLine:
    """Find addresses and fingerprints among the words of a line, wherever they stand."""
    places, fingerprints, words = [], [], line.split()
    for word in words:
        word = _OPTION.sub("", word).strip("\"',;")
        if match := _FINGERPRINT.match(word):
            fingerprints.append(match[1])
        elif place := _place(word):
            places.append(place)
    return BridgeLine(tuple(places), tuple(fingerprints), len(words))


def _place(word: str) -> tuple[str, int] | None:
    for text in (word, f"{word}:0", f"[{word}]:0"):  # with a port, without one, and IPv6 without brackets
        try:
            return split_address(text)
        except ValueError:
            continue
    return None
