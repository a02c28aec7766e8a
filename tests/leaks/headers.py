"""HTTP headers whose values say who the volunteer is, wherever an entry keeps headers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

#: Written down from the issue, not read from the pipeline's own file.
LISTED = (
    *("x-your-address-is", "x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip", "client-ip"),
    *("true-client-ip", "cf-connecting-ip", "x-up-*", "x-wap-*", "x-nokia-*", "*msisdn*", "*imsi*"),
)
#: Keys under which headers stand, in every format and in the echoes of test helpers.
KEYS = ("headers", "headers_list", "headers_dict", "request_headers", "response_headers")
#: What stands where something was cut.
MARKERS = frozenset({"", "[scrubbed]", "[REDACTED]"})
_OVERRULED = re.compile(r"(?:legacy_)+")


def plain_key(key: str) -> str:
    """A key without what says that another value overruled this one."""
    return _OVERRULED.sub("", key, count=1) if key.startswith("legacy_") else key


def is_listed(name: object) -> bool:
    return isinstance(name, str) and any(fnmatchcase(name.strip().lower(), pattern) for pattern in LISTED)


def listed_values(holder: dict[str, Any]) -> Iterator[Any]:
    """The values of listed headers in all the headers that a mapping holds."""
    for key, headers in holder.items():
        if plain_key(key) not in KEYS:
            continue
        if isinstance(headers, dict):
            yield from (value for name, value in headers.items() if is_listed(name))
        elif isinstance(headers, list):
            for pair in headers:
                if isinstance(pair, list) and len(pair) > 1 and is_listed(pair[0]):
                    yield from pair[1:]


def is_scrubbed(value: Any) -> bool:
    """Whether nothing but markers is left of a value."""
    if isinstance(value, dict):
        return not value
    if isinstance(value, list):
        return all(map(is_scrubbed, value))
    return value is None or value in MARKERS


def echo_in(body: Any) -> dict[str, Any] | None:
    """What a test helper says that it received: its body is JSON with the request's headers."""
    if not isinstance(body, str) or not ("headers_dict" in body or "request_headers" in body):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
