"""The HTTP family (df-001-httpt): requests and responses of every probe since 2012 in today's shape.

Today's shape of ``test_keys.requests``: a list of ``{request: {method, url, headers, headers_list, body,
tor: {is_tor, exit_ip, exit_name}}, response: {code, headers, headers_list, body}, response_length,
failure}``. ``headers`` maps a name to its first value; ``headers_list`` keeps every pair in its order.
"""

from __future__ import annotations

from typing import Any

from ooni_pipeline.normalise.source import Source

Headers = list[list[Any]]


def normalise(entry: dict[str, Any], source: Source) -> None:
    """Bring a legacy entry of this family into today's shape."""
    test_keys = entry["test_keys"]
    if entry.get("input") is None:
        entry["input"] = input_among(entry.get("options"))
    sessions = test_keys.get("requests")
    sessions = list(sessions) if isinstance(sessions, list) else []
    if test_keys.get("request") and test_keys.get("response"):  # tor_http_requests had one of each
        sessions.append({"request": test_keys.pop("request"), "response": test_keys.pop("response")})
    requests = [_session(session) for session in sessions]
    test_keys["requests"] = experiment_first(requests)


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
    if not isinstance(session, dict):
        return session
    session = dict(session)
    request, response = session.get("request"), session.get("response")
    if isinstance(request, dict):
        session["request"] = _with_headers(request)
        session["request"].update(_tor(request))
    else:
        session["request"] = {"body": None, "headers": {}, "headers_list": [], "url": None}
    if isinstance(response, dict):
        session["response"] = _with_headers(response)
    else:  # no answer came; old probes wrote a sentence here
        session["response"] = {"body": None, "headers": {}, "headers_list": []}
    length = [value for name, value in session["response"]["headers_list"] if _is(name, "content-length")]
    session["response_length"] = length[0] if length else session.get("response_length")
    return session


def _with_headers(message: dict[str, Any]) -> dict[str, Any]:
    pairs = header_pairs(message.get("headers"))
    known = header_pairs(message.get("headers_list"))
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        mapping.setdefault(str(name), value)
    return {"body": None, **message, "headers": mapping, "headers_list": known or pairs}


def header_pairs(headers: Any) -> Headers:
    """Every name and value of headers in any of their shapes, in order, repeated ones included.

    Shapes: a list of ``[name, value]`` or ``[name, [value, …]]`` (the values of one name, nested once
    more by the oldest probes), or a mapping of name to value or values. What is no header is left out.
    """
    if isinstance(headers, dict):
        items = list(headers.items())
    elif isinstance(headers, list):
        items = [(pair[0], pair[1]) for pair in headers if isinstance(pair, list) and len(pair) == 2]
    else:
        return []
    pairs: Headers = []
    for name, values in items:
        if isinstance(values, list) and len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        for value in values if isinstance(values, list) else [values]:
            pairs.append([name, value])
    return pairs


def _tor(request: dict[str, Any]) -> dict[str, Any]:
    """How the request travelled: ``shttp://`` meant through Tor before there was a ``tor`` key."""
    url, tor = request.get("url"), request.get("tor")
    said = tor if isinstance(tor, dict) else {}
    through = tor is True or said.get("is_tor") is True
    changed: dict[str, Any] = {}
    if isinstance(url, str) and url.startswith("shttp"):
        through = True
        if url.startswith("shttp://"):
            changed["url"] = url[1:]
    exits = {key: said.get(key) for key in ("exit_ip", "exit_name")} if through else {}
    changed["tor"] = {"is_tor": through, "exit_ip": None, "exit_name": None, **exits}
    return changed


def _is(name: Any, lower_name: str) -> bool:
    return isinstance(name, str) and name.lower() == lower_name
