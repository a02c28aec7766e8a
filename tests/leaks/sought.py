"""What is looked for, and the look at one text: every layer of it, every secret in any spelling."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.leaks.addresses import parsed, plain, wide
from tests.leaks.layers import base64_runs, layers

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40,}")
_IN_FOURS = re.compile(r"[0-9A-Fa-f]{4}(?:[\s+]{1,2}[0-9A-Fa-f]{4}){9,}")
#: Characters of base64 that are the same wherever in a larger text 20 bytes begin: 16 or 17 whole bytes.
_CORE = 24
#: Any core holds one whole block of 8 among those that begin at every 16th place, wherever it begins.
_BLOCK, _STRIDE = 8, 16


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
    _cores: dict[str, str] = field(default_factory=dict)
    _blocks: set[str] = field(default_factory=set)
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
        self.fingerprints[digits] = name
        for before in range(3):  # at the three alignments
            encoded = base64.b64encode(b"\0" * before + bytes.fromhex(digits)).decode()
            first = (0, 2, 3)[before]
            core = encoded[first : first + _CORE]
            self._cores[core] = digits
            self._blocks.update(core[at : at + _BLOCK] for at in range(_CORE - _BLOCK + 1))

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
            for what, spelling, secret in self._in_view(view, here):
                told = f"{layer} > {spelling}" if layer else spelling
                found.setdefault((what, spelling, secret), Hit(what, told, secret))
        return set(found.values())

    def _in_view(self, view: str, here: dict[bytes, str]) -> Iterator[tuple[str, str, str]]:
        if self.canaries:
            lowered = view.lower()
            for match in self._canary_pattern().finditer(lowered):
                canary = match[0]
                yield self.canaries[canary], "plain", canary
        if self.own or here:
            for packed, spelling in wide(view):
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
        for run in base64_runs(view, _CORE):
            if self._blocks.isdisjoint([run[at : at + _BLOCK] for at in range(0, len(run), _STRIDE)]):
                continue
            for start in range(len(run) - _CORE + 1):
                if digits := self._cores.get(run[start : start + _CORE]):
                    yield self.fingerprints[digits], "fingerprint, its bytes in base64", digits

    def _windows(self, digits: str, spelling: str) -> Iterator[tuple[str, str, str]]:
        for start in range(len(digits) - 39):
            if name := self.fingerprints.get(digits[start : start + 40]):
                yield name, spelling, digits[start : start + 40]

    def _canary_pattern(self) -> re.Pattern[str]:
        if self._canary is None:
            longest_first = sorted(self.canaries, key=len, reverse=True)
            self._canary = re.compile("|".join(map(re.escape, longest_first)))
        return self._canary
