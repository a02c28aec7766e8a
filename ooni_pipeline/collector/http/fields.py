"""What a create request says, checked: reference/collector.md, 1.3, with limits of length.

Patterns are whole matches of ASCII. What a client does not say is filled in as oonib did.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Literal

from ooni_pipeline.collector.header import ReportHeader
from ooni_pipeline.collector.http.answers import RefusedError, invalid, missing
from ooni_pipeline.collector.http.json_text import Members
from ooni_pipeline.report.names import UNKNOWN_ASN, UNKNOWN_CC, UNKNOWN_VERSION

Format = Literal["json", "yaml"]

_NAME = r"[A-Za-z0-9_ -]{1,100}"
_VERSION = r"[A-Za-z0-9_.+-]{1,100}"
#: As in luigi.cfg, openapi.json and answers: the pattern of each field that has one.
PATTERNS = {
    "software_name": _NAME,
    "software_version": _VERSION,
    "test_name": _NAME,
    "test_version": _VERSION,
    "probe_asn": r"AS[0-9]{1,10}",
    "probe_cc": r"[A-Z]{2}",
    "data_format_version": _VERSION,
    "test_helper": r"[A-Za-z0-9_-]{1,100}",
    "report_id": r"[A-Za-z0-9_-]{1,128}",
}
REQUIRED = ("software_name", "software_version", "test_name", "test_version")
#: What stands in the place of one that is missing, null or empty.
DEFAULTS = {
    "probe_asn": UNKNOWN_ASN,
    "probe_cc": UNKNOWN_CC,
    "data_format_version": UNKNOWN_VERSION,
}
LONGEST_TIME, MOST_HASHES = 64, 10_000
LONGEST_HEADER = 1024 * 1024
_PATTERNS = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
_HASH = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def report_header(sent: Members, now: float) -> ReportHeader:
    """The header of a report from a create request at ``now`` (seconds of the epoch). Raises RefusedError."""
    required = {name: _required(sent, name) for name in REQUIRED}
    _refuse_leaker(required)
    optional = {name: _optional(sent, name) or default for name, default in DEFAULTS.items()}
    return ReportHeader(
        **required,
        **optional,
        test_start_time=_start_time(sent) or time_text(now),
        format=format_of(sent) or "yaml",
        input_hashes=_hashes(sent),
        content=_header_text(sent),
    )


def measurement_header(entry: Members, now: float) -> ReportHeader:
    """The header of a report of one JSON entry, from what the entry says of itself. Raises RefusedError."""
    required = {name: _required(entry, name) for name in REQUIRED}
    _refuse_leaker(required)
    return ReportHeader(
        **required,
        **{name: _optional(entry, name) or default for name, default in DEFAULTS.items()},
        test_start_time=_start_time(entry) or time_text(now),
        format="json",
        input_hashes=_hashes(entry),
    )


def format_of(sent: Members) -> Format | None:
    """The ``format`` of a request; None where it says none."""
    if _is_nothing(sent, "format"):
        return None
    found = sent.get("format")
    if found == "json":
        return "json"
    if found == "yaml":
        return "yaml"
    raise RefusedError(400, "invalid-format-field")


def test_helper(sent: Members) -> str | None:
    """The test helper whose address a create request asks for."""
    return _optional(sent, "test_helper")


def report_id(sent: Members) -> str:
    """The report that an update of the first generation names."""
    return _required(sent, "report_id")


def is_report_id(text: str) -> bool:
    """Whether ``text`` has the shape of a report's id. One of another shape never reaches the disk."""
    return bool(_PATTERNS["report_id"].fullmatch(text))


def json_entry(sent: Members, report: str) -> bytes:
    """The entry of an update in JSON, as sent. Raises RefusedError for one of another report."""
    if "content" not in sent:
        raise missing("content")
    if sent.inner is None:
        raise invalid("content")
    for name, said in sent.inner.all:
        # null and an empty id say nothing
        if name == "report_id" and said.value != report and not sent.inner.says_nothing(said):
            raise invalid("report_id")
    return sent.cut("content")


def yaml_entry(sent: Members) -> bytes:
    """The text of an update in YAML, as sent. Half a pair of surrogates, which UTF-8 cannot hold, becomes
    U+FFFD."""
    if "content" not in sent:
        raise missing("content")
    text = sent.get("content")
    if not isinstance(text, str):
        raise invalid("content")
    return _SURROGATE.sub("\ufffd", text).encode()


def time_text(seconds: float) -> str:
    """A time of the epoch as reports say it, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _is_nothing(sent: Members, name: str) -> bool:
    return sent.kind(name) in ("", "n") or sent.get(name) == ""


def _required(sent: Members, name: str) -> str:
    if sent.kind(name) in ("", "n"):
        raise missing(name)
    return _matching(sent, name)


def _optional(sent: Members, name: str) -> str | None:
    return None if _is_nothing(sent, name) else _matching(sent, name)


def _matching(sent: Members, name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str) or not _PATTERNS[name].fullmatch(value):
        raise invalid(name)
    return value


def _refuse_leaker(said: dict[str, str]) -> None:
    """ooniprobe-android 2.0.0 published what it should not: its reports are not even taken."""
    if said["software_name"] == "ooniprobe-android" and re.fullmatch(
        r"2\.0\.0(-.*)?", said["software_version"]
    ):
        raise invalid("software_version")


def _start_time(sent: Members) -> str | None:
    if _is_nothing(sent, "test_start_time"):
        return None
    value = sent.get("test_start_time")
    if not isinstance(value, str) or len(value) > LONGEST_TIME or _SURROGATE.search(value):
        raise invalid("test_start_time")
    return value


def _hashes(sent: Members) -> tuple[str, ...]:
    if _is_nothing(sent, "input_hashes"):
        return ()
    value = sent.get("input_hashes")
    if not isinstance(value, list) or len(value) > MOST_HASHES:
        raise invalid("input_hashes")
    if not all(isinstance(one, str) and _HASH.fullmatch(one) for one in value):
        raise invalid("input_hashes")
    return tuple(value)


def _header_text(sent: Members) -> str | None:
    """The header document of a YAML client. One of JSON sends none; what it sends is not looked at."""
    if format_of(sent) == "json" or _is_nothing(sent, "content"):
        return None
    value = sent.get("content")
    if not isinstance(value, str) or len(value) > LONGEST_HEADER or _SURROGATE.search(value):
        raise invalid("content")
    return value
