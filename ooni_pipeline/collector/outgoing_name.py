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

    A report that says no id keeps the one that the collector gave it in ``archived_as``, its name in the
    archive: the id that its client was told. Raises SetAside: failed without a time, or where what comes
    out is no name after all; invalid for a nettest that is none.
    """
    start = parse_time(said.get("test_start_time")) or parse_time(said.get("start_time"))
    if start is None:
        raise SetAside("failed", "no_time")
    test_name = canonical_test_name(said.get("test_name"))
    if test_name == INVALID:
        raise SetAside("invalid", "no_nettest")
    name = ReportName(
        start_time=start,
        test_name=test_name,
        report_id=_text(said.get("report_id")) or _id_of(archived_as),
        probe_asn=_asn(said.get("probe_asn")),
        probe_cc=_text(said.get("probe_cc")) or UNKNOWN_CC,
        data_format_version=_number_or_text(said.get("data_format_version")),
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
    return f"AS{text}" if text.isdigit() else text or UNKNOWN_ASN


def _id_of(archived_as: str) -> str | None:
    try:
        return parse_report_name(archived_as).report_id
    except BadReport:
        return None
