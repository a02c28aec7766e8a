"""The HTTP family (df-001-httpt): requests and responses of every probe since 2012 in today's shape.

Today's shape of ``test_keys.requests``: a list of ``{request: {method, url, headers, headers_list, body,
tor: {is_tor, exit_ip, exit_name}}, response: {code, headers, headers_list, body}, response_length,
failure}``. ``headers`` maps a name to its first value; ``headers_list`` keeps every pair in its order.
"""

from __future__ import annotations

import itertools
from typing import Any

from ooni_pipeline.normalise.source import Source

Headers = list[list[Any]]


def normalise(entry: dict[str, Any], source: Source) -> None:
    """Bring a legacy entry of this family into today's shape."""
    test_keys = entry["test_keys"]
    if entry.get("input") is None:
        entry["input"] = input_among(entry.get("options"))
    sessions = test_keys.get("requests")
    if not isinstance(sessions, list):
        sessions = [] if sessions is None else [sessions]
    sessions = _paired(test_keys, sessions)
    if test_keys.get("request") and test_keys.get("response"):  # tor_http_requests had one of each
        one = {"request": test_keys.pop("request"), "response": test_keys.pop("response")}
        sessions = [*sessions, one]
    test_keys["requests"] = experiment_first([_session(session) for session in sessions])


def _paired(test_keys: dict[str, Any], sessions: list[Any]) -> list[Any]:
    """The oldest probes wrote ``requests`` and ``responses``, as many of either: bring them together."""
    responses = test_keys.get("responses")
    if not isinstance(responses, list) or any(
        not isinstance(session, dict) or "request" in session or "response" in session for session in sessions
    ):
        return sessions
    del test_keys["responses"]
    return [
        {"request": request, "response": response}
        for request, response in itertools.zip_longest(sessions, responses)
    ]


def input_among(options: Any) -> str | None:
    """The URL that stands on the command line after ``-u``, else after ``--url``."""
    if not isinstance(options, list):
        return None
    for flag in ("-u", "--url"):
        if flag in options[:-1]:
            value = options[options.index(flag) + 1]
            return value if isinstance(value, str) else None
    return None


def experiment_first(requests: list[Any]) -> list[Any]:
    """The first request that did not go through Tor, the first that did, the others of either kind."""
    plain = [request for request in requests if not went_through_tor(request)]
    tor = [request for request in requests if went_through_tor(request)]
    return plain[:1] + tor[:1] + plain[1:] + tor[1:]


def went_through_tor(session: Any) -> bool:
    """Whether a normalised session is the control that was made through Tor."""
    request = session.get("request") if isinstance(session, dict) else None
    tor = request.get("tor") if isinstance(request, dict) else None
    return isinstance(tor, dict) and tor.get("is_tor") is True


def _session(session: Any) -> Any:
    """One exchange. What is no mapping where a message belongs is kept under ``legacy_<part>``."""
    if not isinstance(session, dict):
        return session
    session = dict(session)
    for part in ("request", "response"):
        message = session.get(part)
        if not isinstance(message, dict):  # no answer came; old probes wrote a sentence here
            if message is not None:
                session[f"legacy_{part}"] = message
            message = {}
        session[part] = _with_headers(message)
    session["request"] = _through(session["request"])
    length = [value for name, value in session["response"]["headers_list"] if _is(name, "content-length")]
    session["response_length"] = length[0] if length else session.get("response_length")
    return session


def _with_headers(message: dict[str, Any]) -> dict[str, Any]:
    pairs = header_pairs(message.get("headers"))
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if isinstance(name, str):
            mapping.setdefault(name, value)
    known = header_pairs(message.get("headers_list"))
    return {"body": None, **message, "headers": mapping, "headers_list": known or pairs}


def header_pairs(headers: Any) -> Headers:
    """Every name and value of headers in any of their shapes, in order, repeated ones included.

    Shapes: a list of ``[name, value]`` or ``[name, [value, …]]`` (the values of one name, nested once
    more by the oldest probes), or a mapping of name to value or values. A name without a value gets
    null. What is no header is left out.
    """
    items: list[Any] = []
    if isinstance(headers, dict):
        items = [list(item) for item in headers.items()]
    elif isinstance(headers, list):
        items = [item for item in headers if isinstance(item, list) and item]
    pairs: Headers = []
    for name, *values in items:
        while len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        pairs += [[name, value] for value in values or [None]]
    return pairs


def _through(request: dict[str, Any]) -> dict[str, Any]:
    """How the request travelled: ``shttp://`` meant through Tor before there was a ``tor`` key."""
    url, tor = request.get("url"), request.get("tor")
    said = tor if isinstance(tor, dict) else {}
    is_tor = tor is True or said.get("is_tor") is True
    if isinstance(url, str) and url.startswith("shttp"):
        is_tor = True
        url = url[1:] if url.startswith("shttp://") else url
    exits = {"is_tor": None, "exit_ip": None, "exit_name": None}
    return {**request, "url": url, "tor": {**exits, **said, "is_tor": is_tor}}


def _is(name: Any, lower_name: str) -> bool:
    return isinstance(name, str) and name.lower() == lower_name
