"""The bridge table: the private look-up of Tor bridges whose addresses must never be published."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooni_pipeline.errors import BridgeTableError

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40}\Z")


@dataclass(frozen=True)
class Bridge:
    """A bridge of the table. ``address`` is its IP without port, ``fingerprint`` 40 hexadecimal digits.

    ``public``: a browser ships it, so everybody knows it, and what is measured of it stays as it is.
    """

    address: str
    port: int
    fingerprint: str
    distributor: str | None
    transport: str | None
    public: bool = False

    @property
    def hashed_fingerprint(self) -> str:
        return hashed_fingerprint(self.fingerprint)


@dataclass(frozen=True)
class BridgeTable:
    """All bridges, by canonical (address, port); ``digest`` (SHA-256 of the file) names this state of it.

    ``addresses`` (without port) and ``fingerprints`` are all that must be searched for and cut, and more
    than ``bridges`` where two lines name one place. ``public_addresses`` and ``public_fingerprints`` are
    those of bridges marked public. What a private line names too is private.
    """

    bridges: Mapping[tuple[str, int], Bridge]
    addresses: frozenset[str]
    fingerprints: frozenset[str]
    digest: str
    public_addresses: frozenset[str] = frozenset()
    public_fingerprints: frozenset[str] = frozenset()

    @classmethod
    def of(cls, bridges: Iterable[Bridge], digest: str = "") -> BridgeTable:
        """The table of these bridges; of two at one place the later names it, a private one before any
        public one."""
        bridges = sorted(bridges, key=lambda bridge: not bridge.public)  # stable: the private ones last
        private = [bridge for bridge in bridges if not bridge.public]
        public = [bridge for bridge in bridges if bridge.public]
        addresses = frozenset(bridge.address for bridge in private)
        upper = {bridge.fingerprint.upper() for bridge in private}
        return cls(
            {(bridge.address, bridge.port): bridge for bridge in bridges},
            addresses,
            frozenset(bridge.fingerprint for bridge in private),
            digest,
            frozenset(bridge.address for bridge in public) - addresses,
            frozenset(bridge.fingerprint for bridge in public if bridge.fingerprint.upper() not in upper),
        )

    @property
    def names(self) -> frozenset[str]:
        """Every address and fingerprint (in capitals) of every line: what a later table may not lack."""
        fingerprints = self.fingerprints | self.public_fingerprints
        return self.addresses | self.public_addresses | {text.upper() for text in fingerprints}

    def find(self, place: tuple[str, int]) -> Bridge | None:
        """The bridge at a place as :func:`split_address` gives it; look at its ``public``."""
        return self.bridges.get(place)


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
    if not separator or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError("not an address with a port")
    if not (host.startswith("[") and host.endswith("]")):
        return str(ipaddress.IPv4Address(host)), int(port)
    address = ipaddress.IPv6Address(host[1:-1].partition("%")[0])  # without a zone, which is the machine's
    return str(address.ipv4_mapped or address), int(port)


def load_bridge_table(path: Path, digest: str = "") -> BridgeTable:
    """Read ``{"IP:port": {"fingerprint": 40 hex, "distributor": …, "transport": …, "public": false}, …}``.

    Fails closed: BridgeTableError where the file is missing, unreadable, malformed in any line, without
    any private bridge (then nothing would be searched for), or (with ``digest``) no longer the one that
    the stage began with. The text never quotes a line.
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
        # Objects as tuples of pairs: a mapping would forget the first of two lines with one address.
        lines = json.loads(raw, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise BridgeTableError(f"the bridge table {path} is not JSON, so nothing is sanitised") from None
    if not isinstance(lines, tuple) or not lines:
        raise BridgeTableError(f"the bridge table {path} holds no bridge, so nothing is sanitised")
    bridges = []
    for number, (where, line) in enumerate(lines, 1):
        try:
            bridges.append(_bridge(where, line))
        except (ValueError, KeyError, TypeError):
            raise BridgeTableError(
                f"bridge {number} of the table {path} has no good address:port or fingerprint, a distributor "
                'or transport that is no text, or a "public" that is neither true nor false, so nothing is '
                "sanitised"
            ) from None
    table = BridgeTable.of(bridges, actual)
    if not table.addresses:
        raise BridgeTableError(
            f"every bridge of the table {path} is marked public, so there is none to protect and nothing is "
            "sanitised"
        )
    return table


def _bridge(where: str, line: Any) -> Bridge:
    """One line of the table. Raises ValueError, KeyError or TypeError for one that is not well-formed."""
    if not isinstance(line, tuple):
        raise TypeError("not an object")
    address, port = split_address(where.strip())
    ip = ipaddress.ip_address(address)
    if ip.is_loopback or ip.is_unspecified:
        raise ValueError("an address of no host; cutting it would cut what says that an address is withheld")
    values = dict(line)
    if len(values) != len(line):
        raise ValueError("says one thing twice")
    hashed_fingerprint(values["fingerprint"])
    distributor, transport = values.get("distributor"), values.get("transport")
    if not all(value is None or isinstance(value, str) for value in (distributor, transport)):
        raise TypeError("not a string")
    public = values.get("public", False)
    if not isinstance(public, bool):
        raise TypeError("neither true nor false")
    return Bridge(address, port, values["fingerprint"], distributor, transport, public)
