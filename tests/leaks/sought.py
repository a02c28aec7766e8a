"""What is looked for, and the look at one text: every layer of it, every secret in any spelling."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.leaks.addresses import parsed, plain, wide
from tests.leaks.layers import layers

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40,}")
_IN_FOURS = re.compile(r"[0-9A-Fa-f]{4}(?:[ +][0-9A-Fa-f]{4}){9,}")
#: Layers in which more spellings of a volunteer's address are looked for; in code only the plain ones.
_IN_CLEAR = ("", "JSON")


@dataclass(frozen=True)
class Hit:
    """One thing found in a text. ``what`` names it without telling it (``bridge 3``); ``secret`` tells it."""

    what: str
    spelling: str
    secret: str


@dataclass
class Sought:
    """The secrets: addresses and fingerprints of bridges, canaries, addresses of volunteers.

    ``bridges`` and ``own`` map packed addresses, ``fingerprints`` 40 hex digits in lower case, ``canaries``
    text in lower case, to the name by which a finding calls them. ``own`` are looked for in all spellings.
    """

    bridges: dict[bytes, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    canaries: dict[str, str] = field(default_factory=dict)
    own: dict[bytes, str] = field(default_factory=dict)
    _canary: re.Pattern[str] | None = None

    def add_table(self, path: Path) -> None:
        """The private lines of a bridge table; those marked public may be seen by everybody.

        Raises ValueError, which quotes nothing, for a table that cannot be understood.
        """
        try:
            table = json.loads(path.read_bytes())
            for number, (place, line) in enumerate(table.items(), len(self.fingerprints) + 1):
                if line.get("public") is True:
                    continue
                address = parsed(place.strip().rpartition(":")[0])
                if address is None:
                    raise ValueError
                self.bridges[address] = f"bridge {number}"
                self.add_fingerprint(line["fingerprint"], f"bridge {number}")
        except (ValueError, KeyError, AttributeError):
            raise ValueError(f"{path} is no bridge table") from None

    def add_fingerprint(self, fingerprint: str, name: str) -> None:
        digits = fingerprint.lower()
        if not re.fullmatch("[0-9a-f]{40}", digits):
            raise ValueError
        self.fingerprints[digits] = name

    def add_canaries(self, canaries: Iterable[str]) -> None:
        for canary in canaries:
            if canary:
                name = f"canary {len(self.canaries) + 1}"
                for form in (canary, canary.encode().decode("latin-1")):
                    self.canaries.setdefault(form.lower(), name)
        self._canary = None

    def hits(self, text: str, own: Iterable[bytes] = ()) -> set[Hit]:
        """Everything sought that stands in a text; ``own`` are addresses to look for in this text alone."""
        here = dict.fromkeys(own, "own address")
        found: dict[tuple[str, str, str], Hit] = {}
        for view, layer in layers(text):
            for what, spelling, secret in self._in_view(view, layer in _IN_CLEAR, here):
                told = f"{layer} > {spelling}" if layer else spelling
                found.setdefault((what, spelling, secret), Hit(what, told, secret))
        return set(found.values())

    def _in_view(self, view: str, in_clear: bool, here: dict[bytes, str]) -> Iterator[tuple[str, str, str]]:
        if self.canaries:
            lowered = view.lower()
            for match in self._canary_pattern().finditer(lowered):
                canary = match[0]
                yield self.canaries[canary], "plain", canary
        if self.own or here:
            for packed, spelling in wide(view) if in_clear else plain(view):
                if packed in here or packed in self.own:
                    yield here.get(packed) or self.own[packed], spelling, packed.hex()
        if self.bridges:
            for packed, spelling in plain(view):
                if packed in self.bridges:
                    yield self.bridges[packed], spelling, packed.hex()
        if self.fingerprints:
            yield from self._fingerprints_in(view)

    def _fingerprints_in(self, view: str) -> Iterator[tuple[str, str, str]]:
        for match in _FINGERPRINT.finditer(view):
            yield from self._windows(match[0].lower(), "fingerprint")
        for match in _IN_FOURS.finditer(view):
            yield from self._windows(re.sub(r"[\s+]", "", match[0]).lower(), "fingerprint in fours")

    def _windows(self, digits: str, spelling: str) -> Iterator[tuple[str, str, str]]:
        for start in range(len(digits) - 39):
            if name := self.fingerprints.get(digits[start : start + 40]):
                yield name, spelling, digits[start : start + 40]

    def _canary_pattern(self) -> re.Pattern[str]:
        if self._canary is None:
            longest_first = sorted(self.canaries, key=len, reverse=True)
            self._canary = re.compile("|".join(map(re.escape, longest_first)))
        return self._canary
