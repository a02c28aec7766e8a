"""The names of report files: every form that there ever was is read, one is written.

Source: reference/report-files.md, section 2; its letters name the forms here too.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.nettests import INVALID

JSON_SUFFIXES = frozenset((".json", ".njson", ".jsonl"))
YAML_SUFFIXES = frozenset((".yaml", ".yamloo"))
#: What a file system takes, and so the longest name that is read or written, in bytes.
MAX_NAME_BYTES = 255
NO_REPORT_ID = "no_report_id"
UNKNOWN_ASN = "AS0"
UNKNOWN_CC = "ZZ"
UNKNOWN_VERSION = "0.1.0"
#: A report id is cut to this before it is marked, so that the mark is never what is cut off (at 128).
_MARKED_ID = 119
_UNKNOWN_TIME = "19700101T000000"
_COMPACT = "%Y%m%dT%H%M%S"


@dataclass(frozen=True)
class ReportName:
    """What the name of a report tells.

    ``start_time`` is naive UTC, None when the name says the Unix epoch, which stands for a missing one.
    ``test_name`` is as in the name, not the canonical one. ``probe_asn`` is ``AS`` and digits, ``AS0``
    unknown; ``probe_cc`` two capitals, ``ZZ`` unknown. ``report_id`` and ``data_format_version`` are
    None when the name has none. ``extension`` is the format, whatever the file's own ending.
    """

    start_time: datetime | None
    test_name: str
    report_id: str | None
    probe_asn: str
    probe_cc: str
    data_format_version: str | None
    extension: Literal["json", "yaml"]
    compressed: bool


_TIME = r"(?P<time>[0-9]{8}T[0-9]{6})Z?"
_DASHED = r"(?P<dashed>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6})Z?"
_ASN = r"(?P<asn>AS(?:[0-9]{1,10}|X)?)"
_CC = r"(?P<cc>[A-Za-z]{2}|\?\?)"
_VERSION = r"(?P<version>[0-9]{1,3}(?:\.[0-9]{1,3}){0,3})"
_TEST = r"(?P<test>tls-handshake|(?!tls-handshake-)[^-]+)"
_TITLE = r"(?P<test>[^-](?:.*[^-])?)"  # may hold dashes: tls-handshake
_ID = r"(?P<id>(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T)?[^-]+)"  # old ones begin with a dashed time

#: Written by us, without Z, and by collectors since 2016-02-05 (D). D and I both have seven fields; the
#: word "probe" is the sixth here and the last in I.
_WRITTEN = rf"{_TIME}-{_TEST}-{_ID}-{_ASN}-{_CC}-probe-{_VERSION}"
_PIPELINE_2016 = rf"{_TIME}-{_CC}-{_ASN}-{_TEST}-{_ID}-{_VERSION}-probe"  # I
_COLLECTOR_2016_01 = rf"{_TIME}-{_TEST}-{_ASN}-{_CC}-probe-{_VERSION}"  # C, for ten days
_PIPELINE_2015 = rf"{_TIME}-{_ASN}-{_TITLE}-v1-probe"  # H
_COLLECTOR_2013 = rf"{_TITLE}-{_DASHED}-{_ASN}-probe"  # A and B; the country is the directory, if any
_ARCHIVER = rf"{_TITLE}-{_DASHED}-{_ASN}(?:\.[0-9]{{1,6}})?"  # E; the country is the directory
_LOCAL = rf"report-{_TIME}-{_CC}-{_ASN}-{_TITLE}"  # F, later
_LOCAL_2013 = rf"report-{_TITLE}-{_DASHED}"  # F
_FORMS = tuple(
    re.compile(form)
    for form in (
        _WRITTEN,
        _PIPELINE_2016,
        _COLLECTOR_2016_01,
        _PIPELINE_2015,
        _COLLECTOR_2013,
        _LOCAL,
        _LOCAL_2013,
        _ARCHIVER,
    )
)
_SUFFIX = re.compile(r"(\.(?:json|njson|jsonl|yaml|yamloo))(\.gz)?")
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
_NOT_IN_A_FIELD = re.compile(r"[^0-9A-Za-z_.]")


def parse_report_name(path: str) -> ReportName:
    """What the file name at the end of ``path`` tells; a directory may name the country (form A).

    Raises BadReport NAME_NOT_UNDERSTOOD, with a detail that quotes nothing: also for a path with ``..``,
    and for names with control characters, backslashes or bytes that are no UTF-8.
    """
    *folders, name = path.split("/")
    if ".." in folders or _NEVER.search(path):
        raise _not_understood("'..' or a character that no name may have")
    if not name or len(name.encode()) > MAX_NAME_BYTES:
        raise _not_understood(f"empty or over {MAX_NAME_BYTES} bytes")
    stem, dot, rest = name.rpartition(".gz")
    plain = stem if dot and not rest else name
    stem, dot, ending = plain.rpartition(".")
    suffix = _SUFFIX.fullmatch(dot + ending)
    if not suffix:
        raise _not_understood("the ending is not json, njson, jsonl, yaml or yamloo, with or without .gz")
    if re.search(r"-backend(?:\.|-|$)", stem):
        raise _not_understood("the report of a backend, not of a probe")
    match = next(filter(None, (form.fullmatch(stem) for form in _FORMS)), None)
    if not match:
        raise _not_understood("the fields are in no known order")
    fields = match.groupdict()
    country = fields.get("cc") or (folders[-1] if folders and re.fullmatch("[A-Z]{2}", folders[-1]) else None)
    report_id = fields.get("id")
    return ReportName(
        start_time=_time(fields.get("time") or fields["dashed"].replace("-", "")),
        test_name=fields["test"],
        report_id=None if report_id == NO_REPORT_ID else report_id,
        probe_asn=_asn(fields.get("asn")),
        probe_cc=_country(country),
        data_format_version=fields.get("version"),
        extension="json" if suffix[1] in JSON_SUFFIXES else "yaml",
        compressed=plain != name,
    )


def format_report_name(name: ReportName, extension: str | None = None) -> str:
    """The file name that we write: the seed's form, ``.json`` or ``.yaml``, never compressed.

    A ``-`` in the report id is dropped (old ids begin with a dashed time, and every pipeline dropped
    them); every other character that is none of ``0-9A-Za-z_.`` becomes ``_``. Fields are cut so that no
    name is over 255 bytes: nettest 64, report id 128. What is missing is written as ``19700101T000000``,
    ``invalid``, ``no_report_id``, ``AS0``, ``ZZ`` and ``0.1.0``.
    """
    extension = extension or name.extension
    if extension not in ("json", "yaml"):
        raise ValueError(f"a report is json or yaml, not {extension!r}")
    time = name.start_time.strftime(_COMPACT).rjust(15, "0") if name.start_time else _UNKNOWN_TIME
    test_name = _NOT_IN_A_FIELD.sub("_", name.test_name)[:64] or INVALID
    report_id = _NOT_IN_A_FIELD.sub("_", (name.report_id or "").replace("-", ""))[:128] or NO_REPORT_ID
    version = name.data_format_version or ""
    version = version if re.fullmatch(_VERSION, version) else UNKNOWN_VERSION
    asn, country = _asn(name.probe_asn), _country(name.probe_cc)
    return f"{time}-{test_name}-{report_id}-{asn}-{country}-probe-{version}.{extension}"


def marked(name: ReportName, mark: str) -> ReportName:
    """The name of a report whose own is taken: the report id, without ``-``, gets ``_`` and 8 characters of
    ``mark``, which are hexadecimal digits. A name never takes another's place."""
    report_id = (name.report_id or NO_REPORT_ID).replace("-", "")[:_MARKED_ID]
    return dataclasses.replace(name, report_id=f"{report_id}_{mark[:8]}")


def _not_understood(detail: str) -> BadReport:
    return BadReport(RejectReason.NAME_NOT_UNDERSTOOD, detail)


def _time(digits: str) -> datetime | None:
    if digits == _UNKNOWN_TIME:
        return None
    try:
        return datetime.strptime(digits, _COMPACT)
    except ValueError:
        raise _not_understood("no such date or time") from None


def _asn(text: str | None) -> str:
    return text if text and re.fullmatch("AS[0-9]{1,10}", text) else UNKNOWN_ASN


def _country(text: str | None) -> str:
    return text.upper() if text and re.fullmatch("[A-Za-z]{2}", text) else UNKNOWN_CC
