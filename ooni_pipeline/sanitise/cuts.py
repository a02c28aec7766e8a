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
from ooni_pipeline.sanitise.strings import change_strings, decoded, encoded

#: In the place of what belongs to a bridge, or to the volunteer's machine.
MARKER = "[REDACTED]"
#: In the place of what tells who the volunteer is.
SCRUBBED = "[scrubbed]"


#: So many bridges that no table knows at most are cut from one entry: more take minutes.
MAX_HIDDEN = 1000


@dataclass
class Cuts:
    """The work on one entry. ``by_rule`` counts cuts; ``hide`` names what must go from all of it.

    ``names_a_bridge`` when a private bridge of the table was met where bridges are expected.
    """

    table: BridgeTable
    settings: Settings = field(default_factory=Settings)
    by_rule: Counter[str] = field(default_factory=Counter)
    names_a_bridge: bool = False
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
        """What must go although no table knows it; None when there is no such thing.

        Raises ValueError for more than ``MAX_HIDDEN``: such an entry is held.
        """
        if len(self._addresses) + len(self._fingerprints) > MAX_HIDDEN:
            raise ValueError("too many bridges")
        if self._addresses or self._fingerprints:
            return Secrets(self._addresses, self._fingerprints)
        return None


def cut_everywhere(root: dict[str, Any] | list[Any], secrets: Secrets, marker: str = MARKER) -> int:
    """Put the marker in the place of every secret in every string, key and number; how many there were.

    What is base64 of bytes stays that, with the marker inside; in raw packets the bytes of an address
    become zero. Raises ValueError where a string cannot be cut: then the entry must be held.
    """
    total = _cut_values(root, secrets, marker)

    def change(text: str) -> str:
        nonlocal total
        line, count = secrets.cut(dumps(text).encode(), marker.encode())
        total += count
        return str(loads(line)) if count else text

    change_strings(root, change)
    return total


def _cut_values(root: dict[str, Any] | list[Any], secrets: Secrets, marker: str) -> int:
    """Cut what is no text: bytes in base64, packets, numbers."""
    total = 0
    waiting: list[Any] = [root]
    for container in waiting:
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, list):
                waiting.append(value)
            elif isinstance(value, dict):
                waiting.append(value)
                total += _cut_bytes(value, secrets, marker, is_packet=key == "raw_packet")
            elif secrets.numbers and isinstance(value, (int, float)) and value in secrets.numbers:
                container[key] = marker
                total += 1
    return total


def _cut_bytes(value: dict[str, Any], secrets: Secrets, marker: str, *, is_packet: bool) -> int:
    """Cut from the bytes of ``{"format": "base64", "data": …}``; leave anything else alone."""
    data = value.get("data")
    if value.get("format") != "base64" or not isinstance(data, str):
        return 0
    if not (is_packet and secrets.packed) and not secrets.stand_in(data.encode("ascii", "replace")):
        return 0
    raw, total = decoded(value), 0
    for packed in secrets.packed if is_packet else ():
        total += raw.count(packed)
        raw = raw.replace(packed, bytes(len(packed)))
    raw, count = secrets.cut(raw, marker.encode())
    if total + count:
        value["data"] = encoded(raw)
    return total + count


def test_keys_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry's test_keys; what is no mapping goes into one, under ``test_keys``."""
    test_keys = entry.get("test_keys")
    if not isinstance(test_keys, dict):
        test_keys = {} if test_keys is None else {"test_keys": test_keys}
        entry["test_keys"] = test_keys
    return test_keys
