"""The bridge table: the private look-up of Tor bridges whose addresses must never be published."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.errors import BridgeTableError

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40}\Z")


@dataclass(frozen=True)
class Bridge:
    """A bridge of the table. ``address`` is its IP without port, ``fingerprint`` 40 hexadecimal digits."""

    address: str
    port: int
    fingerprint: str
    distributor: str | None
    transport: str | None

    @property
    def hashed_fingerprint(self) -> str:
        return hashed_fingerprint(self.fingerprint)


@dataclass(frozen=True)
class BridgeTable:
    """All bridges, by canonical ``address:port``; ``digest`` (SHA-256 of the file) names this state of it."""

    bridges: Mapping[str, Bridge]
    digest: str

    def find(self, address_and_port: str) -> Bridge | None:
        """The bridge at ``address:port`` (IPv6 in brackets), in any spelling of the address."""
        try:
            address, port = split_address(address_and_port)
        except ValueError:
            return None
        return self.bridges.get(f"{address} {port}")


def hashed_fingerprint(fingerprint: str) -> str:
    """The public name of a bridge: lower-case hexadecimal SHA-1 of the 20 bytes of its fingerprint.

    The construct of Tor's own "hashed fingerprint". Raises ValueError for anything but 40 hex digits.
    """
    if not _FINGERPRINT.match(fingerprint):
        raise ValueError("not a fingerprint")
    return hashlib.sha1(bytes.fromhex(fingerprint), usedforsecurity=False).hexdigest()


def split_address(text: str) -> tuple[str, int]:
    """``192.0.2.1:443`` or ``[2001:db8::1]:443`` as (canonical address, port); else ValueError."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("not an address with a port")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    return str(ipaddress.IPv4Address(host)), int(port)


@functools.lru_cache(maxsize=2)
def load_bridge_table(path: Path, digest: str = "") -> BridgeTable:
    """Read ``{"IP:port": {"fingerprint": 40 hex, "distributor": …, "transport": …}, …}``.

    Fails closed: BridgeTableError where the file is missing, unreadable, malformed in any line, empty, or
    (with ``digest``) no longer the one that the stage began with. The text never quotes a line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BridgeTableError(
            f"the bridge table {path} cannot be read ({error.strerror}), so nothing is sanitised; "
            "name it in [sanitise] bridge_table"
        ) from None
    actual = hashlib.sha256(raw).hexdigest()
    if digest and digest != actual:
        raise BridgeTableError(f"the bridge table {path} changed while a bucket was sanitised; run it again")
    try:
        lines = json.loads(raw)
    except ValueError:
        raise BridgeTableError(f"the bridge table {path} is not JSON, so nothing is sanitised") from None
    if not isinstance(lines, dict) or not lines:
        raise BridgeTableError(f"the bridge table {path} holds no bridge, so nothing is sanitised")
    bridges = {}
    for number, (where, line) in enumerate(lines.items(), 1):
        try:
            address, port = split_address(where.strip())
            fingerprint = line["fingerprint"]
            hashed_fingerprint(fingerprint)
        except (ValueError, KeyError, TypeError):
            raise BridgeTableError(
                f"bridge {number} of the table {path} has no good address:port or fingerprint, "
                "so nothing is sanitised"
            ) from None
        bridges[f"{address} {port}"] = Bridge(
            address, port, fingerprint, line.get("distributor"), line.get("transport")
        )
    return BridgeTable(bridges, actual)
