"""HTTP headers that say who the volunteer is: their values go, their names stay as evidence.

Proxies and operators write the volunteer's address, telephone number or SIM card into requests, and a
server that echoes requests gives them back. Only names on the list of :mod:`.settings` count: an address
in another header, Location or Via say, is what the network did. The addresses that such a header names go
from the body beside it too, and from nowhere else, for a censor may have written it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from fnmatch import translate
from typing import Any

from ooni_pipeline.report.json_lines import dumps, loads
from ooni_pipeline.report.nettests import canonical_test_name
from ooni_pipeline.sanitise.addresses import addresses_in
from ooni_pipeline.sanitise.cuts import SCRUBBED, Cuts, cut_everywhere
from ooni_pipeline.sanitise.search import OwnAddresses, Secrets
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import change_strings, plain_key, strings_in

#: Keys of a mapping under which headers stand, in every format and in the test helpers' echoes.
KEYS = ("headers", "headers_list", "headers_dict", "request_headers", "response_headers")
_ECHOES = tuple(f'"{key}"' for key in KEYS)
#: Nettests that talk to test helpers of ours, which echo what reached them.
OUR_HELPERS = ("http_host", "http_header_field_manipulation", "http_invalid_request_line")

#: A regular expression for their lines, whatever a probe wrote between the words of the name.
HELPER_LINES = '"test_name":"[^"]*(?:' + "|".join(OUR_HELPERS).replace("_", '[^"]') + ")"

#: What the name of a header consists of (RFC 9110, and spaces, of which there should be none).
_MORE = r"[!#$%&'*+.^_`|~0-9A-Za-z -]*"
_END = r'(?:\s|\\+[nrt])*\\*"'

#: A header in a request as it came: (its name and the colon, (the name)), (its value).
_RAW_HEADER = re.compile(
    r"^([ \t]*([^\s:]+)[ \t]*:[ \t]*)(?!\[scrubbed\]|\[REDACTED\])([^\s][^\r\n]*)", re.MULTILINE
)

_Matches = Callable[[str], object]


def lines(settings: Settings) -> bytes:
    """A regular expression for lines in which such a name may stand, in a key, a pair or an echo.

    It looks for a pattern's longest part without ``*`` and then, behind more of a name if there may be
    more, the end of a string: a quote, which has backslashes before it where JSON stands in a string.
    (Without that end, every body in base64 that holds the letters IMSI would have to be parsed.) Where
    our helpers echo requests as they came, as text, every line is looked at.
    """
    expressions = []
    for pattern in settings.headers:
        literal = max(re.split(r"[*?\[\]]", pattern), key=len)
        more = "" if pattern.endswith(literal) else _MORE
        expressions.append(re.escape(literal) + more + _END)
    return "|".join([*expressions, HELPER_LINES]).encode()


def scrub(entry: dict[str, Any], cuts: Cuts) -> None:
    """Scrub headers wherever they stand in the entry, and in bodies that are echoes of headers."""
    headers, echoed = _scrub(entry, _matcher(cuts.settings.headers))
    cuts.count("headers", headers)
    if canonical_test_name(entry.get("test_name")) in OUR_HELPERS:
        echoed += _scrub_texts(entry, cuts.settings.headers)
    cuts.count("echoed_headers", echoed)


def echoed_addresses(entry: dict[str, Any], patterns: tuple[str, ...]) -> set[str]:
    """The addresses in such headers of bodies that a helper of ours echoed."""
    found: set[str] = set()
    matches = _matcher(patterns)
    for text in strings_in(entry.get("test_keys")):
        for header in _RAW_HEADER.finditer(text):
            if matches(header[2]):
                found.update(addresses_in(header[3]))
        if any(name in text for name in _ECHOES):
            found.update(one for value in _named_in_json(text, matches) for one in addresses_in(value))
    return found


def _named_in_json(text: str, matches: _Matches) -> Iterator[str]:
    """The values of such headers in an echo that is JSON."""
    try:
        waiting: list[Any] = [loads(text)]
    except ValueError:
        return
    for container in waiting:
        if isinstance(container, dict):
            for key, value in container.items():
                if matches(key):
                    yield from strings_in(value)
            waiting += container.values()
        elif isinstance(container, list):
            if len(container) > 1 and isinstance(container[0], str) and matches(container[0]):
                yield from strings_in(container[1:])
            waiting += container


def _scrub_texts(entry: dict[str, Any], patterns: tuple[str, ...]) -> int:
    """Scrub headers in requests that were echoed as they came: lines of a name, a colon and a value."""
    matches, total = _matcher(patterns), 0

    def scrubbed(header: re.Match[str]) -> str:
        nonlocal total
        if not matches(header[2]):
            return header[0]
        total += 1
        return header[1] + SCRUBBED

    def change(text: str) -> str:
        return _RAW_HEADER.sub(scrubbed, text)

    if isinstance(entry.get("test_keys"), dict):
        change_strings(entry["test_keys"], change)
    return total


def _scrub(root: dict[str, Any] | list[Any], matches: _Matches) -> tuple[int, int]:
    """Scrub all headers below ``root``; how many there were, and how many more in echoes."""
    count = echoed = 0
    waiting: list[Any] = [root]
    for container in waiting:
        named: set[str] = set()
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, (dict, list)):
                waiting.append(value)
                if isinstance(key, str) and plain_key(key) in KEYS:
                    values = _scrub_headers(value, matches)
                    count += len(values)
                    named.update(one for text in strings_in(values) for one in addresses_in(text))
            elif key == "body" and isinstance(value, str) and any(name in value for name in _ECHOES):
                container[key], more = _scrub_echo(value, matches)
                echoed += more
        if named:
            echoed += _scrub_bodies(container, frozenset(named))
    return count, echoed


def _scrub_bodies(beside: dict[str, Any], addresses: frozenset[str]) -> int:
    """Cut addresses from the body of the request or response whose headers name them."""
    total = 0
    for key, value in beside.items():
        if plain_key(key) == "body" and value:
            body = {key: value}
            total += cut_everywhere(body, _secrets(addresses), SCRUBBED)
            beside[key] = body[key]
    return total


def _scrub_echo(body: str, matches: _Matches) -> tuple[str, int]:
    """A body without such values, which stays as it was written when there are none."""
    try:
        value = [loads(body)]
    except ValueError:  # no JSON
        return body, 0
    count = sum(_scrub(value, matches))
    return (dumps(value[0]), count) if count else (body, 0)


def _scrub_headers(headers: dict[str, Any] | list[Any], matches: _Matches) -> list[Any]:
    """Scrub a mapping of names to values, or a list of pairs; the values that were there."""
    values = []
    if isinstance(headers, dict):
        for name, value in headers.items():
            if matches(name) and not _is_scrubbed(value):
                values.append(value)
                headers[name] = _scrubbed(value)
        return values
    for pair in headers:
        if isinstance(pair, list) and len(pair) > 1 and isinstance(pair[0], str) and matches(pair[0]):
            for place in range(1, len(pair)):
                if not _is_scrubbed(pair[place]):
                    values.append(pair[place])
                    pair[place] = _scrubbed(pair[place])
    return values


def _is_scrubbed(value: Any) -> bool:
    """Whether nothing is there, or the client has already put a marker in its place."""
    values = value if isinstance(value, list) else [value]
    return all(one in (None, "", SCRUBBED, "[REDACTED]") for one in values)


def _scrubbed(value: Any) -> Any:
    return [SCRUBBED] * len(value) if isinstance(value, list) else SCRUBBED


@functools.lru_cache(maxsize=4)
def _matcher(patterns: tuple[str, ...]) -> _Matches:
    matches = re.compile("|".join(map(translate, patterns)), re.IGNORECASE).match
    return lambda name: matches(name.strip())


@functools.lru_cache(maxsize=16)
def _secrets(addresses: frozenset[str]) -> Secrets:
    return OwnAddresses(addresses)
