"""What a client said of a report when it made it, and what follows: its id, its name in the archive."""

from __future__ import annotations

import json
import re
import secrets
import string
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any, Literal

from ooni_pipeline.report.names import UNKNOWN_ASN, ReportName, format_report_name

_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z_AS[0-9]{1,10}_[A-Za-z0-9]{50}")
_ASN = re.compile(r"AS[0-9]{1,10}")
_ID_TIME = "%Y%m%dT%H%M%SZ"
_START_TIME = "%Y-%m-%d %H:%M:%S"
_ALPHABET = string.ascii_letters + string.digits
#: Of the side file of an open report: another number is for another version of this module.
_FORM = 1


@dataclass(frozen=True)
class ReportHeader:
    """A create request, validated: no field is longer or of another alphabet than the protocol has it.

    ``probe_asn`` is AS and digits, AS0 unknown; ``probe_cc`` two capitals, ZZ unknown. ``test_start_time``
    is as sent, ``2016-08-01 12:00:00``, or the server's UTC in that form. ``content`` is the header
    document of a YAML client as text, None where it sent none.
    """

    software_name: str
    software_version: str
    test_name: str
    test_version: str
    probe_asn: str
    probe_cc: str
    test_start_time: str
    data_format_version: str
    format: Literal["json", "yaml"]
    input_hashes: tuple[str, ...] = ()
    content: str | None = None

    def archive_name(self, report_id: str) -> str:
        """The name of the finished report. Where the start is no time it is that of the id, the server's."""
        try:
            start = datetime.strptime(self.test_start_time, _START_TIME)
        except ValueError:
            start = datetime.strptime(report_id.split("_")[0], _ID_TIME)
        return format_report_name(
            ReportName(
                start_time=start,
                test_name=self.test_name,
                report_id=report_id,
                probe_asn=self.probe_asn,
                probe_cc=self.probe_cc,
                data_format_version=self.data_format_version,
                extension=self.format,
                compressed=False,
            )
        )

    def as_side_file(self, report_id: str) -> bytes:
        """What is kept beside the entries of an open report: one line of JSON."""
        return json.dumps({"form": _FORM, "report_id": report_id, **asdict(self)}).encode("ascii") + b"\n"


def read_side_file(raw: bytes, report_id: str) -> ReportHeader:
    """The header that :meth:`ReportHeader.as_side_file` wrote. Raises ValueError for anything else."""
    try:
        value = json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deep") from None
    names = {field.name for field in fields(ReportHeader)}
    if not isinstance(value, dict) or set(value) != names | {"form", "report_id"} or value["form"] != _FORM:
        raise ValueError("not the side file of a report")
    if value["report_id"] != report_id or value["format"] not in ("json", "yaml"):
        raise ValueError("the side file of another report")
    hashes, content = value["input_hashes"], value["content"]
    texts = [value[name] for name in names - {"input_hashes", "content"}]
    if not isinstance(hashes, list) or not all(isinstance(text, str) for text in [*texts, *hashes]):
        raise ValueError("a field that is no text")
    if content is not None and not isinstance(content, str):
        raise ValueError("a header document that is no text")
    kept: dict[str, Any] = {name: value[name] for name in names}
    return ReportHeader(**kept | {"input_hashes": tuple(hashes)})


def new_report_id(header: ReportHeader, now: float) -> str:
    """An id that nobody can guess: ``20161121T210040Z_AS0_`` and 50 letters and digits.

    ``now`` is Unix time. Safe as a part of a path, whatever the header holds.
    """
    time = datetime.fromtimestamp(now, timezone.utc).strftime(_ID_TIME)
    asn = header.probe_asn if _ASN.fullmatch(header.probe_asn) else UNKNOWN_ASN
    return f"{time}_{asn}_{''.join(secrets.choice(_ALPHABET) for _ in range(50))}"


def is_report_id(text: str) -> bool:
    """Whether a text has the shape of an id of ours, so that it may be shown."""
    return _ID.fullmatch(text) is not None
