"""Reading the HTTP exchanges of a normalised entry, whose every part may be missing or of a wrong type.

What cannot be read is passed over in silence: here nothing is lost by it, the entry itself is kept and
loaded as it is.
"""

from __future__ import annotations

import binascii
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from ooni_pipeline.fingerprints.charset import decode


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def direct_responses(test_keys: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The responses in ``test_keys.requests`` that did not come through Tor.

    In http_requests the exchange through Tor is the control: a block page there is the exit's country's.
    """
    for exchange in items(test_keys.get("requests")):
        response = mapping(mapping(exchange).get("response"))
        if response and not through_tor(mapping(exchange).get("request")):
            yield response


def through_tor(request: object) -> bool:
    """True if the request says ``tor: true`` or ``tor: {is_tor: true}``; silence means a direct one."""
    tor = mapping(request).get("tor")
    return tor is True or mapping(tor).get("is_tor") is True


def text(value: object) -> str | None:
    """A string, or the text of a ``{"format": "base64", "data": …}`` mapping; None for all else."""
    if isinstance(value, str):
        return value
    data = _base64(value)
    return None if data is None else decode(data)


def header_values(response: Mapping[str, Any], wanted: Container[str]) -> Iterator[tuple[str, str]]:
    """``(name in lower case, value)`` of each header whose lower-case name is in ``wanted``.

    Read from ``headers`` (name to value, or to a list of values) and from ``headers_list`` (pairs), as
    each may know values that the other lost; so one value may come twice.
    """
    headers = response.get("headers")
    # In an order of ours: jsonb has another than JSON, and the first charset counts.
    pairs: list[Any] = _sorted_names(headers, wanted) if isinstance(headers, Mapping) else items(headers)
    for pair in [*pairs, *items(response.get("headers_list"))]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            continue
        name = text(pair[0])
        if name is None or (lower := name.lower()) not in wanted:
            continue
        for value in pair[1] if isinstance(pair[1], list) else [pair[1]]:
            if (read := text(value)) is not None:
                yield lower, read


def _sorted_names(headers: Mapping[Any, Any], wanted: Container[str]) -> list[tuple[str, Any]]:
    return sorted(
        ((name, headers[name]) for name in headers if isinstance(name, str) and name.lower() in wanted),
        key=lambda pair: pair[0],
    )


def dns_answers(test_keys: Mapping[str, Any]) -> Iterator[str]:
    """What resolvers told the probe in ``test_keys.queries``: addresses and names, as :func:`as_answer`.

    Those of the control stand elsewhere, in ``test_keys.control``.
    """
    for query in items(test_keys.get("queries")):
        for answer in items(mapping(query).get("answers")):
            for key in ("ipv4", "ipv6", "hostname"):
                if isinstance(value := mapping(answer).get(key), str):
                    yield as_answer(value)


def as_answer(value: str) -> str:
    """An address or a name as it is compared: in lower case, a name without its last dot, an address of IPv6
    in its shortest form."""
    value = value.lower()
    if ":" in value:
        with suppress(ValueError):
            return ip_address(value).compressed
    return value.removesuffix(".")


def body_text(response: Mapping[str, Any]) -> str | None:
    """The body as text, or None if there is none that can be read."""
    body = response.get("body")
    if isinstance(body, str):
        return body
    data = _base64(body)
    if data is None:
        return None
    return decode(data, (value for _, value in header_values(response, ("content-type",))))


def _base64(value: object) -> bytes | None:
    parts = mapping(value)
    data = parts.get("data")
    if parts.get("format") != "base64" or not isinstance(data, str):
        return None
    # The second try forgives padding that was cut off with the body's end. Never adding it at once
    # spares a copy of a body that may have 64 MB.
    for padding in ("", "=="):
        with suppress(ValueError):  # not base64, or not even ASCII
            return binascii.a2b_base64(data + padding if padding else data)
    return None
