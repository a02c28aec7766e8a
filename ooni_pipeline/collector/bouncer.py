"""The bouncer: which collector and which test helpers a probe is sent to, from the lines of ``[bouncer]``.

Pure: a parsed request goes in, the answer comes out, both as plain JSON values. Every collector takes every
test (there is no policy), so the answer is the same for all probes but for onion addresses: the probes that
ask this way are old, and ooniprobe 2.3.0 knows an onion address by its 16 characters. Of the 56 that such
addresses have today it says that they are none, and runs no test at all. So these are told to who came by
one (:meth:`Bouncer.told_to`), and to all when there is nothing else. The lists of today name everything. What
a probe said comes back only where it has the shape of what it should be; what it said is in no error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.errors import ConfigurationError, PipelineError

#: Of one request: so many tests, test helpers of one test, and input hashes of one test.
MAX_TESTS, MAX_HELPERS, MAX_HASHES = 64, 32, 1024

ONION = "onion"
CLOUDFRONT = "cloudfront"
#: What clients of old know without asking: host:port, or a URL.
LEGACY = "legacy"
_COLLECTOR_TYPES = (ONION, "https", CLOUDFRONT, "http")
_HELPER_TYPES = (LEGACY, *_COLLECTOR_TYPES)

_PORT = r"(?::\d{1,5})?"
_HOST = rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{{0,253}}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{{2,45}}\]){_PORT}"
_PATH = r"(?:/[A-Za-z0-9._~/-]{0,200})?"
_ONION_HOST = re.compile(rf"(?:httpo://|http://)?((?:[a-z2-7]{{16}}|[a-z2-7]{{56}})\.onion{_PORT})/?")
#: An onion address of today, in what is told of it or in the Host of a request.
_LONG_ONION = re.compile(
    rf"(?:https?://|httpo://)?(?:[a-z0-9-]+\.)*[a-z2-7]{{56}}\.onion{_PORT}(?:/.*)?", re.IGNORECASE
)
_FRONT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
#: type -> what its address must be, and how that is told.
_ADDRESSES = {
    "https": (re.compile(rf"https://{_HOST}{_PATH}"), "https://HOST"),
    CLOUDFRONT: (re.compile(rf"https://{_HOST}{_PATH}"), "https://HOST"),
    "http": (re.compile(rf"http://{_HOST}{_PATH}"), "http://HOST"),
    LEGACY: (re.compile(rf"(?:(?:https?|httpo)://)?{_HOST}{_PATH}"), "HOST:PORT or a URL"),
}

#: What each part of a request must be, as a whole and in ASCII; openapi.json shows them too.
PATTERNS = {
    "name": r"[A-Za-z0-9_ -]{1,100}",
    "version": r"[A-Za-z0-9_.+-]{1,100}",
    "input-hash": r"[0-9a-fA-F]{64}",
    "test-helper": r"[A-Za-z0-9_-]{1,100}",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


class BouncerRefusalError(PipelineError):
    """A request that the bouncer cannot answer: the HTTP status and the text for the probe."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Service:
    """Where a collector or a test helper is: its type, its address, and the front of a cloudfront one."""

    type: str
    address: str
    front: str | None = None

    def told(self) -> dict[str, str]:
        """As probes read it: ``{"type", "address"}``, and ``"front"`` where there is one."""
        told = {"type": self.type, "address": self.address}
        return told if self.front is None else {**told, "front": self.front}


@dataclass(frozen=True)
class Bouncer:
    """What ``[bouncer]`` says: the collectors, and each test helper by its name, as they are listed."""

    collectors: tuple[Service, ...] = ()
    test_helpers: Mapping[str, tuple[Service, ...]] = field(default_factory=dict)

    def told_to(self, host: str | None) -> Bouncer:
        """What an old probe may hear of it, by the name that it asked (the Host of its request)."""
        if host is not None and _LONG_ONION.fullmatch(host):
            return self
        return Bouncer(
            _known_of_old(self.collectors),
            {name: _known_of_old(services) for name, services in self.test_helpers.items()},
        )

    def told_collectors(self) -> list[dict[str, str]]:
        """GET /api/v1/collectors."""
        return [service.told() for service in self.collectors]

    def told_test_helpers(self) -> dict[str, list[dict[str, str]]]:
        """GET /api/v1/test-helpers."""
        return {name: [one.told() for one in services] for name, services in self.test_helpers.items()}

    def helper_address(self, name: object) -> str:
        """Where a test helper is, for those who know one address alone; 404 when it is not known."""
        return _first(self._helper(name), LEGACY).address

    def net_tests(self, request: object) -> dict[str, Any]:
        """POST /bouncer/net-tests: the collector and the test helpers of each test that is asked for."""
        tests = _listed(_asked(request, "net-tests"), MAX_TESTS)
        return {"net-tests": [self._net_test(test) for test in tests]}

    def test_helpers_of(self, request: object) -> dict[str, Any]:
        """POST /bouncer/test-helpers: each helper that is asked for, with its collector, and the default."""
        names = _listed(_asked(request, "test-helpers"), MAX_HELPERS)
        collector = self._collector()
        answer: dict[str, Any] = {
            str(name): {"address": self.helper_address(name), "collector": collector} for name in names
        }
        return {**answer, "default": {"collector": collector}}

    def either(self, request: object) -> dict[str, Any]:
        """POST /bouncer: whichever of the two the request has the key of; the tests where it has both."""
        if isinstance(request, dict) and "net-tests" in request:
            return self.net_tests(request)
        return self.test_helpers_of(request)

    def _net_test(self, test: object) -> dict[str, Any]:
        if not isinstance(test, dict):
            raise _invalid()
        helpers = _listed(test.get("test-helpers"), MAX_HELPERS)
        hashes = _listed(test.get("input-hashes"), MAX_HASHES)
        answer: dict[str, Any] = {
            "name": _shaped(test.get("name"), "name"),
            "version": _shaped(test.get("version"), "version"),
            "input-hashes": [_shaped(one, "input-hash") for one in hashes],
            "test-helpers": {str(name): self.helper_address(name) for name in helpers},
            "test-helpers-alternate": {
                str(name): others for name in helpers if (others := _others(self._helper(name), LEGACY))
            },
        }
        collector = self._collector()
        return {**answer, "collector": collector, "collector-alternate": _others(self.collectors, ONION)}

    def _collector(self) -> str:
        """The one for who reads one address alone: the onion service, else the first."""
        if not self.collectors:
            raise BouncerRefusalError(404, "collector-not-found")
        return _first(self.collectors, ONION).address

    def _helper(self, name: object) -> tuple[Service, ...]:
        services = self.test_helpers.get(_shaped(name, "test-helper"))
        if services is None:
            raise BouncerRefusalError(404, "test-helper-not-found")
        return services


def parse_bouncer(collectors: str, test_helpers: str) -> Bouncer:
    """The two options of ``[bouncer]``, one service a line; :class:`ConfigurationError` names the line.

    ``collectors``: ``TYPE ADDRESS [FRONT]``, TYPE one of onion, https, cloudfront (which wants a FRONT) and
    http (for trying). ``test_helpers``: ``NAME TYPE ADDRESS [FRONT]``, TYPE also legacy; a name may have
    several lines. Onion addresses come out as ``httpo://….onion``, which is how probes know them.
    """
    services = [_service(words, _COLLECTOR_TYPES, place) for place, words in _lines("collectors", collectors)]
    helpers: dict[str, tuple[Service, ...]] = {}
    for place, (name, *words) in _lines("test_helpers", test_helpers):
        if not _PATTERNS["test-helper"].fullmatch(name):
            raise ConfigurationError(f"{place}: the name of a test helper has letters, digits, - and _ only")
        if name == "default":
            raise ConfigurationError(
                f"{place}: no test helper can be called default: probes read it otherwise"
            )
        helpers[name] = (*helpers.get(name, ()), _service(words, _HELPER_TYPES, place))
    return Bouncer(tuple(services), helpers)


def _known_of_old(services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Without the onion addresses of today, unless there are no others."""
    return tuple(one for one in services if not _LONG_ONION.fullmatch(one.address)) or services


def _first(services: tuple[Service, ...], old: str) -> Service:
    """The one for who reads one address alone: of the type that probes of old know, else the first."""
    return next((service for service in services if service.type == old), services[0])


def _others(services: tuple[Service, ...], old: str) -> list[dict[str, str]]:
    """Those for who chooses by type: without the first where it is ``old``, which is told apart from them, as
    the genuine bouncer did. One of another type stays: measurement-kit looks for https here alone."""
    first = _first(services, old)
    return [one.told() for one in services if one is not first or one.type != old]


def _lines(option: str, text: str) -> list[tuple[str, list[str]]]:
    """The words of each line that has any, with its place for errors."""
    numbered = enumerate(text.strip().splitlines(), 1)
    return [(f"[bouncer] {option}, line {number}", line.split()) for number, line in numbered if line.strip()]


def _service(words: list[str], types: tuple[str, ...], place: str) -> Service:
    kinds = f"{', '.join(types[:-1])} or {types[-1]}"
    if not words or words[0] not in types:
        raise ConfigurationError(f"{place}: the type must be {kinds}")
    kind, *rest = words
    if len(rest) != (2 if kind == CLOUDFRONT else 1):
        front = " and its front" if kind == CLOUDFRONT else ""
        raise ConfigurationError(f"{place}: {kind} wants its address{front}, and nothing else")
    address = rest[0]
    if kind == ONION:
        onion = _ONION_HOST.fullmatch(address)
        if onion is None:
            raise ConfigurationError(f"{place}: the address of an onion service is httpo://….onion")
        return Service(kind, f"httpo://{onion[1]}")
    pattern, told = _ADDRESSES[kind]
    if not pattern.fullmatch(address):
        raise ConfigurationError(f"{place}: the address of type {kind} must be {told}")
    if kind == CLOUDFRONT and not _FRONT.fullmatch(rest[1]):
        raise ConfigurationError(f"{place}: the front is the name of a host")
    return Service(kind, address, rest[1] if kind == CLOUDFRONT else None)


def _asked(request: object, key: str) -> object:
    if not isinstance(request, dict):
        raise _invalid()
    if key not in request:
        raise BouncerRefusalError(400, "test-helpers-or-net-test-key-missing")
    return request[key]


def _listed(value: object, most: int) -> list[object]:
    """A list that is not too long; null is an empty one, as old clients say it."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most:
        raise _invalid()
    return value


def _shaped(value: object, part: str) -> str:
    if not isinstance(value, str) or not _PATTERNS[part].fullmatch(value):
        raise _invalid()
    return value


def _invalid() -> BouncerRefusalError:
    return BouncerRefusalError(400, "invalid-request")
