"""The HTTP family (df-001-httpt): requests and responses of every probe since 2012 in today's shape.

Today's shape of ``test_keys.requests``: a list of ``{request: {method, url, headers, headers_list, body,
tor: {is_tor, exit_ip, exit_name}}, response: {code, headers, headers_list, body}, response_length,
failure}``. ``headers`` maps a name to its first value; ``headers_list`` keeps every pair in its order.
"""

from __future__ import annotations

import itertools
from typing import Any

from ooni_pipeline.normalise.aside import free_key
from ooni_pipeline.normalise.source import Source
from ooni_pipeline.normalise.values import bounded
from ooni_pipeline.report.entry import OVERRULED

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
    if isinstance(test_keys.get("request"), dict) or isinstance(test_keys.get("response"), dict):
        # tor_http_requests had one of each, or one alone
        sessions = [*sessions, {key: test_keys.pop(key, None) for key in ("request", "response")}]
    test_keys["requests"] = experiment_first([_session(session) for session in bounded(sessions)])


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
    """One exchange. What today's shape has no place for is kept under ``legacy_<key>``, beside it."""
    if not isinstance(session, dict):
        return session
    session = dict(session)
    for part in ("request", "response"):
        message = session.get(part)
        if not isinstance(message, dict):  # no answer came; old probes wrote a sentence here
            _keep(session, part)
            message = {}
        session[part] = _with_headers(message)
    session["request"] = _through(session["request"])
    lengths = [value for name, value in session["response"]["headers_list"] if _is(name, "content-length")]
    if lengths:
        said = session.get("response_length")
        if not (isinstance(said, str) and said == lengths[0]):  # what is deep is not compared
            _keep(session, "response_length")
            session["response_length"] = lengths[0]
    session.setdefault("response_length", None)
    return session


def _with_headers(message: dict[str, Any]) -> dict[str, Any]:
    message = {"body": None, **message}
    headers, listed = message.get("headers"), message.get("headers_list")
    pairs, known = header_pairs(headers), header_pairs(listed)
    if not _are_headers(headers) or (known and pairs and not _are_the_same(pairs, known)):
        _keep(message, "headers")
    if not _are_headers(listed):
        _keep(message, "headers_list")
    mapping: dict[str, Any] = {}
    for name, value in pairs or known:
        if isinstance(name, str):
            mapping.setdefault(name, value)
    return {**message, "headers": mapping, "headers_list": known or pairs}


def _are_headers(headers: Any) -> bool:
    """Whether :func:`header_pairs` leaves nothing of it out."""
    if isinstance(headers, list):
        return all(isinstance(item, list) for item in headers)
    return headers is None or isinstance(headers, dict)


def _are_the_same(pairs: Headers, known: Headers) -> bool:
    """Whether plain pairs stand in the list of today's format; what is nested is not compared."""
    plain = (str, type(None))  # numbers can be made to have the same hash, many at a time
    if not all(isinstance(part, plain) for pair in (*pairs, *known) for part in pair):
        return False
    return {tuple(pair) for pair in pairs} <= {tuple(pair) for pair in known}


def _keep(mapping: dict[str, Any], key: str) -> None:
    """Keep what stands under ``key``, which is about to be replaced, under a key that is free."""
    if mapping.get(key) is not None:
        mapping[free_key(mapping, OVERRULED + key)] = mapping[key]


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
    by_url = isinstance(url, str) and url.startswith("shttp")
    is_tor = by_url or tor is True or said.get("is_tor") is True
    contradicts = by_url and (tor is False or said.get("is_tor") is False)
    unclear = not isinstance(tor, (dict, bool)) or not isinstance(said.get("is_tor"), (bool, type(None)))
    if contradicts or unclear:
        _keep(request, "tor")
    if isinstance(url, str) and by_url:
        url = url[1:] if url.startswith("shttp://") else url
    exits = {"is_tor": None, "exit_ip": None, "exit_name": None}
    return {**request, "url": url, "tor": {**exits, **said, "is_tor": is_tor}}


def _is(name: Any, lower_name: str) -> bool:
    return isinstance(name, str) and name.lower() == lower_name
