"""DNS records as Twisted printed them, read without regular expressions: hostile text costs linear time."""

from __future__ import annotations

from typing import Any

#: What a field of a printed record is called in today's answers (df-002-dnst), by type of record.
FIELDS: dict[str, dict[str, str]] = {
    "A": {"address": "ipv4"},
    "AAAA": {"address": "ipv6"},
    "CNAME": {"name": "hostname"},
    "NS": {"name": "hostname"},
    "PTR": {"name": "hostname"},
    "MX": {"preference": "preference", "name": "hostname"},
    "SRV": {"priority": "priority", "weight": "weight", "target": "hostname", "port": "port"},
    "SOA": {
        "mname": "hostname",
        "rname": "responsible_name",
        "serial": "serial_number",
        "refresh": "refresh_interval",
        "retry": "retry_interval",
        "expire": "expiration_limit",
        "minimum": "minimum_ttl",
    },
    "TXT": {"data": "text"},
    "SPF": {"data": "text"},
}


def answer_of(answer: Any) -> Any:
    """A pair of printed records (the header and the payload) as an answer; anything else as it is.

    Values are text, ``ttl`` its digits, as published data has had it since 2016. A payload of a type that
    is not known is kept whole under ``payload``.
    """
    if not (isinstance(answer, list) and len(answer) == 2 and all(isinstance(part, str) for part in answer)):
        return answer
    header, payload = answer
    head = fields_of(header)
    kind = head.get("type") or payload.strip().lstrip("<").partition(" ")[0].rstrip(">")
    told = {"answer_type": kind, "ttl": (head.get("ttl") or "").removesuffix("s")}
    known = FIELDS.get(kind)
    said = fields_of(payload)
    if known is None or not any(field in said for field in known):
        return {**told, "payload": payload}
    return {**told, **{name: said[field] for field, name in known.items() if field in said}}


def fields_of(record: str) -> dict[str, str]:
    """The ``key=value`` fields of a printed record. A value goes on until the next field begins, so that
    the spaces in a text record stay in it."""
    words = record.strip().removeprefix("<").removesuffix(">").split(" ")
    fields: dict[str, list[str]] = {}
    last: list[str] | None = None
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if equals and name.isascii() and name.isalpha() and name.islower() and not _inside_quotes(last):
            last = fields.setdefault(name, [])
            last.append(value)
        elif last is not None:
            last.append(word)
    return {name: " ".join(values) for name, values in fields.items()}


def _inside_quotes(value: list[str] | None) -> bool:
    """Whether a list of strings, as Python prints it, has begun and has not ended yet."""
    return value is not None and value[0].startswith("[") and not value[-1].endswith("]")


def hostname_of(query: str) -> str | None:
    """The name in ``[Query('name', 1, 1)]``; None where there is none."""
    begin = query.find("Query(")
    if begin < 0:
        return None
    text = query[begin + len("Query(") :].lstrip("bu")
    quote = text[:1]
    if quote not in ("'", '"'):
        return None
    end = text.find(quote, 1)
    return text[1:end] if end > 0 else None
