"""The settings of the service, as plain values, and what is wrong with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

MB = 1024 * 1024
#: A week, and a number that nobody means: more is a mistake.
_LONGEST, _MOST = 7 * 24 * 3600, 10_000_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class CollectorSettings:
    """[collector] of luigi.cfg; each field is the option of that name. Times in seconds.

    ``listen`` and ``admin_listen`` are ``address:port`` (port 0: any that is free), ``trusted_proxies`` are
    addresses and networks with white space between them.
    """

    directory: Path
    listen: str
    admin_listen: str
    trusted_proxies: str
    stale_seconds: int
    keep_free_mb: int
    body_limit_mb: int
    bodies_mb: int
    connections: int
    open_reports: int
    open_reports_per_address: int
    requests_per_second: int
    requests_per_second_per_address: int
    head_timeout: int
    pause_timeout: int
    body_timeout: int
    keep_alive_timeout: int
    stop_timeout: int

    @property
    def body_limit(self) -> int:
        """Bytes of the largest request."""
        return self.body_limit_mb * MB

    def proxies(self) -> tuple[Network, ...]:
        """The networks whose X-Forwarded-For is believed. Raises ValueError for what is none."""
        return tuple(ipaddress.ip_network(place) for place in self.trusted_proxies.replace(",", " ").split())

    def faults(self) -> Iterator[str]:
        """A line for each option that cannot be, with its name."""
        if not self.directory.is_absolute():
            yield "[collector] directory is no absolute directory"
        for option in ("listen", "admin_listen"):
            try:
                address_and_port(getattr(self, option))
            except ValueError as error:
                yield f"[collector] {option} {error}"
        try:
            self.proxies()
        except ValueError:
            yield "[collector] trusted_proxies holds something that is no address and no network"
        least = {"keep_free_mb": 0, "bodies_mb": self.body_limit_mb}
        for option in _NUMBERS:
            value = getattr(self, option)
            most = _LONGEST if option.endswith(("_seconds", "_timeout")) else _MOST
            if not least.get(option, 1) <= value <= most:
                yield f"[collector] {option} is not between {least.get(option, 1)} and {most}"


_NUMBERS = tuple(option.name for option in fields(CollectorSettings) if option.type == "int")


def address_and_port(place: str) -> tuple[str, int]:
    """``127.0.0.1:8080`` or ``[::1]:8080`` in two. Raises ValueError, which says what it is not."""
    host, colon, port = place.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError("is no address:port, such as 127.0.0.1:8080 or [::1]:8080") from None
    if not colon or (address.version == 6) != (bare != host):
        raise ValueError("is no address:port, such as 127.0.0.1:8080 or [::1]:8080")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("has no port between 0 and 65535")
    return bare, int(port)
