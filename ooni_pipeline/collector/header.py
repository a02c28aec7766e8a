"""What a client said of a report when it made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
