"""The settings of the service, as plain values, and what is wrong with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
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
    listen: str = "127.0.0.1:8080"
    admin_listen: str = "127.0.0.1:9100"
    trusted_proxies: str = "127.0.0.1 ::1"
    stale_seconds: int = 3600
    keep_free_mb: int = 500
    body_limit_mb: int = 20
    bodies_mb: int = 200
    connections: int = 2000
    open_reports: int = 20000
    open_reports_per_address: int = 200
    requests_per_second: int = 10000
    requests_per_second_per_address: int = 50
    head_timeout: int = 20
    pause_timeout: int = 30
    body_timeout: int = 300
    keep_alive_timeout: int = 75
    stop_timeout: int = 10

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


_NUMBERS = (
    "stale_seconds", "keep_free_mb", "body_limit_mb", "bodies_mb", "connections", "open_reports",
    "open_reports_per_address", "requests_per_second", "requests_per_second_per_address", "head_timeout",
    "pause_timeout", "body_timeout", "keep_alive_timeout", "stop_timeout",
)  # fmt: skip


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
