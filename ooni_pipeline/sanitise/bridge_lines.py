"""What a bridge is written as in inputs, keys and logs of Tor tests."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from ooni_pipeline.sanitise.bridges import hashed_fingerprint, split_address

MARKER = "[REDACTED]"

_FINGERPRINT = re.compile(r"\$?([0-9A-Fa-f]{40})(?:[~=]\w{1,19})?\Z")
_IN_LOGS = re.compile(
    r"(?P<fingerprint>\$?(?<![0-9A-Fa-f])[0-9A-Fa-f]{40}(?![0-9A-Fa-f])(?:[~=]\w{1,19})?)"
    r"|(?<![0-9A-Za-z.])(?P<v4>\d{1,3}(?:\.\d{1,3}){3})(?:/\d{1,2})?(?::\d{1,5})?(?!\d)"
    r"|\[?(?<![0-9A-Za-z:])(?P<v6>[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,41})(?:\](?::\d{1,5})?)?"
)


@dataclass(frozen=True)
class BridgeLine:
    """A line such as ``Bridge obfs3 192.0.2.1:443 FINGERPRINT key=value``; any part may be missing."""

    address_and_port: str | None
    fingerprint: str | None

    @property
    def hashed_fingerprint(self) -> str | None:
        return hashed_fingerprint(self.fingerprint) if self.fingerprint else None


def parse_bridge_line(line: str) -> BridgeLine:
    """Find the address and the fingerprint among the words of a line, wherever they stand."""
    address = fingerprint = None
    for word in line.split():
        match = _FINGERPRINT.match(word)
        if match:
            fingerprint = fingerprint or match[1]
        elif address is None:
            try:
                split_address(word)
            except ValueError:
                continue
            address = word
    return BridgeLine(address, fingerprint)


def without_addresses(log: str) -> tuple[str, int]:
    """A log of tor or obfsproxy without any address or fingerprint, and how many there were.

    What looks like an address and is none stays: a time of day, and a version of tor (all begin with 0,
    as no address of a host does).
    """
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        if not match["fingerprint"] and not _is_address(match["v4"] or match["v6"]):
            return match[0]
        count += 1
        return MARKER + (":" if match[0].endswith(":") else "")

    return _IN_LOGS.sub(replace, log), count


def _is_address(text: str) -> bool:
    """Whether an address stands there, with or without the punctuation of the sentence behind it."""
    for candidate in {text, text.rstrip("."), text.rstrip(".:")}:
        try:
            address = ipaddress.ip_address(candidate)
        except ValueError:
            continue
        return address.version == 6 or not candidate.startswith("0.")
    return False
