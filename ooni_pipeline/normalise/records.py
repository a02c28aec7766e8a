"""DNS records as Twisted printed them, taken apart without regular expressions: hostile text costs linear
time. Source: ``__str__`` of ``twisted.names.dns`` (RRHeader, Query and Record_*), the same from 8 to 26."""

from __future__ import annotations

from typing import Any

#: The fields of a printed record in their order, and what each is called in today's answers
#: (df-002-dnst), by type of record. Every record ends with ``ttl``, which the answer says already.
FIELDS: dict[str, dict[str, str]] = {
    "A": {"address": "ipv4"},
    "AAAA": {"address": "ipv6"},
    "AFSDB": {"subtype": "subtype", "hostname": "hostname"},
    "CNAME": {"name": "hostname"},
    "DNAME": {"name": "hostname"},
    "HINFO": {"cpu": "cpu", "os": "os"},
    "MX": {"preference": "preference", "name": "hostname"},
    "NAPTR": {
        "order": "order",
        "preference": "preference",
        "flags": "flags",
        "service": "service",
        "regexp": "regexp",
        "replacement": "hostname",
    },
    "NS": {"name": "hostname"},
    "PTR": {"name": "hostname"},
    "SOA": {
        "mname": "hostname",
        "rname": "responsible_name",
        "serial": "serial_number",
        "refresh": "refresh_interval",
        "retry": "retry_interval",
        "expire": "expiration_limit",
        "minimum": "minimum_ttl",
    },
    "SPF": {"data": "text"},
    "SRV": {"priority": "priority", "weight": "weight", "target": "hostname", "port": "port"},
    "TXT": {"data": "text"},
}
HEADER = ("name", "type", "class", "ttl", "auth")
#: The codes of the types that probes asked for; a query of another type is kept as it was printed.
TYPE_CODES = {
    "A": "1", "NS": "2", "CNAME": "5", "SOA": "6", "PTR": "12", "MX": "15", "TXT": "16", "AAAA": "28",
}  # fmt: skip


def answer_of(answer: Any, hostname: Any) -> Any:
    """A pair of printed records (the header and the payload) of an answer to the query for ``hostname``.

    All values are text, ``ttl`` its digits, as published data has had it since 2016. A payload that is
    not known is kept whole under ``payload``. What an answer mostly has in common with its query stands
    there only where it differs: ``name`` whose record it is (behind a CNAME), ``class``, ``auth`` (whether
    the server said that it is the authority), ``payload_ttl``. Anything but such a pair stays as it is.
    """
    if not (isinstance(answer, list) and len(answer) == 2 and all(isinstance(part, str) for part in answer)):
        return answer
    header, payload = answer
    head = fields_of(header, "RR", HEADER)
    if head is None or not head["ttl"].endswith("s"):
        return answer
    kind, ttl = head["type"], head["ttl"][:-1]
    told = {"answer_type": kind, "ttl": ttl}
    known = FIELDS.get(kind, {})
    said = fields_of(payload, kind, (*known, "ttl")) if known else None
    if said is None:
        told["payload"] = payload
    else:
        told |= {name: _digits(said[field]) for field, name in known.items()}
        if _digits(said["ttl"]) != ttl:
            told["payload_ttl"] = said["ttl"]
    usual = {"name": hostname, "class": "IN", "auth": "False"}
    return told | {field: head[field] for field, value in usual.items() if head[field] != value}


def fields_of(record: str, kind: str, names: tuple[str, ...]) -> dict[str, str] | None:
    """The values of a record that is printed as ``<kind name=value name=value>``, with these names in this
    order; None for any other text.

    All but the first are looked for from the end: what a server may say freely stands first. So every
    value is a part of the text, and together with the names they are all of it.
    """
    first, *others = names
    begin, end = len(f"<{kind} {first}="), len(record) - 1
    if not (record.startswith(f"<{kind} {first}=") and record.endswith(">")):
        return None
    fields: dict[str, str] = {}
    for name in reversed(others):
        start = record.rfind(f" {name}=", begin, end)
        if start < 0:
            return None
        fields[name] = record[start + len(name) + 2 : end]
        end = start
    return {first: record[begin:end], **fields}


def _digits(value: str) -> str:
    """Without the ``L`` that Python 2 printed behind a large number on machines of 32 bits."""
    return value[:-1] if value.endswith("L") and value[:-1].isdecimal() else value


def hostname_of(query: str) -> str | None:
    """The name in ``[Query('name', 1, 1)]``; None where there is none."""
    begin = query.find("Query(")
    if begin < 0:
        return None
    text = query[begin + len("Query(") :].removeprefix("b")
    quote = text[:1]
    if quote not in ("'", '"'):
        return None
    end = text.find(quote, 1)
    return text[1:end] if end > 0 else None


def says_no_more(query: str, hostname: Any, query_type: Any) -> bool:
    """Whether a printed query says nothing but these two."""
    if not (isinstance(hostname, str) and isinstance(query_type, str)):
        return False
    code = TYPE_CODES.get(query_type)
    return code is not None and query == f"[Query('{hostname}', {code}, 1)]" and "\\" not in query
