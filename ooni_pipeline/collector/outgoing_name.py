"""The name under which the pipeline fetches a report: the seed's, made of what the report itself says.

Source: reference/collector.md, 1.6 and 7. What a header says is a stranger's: nothing of it becomes a path
but for what report.names lets through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import (
    UNKNOWN_ASN,
    UNKNOWN_CC,
    ReportName,
    format_report_name,
    parse_report_name,
)
from ooni_pipeline.report.nettests import INVALID, canonical_test_name
from ooni_pipeline.report.times import parse_time


class SetAside(Exception):  # noqa: N818 - a fact about a report, not a fault of ours
    """This report gets no name: ``kind`` is empty, invalid or failed, ``why`` a word that quotes nothing."""

    def __init__(self, kind: Literal["empty", "invalid", "failed"], why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind
        self.why = why


def outgoing_name(
    said: Mapping[str, Any], archived_as: str, extension: Literal["json", "yaml"], compressed: bool
) -> ReportName:
    """The name of a report of which the header, or the first entry, says ``said``.

    ``archived_as`` is its name in the archive. Where that is one that our collector made, of what the client
    said when it created the report, it tells what the entries leave out. Raises SetAside: failed without a
    time, or where what comes out is no name after all; invalid for a nettest that is none.
    """
    own = _made_by_us(archived_as)
    start = parse_time(said.get("test_start_time")) or parse_time(said.get("start_time")) or own.start_time
    if start is None:
        raise SetAside("failed", "no_time")
    test_name = canonical_test_name(said.get("test_name") or own.test_name)
    if test_name == INVALID:
        raise SetAside("invalid", "no_nettest")
    name = ReportName(
        start_time=start,
        test_name=test_name,
        report_id=_text(said.get("report_id")) or own.report_id,
        probe_asn=_asn(said.get("probe_asn")) or own.probe_asn,
        probe_cc=_text(said.get("probe_cc")) or own.probe_cc,
        data_format_version=_number_or_text(said.get("data_format_version")) or own.data_format_version,
        extension=extension,
        compressed=compressed,
    )
    try:
        parse_report_name(format_report_name(name))
    except BadReport as bad:
        raise SetAside("failed", bad.reason.value) from None
    return name


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number_or_text(value: Any) -> str:
    """What may be written as 0.2 or as "0.2.0", and an ASN as 1234 or as "AS1234"."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else _text(value)


def _asn(value: Any) -> str:
    text = _number_or_text(value).upper()
    return f"AS{text}" if text.isdigit() else text


def _made_by_us(archived_as: str) -> ReportName:
    """What a name of the form that we write tells. Any other, also that of the genuine oonib, tells nothing:
    there the header decides alone, as it always did."""
    base_name = archived_as.rpartition("/")[2]
    try:
        name = parse_report_name(base_name)
    except BadReport:
        return _NOTHING
    return name if format_report_name(name) == base_name else _NOTHING


_NOTHING = ReportName(None, "", None, UNKNOWN_ASN, UNKNOWN_CC, None, "json", False)
