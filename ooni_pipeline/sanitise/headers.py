"""HTTP headers that say who the volunteer is: their values go, their names stay as evidence.

Proxies and operators write the volunteer's address, telephone number or SIM card into requests, and a
server that echoes requests gives them back. Only names on the list of :mod:`.settings` count: an address
in another header, Location or Via say, is what the network did.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from fnmatch import translate
from typing import Any

from ooni_pipeline.report.json_lines import dumps, loads
from ooni_pipeline.sanitise.cuts import Cuts
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import plain_key

MARKER = "[scrubbed]"

#: Keys of a mapping under which headers stand, in every format and in the test helpers' echoes.
_KEYS = ("headers", "headers_list", "headers_dict", "request_headers", "response_headers")
_ECHOES = ('"headers_dict"', '"request_headers"')

#: What the name of a header consists of (RFC 9110, and spaces, of which there should be none).
_MORE = r"[!#$%&'*+.^_`|~0-9A-Za-z -]*"
_END = r'(?:\s|\\+[nrt])*\\*"'

_Matches = Callable[[str], object]


def lines(settings: Settings) -> bytes:
    """A regular expression for lines in which such a name may stand, in a key, a pair or an echo.

    It looks for a pattern's longest part without ``*`` and then, behind more of a name if there may be
    more, the end of a string: a quote, which has backslashes before it where JSON stands in a string.
    (Without that end, every body in base64 that holds the letters IMSI would have to be parsed.)
    """
    expressions = []
    for pattern in settings.headers:
        literal = max(re.split(r"[*?\[\]]", pattern), key=len)
        more = "" if pattern.endswith(literal) else _MORE
        expressions.append(re.escape(literal) + more + _END)
    return "|".join(expressions).encode()


def scrub(entry: dict[str, Any], cuts: Cuts) -> None:
    """Scrub headers wherever they stand in the entry, and in bodies that are JSON echoes of headers."""
    headers, echoed = _scrub(entry, _matcher(cuts.settings.headers))
    cuts.count("headers", headers)
    cuts.count("echoed_headers", echoed)


def _scrub(root: dict[str, Any] | list[Any], matches: _Matches) -> tuple[int, int]:
    """Scrub all headers below ``root``; how many there were, and how many more in echoes."""
    count = echoed = 0
    waiting: list[Any] = [root]
    for container in waiting:
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, (dict, list)):
                waiting.append(value)
                if isinstance(key, str) and plain_key(key) in _KEYS:
                    count += _scrub_headers(value, matches)
            elif key == "body" and isinstance(value, str) and any(name in value for name in _ECHOES):
                container[key], more = _scrub_echo(value, matches)
                echoed += more
    return count, echoed


def _scrub_echo(body: str, matches: _Matches) -> tuple[str, int]:
    """A body without such values, which stays as it was written when there are none."""
    try:
        value = [loads(body)]
    except ValueError:  # no JSON
        return body, 0
    count = sum(_scrub(value, matches))
    return (dumps(value[0]), count) if count else (body, 0)


def _scrub_headers(headers: dict[str, Any] | list[Any], matches: _Matches) -> int:
    """Scrub a mapping of names to values, or a list of pairs."""
    count = 0
    if isinstance(headers, dict):
        for name, value in headers.items():
            if matches(name) and not _is_scrubbed(value):
                headers[name] = _scrubbed(value)
                count += 1
        return count
    for pair in headers:
        if isinstance(pair, list) and len(pair) > 1 and isinstance(pair[0], str) and matches(pair[0]):
            for place in range(1, len(pair)):
                if not _is_scrubbed(pair[place]):
                    pair[place] = _scrubbed(pair[place])
                    count += 1
    return count


def _is_scrubbed(value: Any) -> bool:
    """Whether nothing is there, or the client has already put a marker in its place."""
    values = value if isinstance(value, list) else [value]
    return all(one in (None, "", MARKER, "[REDACTED]") for one in values)


def _scrubbed(value: Any) -> Any:
    return [MARKER] * len(value) if isinstance(value, list) else MARKER


@functools.lru_cache(maxsize=4)
def _matcher(patterns: tuple[str, ...]) -> _Matches:
    matches = re.compile("|".join(map(translate, patterns)), re.IGNORECASE).match
    return lambda name: matches(name.strip())
