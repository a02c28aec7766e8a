"""The header document of an archived YAML report."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

from ooni_pipeline.collector.header import ReportHeader
from ooni_pipeline.collector.refusals import HeaderTextError
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.yaml_documents import split_documents
from ooni_pipeline.report.yaml_reports import dump_document, read_header

#: A genuine header has about 1 kB. Writing one anew takes a second for each megabyte.
MAX_HEADER_BYTES = 256 * 1024
#: So many values it may have, with what its aliases unfold to, and so deep.
_MOST_VALUES, _DEEPEST = 20_000, 50
#: A text that begins a document of its own, whatever blank lines and comments stand before.
_FRAMED = re.compile(r"\ufeff?(?:[ \t]*(?:#[^\n]*)?\r?\n)*---(?=[ \t\r\n]|\Z)")


def framed(text: str) -> str:
    """A client's text with what it lacks so that it cannot run into its neighbours."""
    begin = "" if _FRAMED.match(text) else "---\n"
    return f"{begin}{text}" if text.endswith("\n") else f"{begin}{text}\n"


def as_archived(header: ReportHeader, report_id: str) -> ReportHeader:
    """The same header; ``content`` is the document that the archived report begins with, None for JSON.

    All that the client's text says is kept; what it lacks, or says null of, comes from the request. Raises
    HeaderTextError where that text is none of a header.
    """
    if header.format == "json":
        return replace(header, content=None)
    said: dict[str, Any] = _said(header.content) if header.content else {}
    known = {
        "data_format_version": header.data_format_version,
        "input_hashes": list(header.input_hashes),
        "probe_asn": header.probe_asn,
        "probe_cc": header.probe_cc,
        "report_id": report_id,
        "software_name": header.software_name,
        "software_version": header.software_version,
        "test_name": header.test_name,
        "test_start_time": header.test_start_time,
        "test_version": header.test_version,
    }
    value = said | {key: known[key] for key in known if said.get(key) is None}
    try:
        document = dump_document(value)
        again = _said(document)
    except (ValueError, RecursionError):
        raise HeaderTextError("the header document holds what YAML cannot") from None
    if again != value:
        raise HeaderTextError("the header document does not stay what it is when it is written again")
    return replace(header, content=document)


def _said(text: str) -> dict[str, Any]:
    """What a header document says."""
    try:
        raw = framed(text).encode("utf-8")
    except UnicodeEncodeError:
        raise HeaderTextError("the header document is no text") from None
    if len(raw) > MAX_HEADER_BYTES:
        raise HeaderTextError(f"the header document is over {MAX_HEADER_BYTES} bytes")
    sections = split_documents(io.BytesIO(raw))
    try:
        value = read_header(sections, lambda: None).value
    except BadReport as bad:
        raise HeaderTextError(f"the header document cannot be read: {bad.reason.value}") from None
    if next(sections, None) is not None:
        raise HeaderTextError("the header document is more than one")
    _bounded(value)
    return value


def _bounded(value: dict[str, Any]) -> None:
    """Raises HeaderTextError for a header of which writing it would take long."""
    level: list[Any] = [value]
    count = size = depth = 0
    while level:
        below: list[Any] = []
        for container in level:
            parts = [*container, *container.values()] if isinstance(container, dict) else container
            below.extend(part for part in parts if isinstance(part, (dict, list)))
            count += len(parts)
            size += sum(len(part) for part in parts if isinstance(part, (str, bytes)))
        level, depth = below, depth + 1
        if count > _MOST_VALUES or size > MAX_HEADER_BYTES or depth > _DEEPEST:
            raise HeaderTextError("the header document unfolds to too much")
