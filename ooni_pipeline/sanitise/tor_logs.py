"""Logs of tor and obfsproxy: no address and no fingerprint of anybody stays in them, nor a path.

Those of public bridges stay: everybody knows them.
"""

from __future__ import annotations

import re
from typing import Any

from ooni_pipeline.report.entry import OVERRULED
from ooni_pipeline.sanitise.addresses import V4, V6, addresses_in, is_v4, length_of_v6
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.cuts import MARKER, Cuts, test_keys_of
from ooni_pipeline.sanitise.strings import change_strings, decoded

#: Keys among those of the test under which the contradictions of an entry with itself are left.
_LEFT = ("report", "test_keys")

_ONLY_V4 = re.compile(V4)
_IN_LOGS = re.compile(
    r"(?P<fingerprint>\$?(?<![0-9A-Fa-f])"
    r"(?:[0-9A-Fa-f]{40}|[0-9A-Fa-f]{4}(?: [0-9A-Fa-f]{4}){9})(?![0-9A-Fa-f])"
    r"(?:[~=]\w{1,19})?)"
    rf"|{V4}|{V6}"
)

#: The logs of tor and of what helps it, in any nettest.
LOGS = ("tor_log", "tor_logs", "obfsproxy_log")
#: The command line, which may hold bridge lines.
COMMAND_LINES = ("options", "legacy_options")


def clean_logs(entry: dict[str, Any], logs: tuple[str, ...], cuts: Cuts) -> None:
    """Clean these logs, the command line, and whatever was overruled: it may be any of them."""
    test_keys = test_keys_of(entry)
    for mapping in (test_keys, entry):
        for key, value in mapping.items():
            overruled = key.startswith(OVERRULED) or (key in _LEFT and mapping is test_keys)
            if value and (key in COMMAND_LINES or overruled or (key in logs and mapping is test_keys)):
                mapping[key], count = clean_log(value, cuts.table)
                cuts.count(key if key in COMMAND_LINES or key in logs else "overruled", count)


def clean_log(value: Any, table: BridgeTable) -> tuple[Any, int]:
    """A log in whatever form without addresses and fingerprints, and how many there were.

    What was no text (base64) becomes text, with U+FFFD for what is none: in base64 nothing could be found.
    Other values than strings are looked through for strings.
    """
    value, total = as_text(value)

    def change(text: str) -> str:
        nonlocal total
        text, count = without_addresses(text, table)
        total += count
        return text

    root = [value]
    change_strings(root, change)
    return root[0], total


def as_text(value: Any) -> tuple[Any, int]:
    """A value in which bytes in base64 have become text; what says that it is base64 and is not becomes the
    marker, and is counted."""
    root, count = [value], 0
    waiting: list[Any] = [root]
    for container in waiting:
        for key, inner in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(inner, dict) and inner.get("format") == "base64" and inner.get("data"):
                raw = decoded(inner)
                container[key] = raw.decode("utf-8", "replace") if raw else MARKER
                count += not raw
            elif isinstance(inner, (dict, list)):
                waiting.append(inner)
    return root[0], count


def without_addresses(log: str, table: BridgeTable) -> tuple[str, int]:
    """A log without any address or fingerprint but public ones, and how many there were.

    What looks like an address and is none stays: a time of day, and a version of tor (all begin with 0,
    as no address of a host does).
    """
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        kind, behind = match.lastgroup, ""
        if kind == "v4" and not is_v4(match["v4"]):
            return match[0]
        if _is_public(match[0], table):
            return match[0]
        if kind == "v6":
            length = length_of_v6(match["v6"])
            if not length:
                return _ONLY_V4.sub(replace, match[0])  # 443:192.0.2.1
            behind = match["v6"][length:]
        count += 1
        return MARKER + behind

    return _IN_LOGS.sub(replace, log), count


def _is_public(text: str, table: BridgeTable) -> bool:
    """Whether this is an address or a fingerprint of a bridge that a browser ships."""
    if not table.public_addresses:
        return False
    fingerprint = re.sub(r"[$ ]|[~=].*", "", text).upper()
    return any(fingerprint == one.upper() for one in table.public_fingerprints) or any(
        address in table.public_addresses for address in addresses_in(text)
    )
