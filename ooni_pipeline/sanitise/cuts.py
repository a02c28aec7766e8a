"""What the steps take from one entry: what they cut, counted by rule, and what else must go from it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.report.json_lines import dumps, loads
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.search import Secrets
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import change_strings

MARKER = "[REDACTED]"


@dataclass
class Cuts:
    """The work on one entry. ``by_rule`` counts cuts; ``hide`` names what must go from all of it."""

    table: BridgeTable
    settings: Settings = field(default_factory=Settings)
    by_rule: Counter[str] = field(default_factory=Counter)
    _addresses: set[str] = field(default_factory=set)
    _fingerprints: set[str] = field(default_factory=set)

    def count(self, rule: str, cuts: int = 1) -> None:
        """Take note of cuts by a rule."""
        self.by_rule[rule] += cuts

    def hide(self, addresses: Iterable[str], fingerprints: Iterable[str]) -> None:
        """Let these go from the whole entry although no table knows them (a volunteer's own bridge).

        An address of this machine itself (127.0.0.1, ::) names nobody and stays.
        """
        for address in addresses:
            ip = ipaddress.ip_address(address)
            if not ip.is_loopback and not ip.is_unspecified:
                self._addresses.add(address)
        self._fingerprints.update(fingerprints)

    def hidden(self) -> Secrets | None:
        """What must go although no table knows it; None when there is no such thing."""
        if self._addresses or self._fingerprints:
            return Secrets(self._addresses, self._fingerprints)
        return None


def cut_everywhere(entry: dict[str, Any], secrets: Secrets) -> int:
    """Put the marker in the place of every secret in every string and key; how many there were.

    Raises ValueError where a string cannot be cut: then the entry must be held.
    """
    total = 0

    def change(text: str) -> str:
        nonlocal total
        line, count = secrets.cut(dumps(text).encode(), MARKER.encode())
        total += count
        return str(loads(line)) if count else text

    change_strings(entry, change)
    return total


def test_keys_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry's test_keys; what is no mapping goes into one, under ``test_keys``."""
    test_keys = entry.get("test_keys")
    if not isinstance(test_keys, dict):
        test_keys = {} if test_keys is None else {"test_keys": test_keys}
        entry["test_keys"] = test_keys
    return test_keys
