"""The pieces that reading a report gives, and the shape that every normalised entry has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.errors import RejectReason

#: An entry is rejected unparsed above this size, in bytes.
MAX_ENTRY_BYTES = 64 * 1024 * 1024
#: Of a rejected entry this many bytes are kept beside the reason; the raw report holds the rest.
MAX_REJECTED_BYTES = 1024 * 1024
#: No report may unfold to more than this (the largest known one has 1.4 GB): gzip bombs end here.
MAX_REPORT_BYTES = 16 * 1024 * 1024 * 1024
#: Containers may nest this deep. ujson reads and writes 1,024; PostgreSQL and Python's own recursion
#: take less or more depending on settings, so the bound leaves room for what normalising adds.
#: One less than the 1,000 of libyaml in PyYAML 6.0.4 and later: the same bytes are taken with every version.
MAX_DEPTH = 999
#: An entry may hold this many nodes (keys, values, containers), those that its aliases unfold to included.
#: The smallest takes over 90 bytes of memory: twice as many would not fit the bound for a process.
MAX_NODES = 2_500_000
#: And this many records (requests, queries) that normalising fills up: each becomes 25 nodes or so.
MAX_RECORDS = 100_000
#: A normalised entry may be written with this many bytes: letters of all alphabets become three times as
#: many in ASCII. More is what raw control characters and headers of megabytes become.
MAX_WRITTEN_BYTES = 3 * MAX_ENTRY_BYTES

#: The top-level keys of a normalised entry, in the order in which they are written; all are always
#: present. Source: the 2016 base schema (``df-000-base``) as the batch pipeline wrote it.
BASE_KEYS = (
    "id",
    "input",
    "input_hashes",
    "report_id",
    "report_filename",
    "options",
    "probe_cc",
    "probe_asn",
    "probe_ip",
    "probe_city",
    "backend_version",
    "data_format_version",
    "test_name",
    "test_version",
    "test_start_time",
    "measurement_start_time",
    "test_runtime",
    "test_helpers",
    "software_name",
    "software_version",
    "bucket_date",
    "test_keys",
)

#: What one thing says and another overrules is kept under its key with this before it, once or more often.
OVERRULED = "legacy_"


@dataclass(frozen=True)
class ReportHeader:
    """The first document of a YAML report; JSON reports have none (an empty one stands for it).

    ``raw`` are the bytes of the document without its framing lines, the counts are as in RawEntry.
    """

    value: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""
    nonfinite: int = 0
    duplicate_keys: int = 0


@dataclass(frozen=True)
class RawEntry:
    """One record of a report as submitted.

    ``value`` is the parsed mapping, not merged with the header. ``raw`` are its bytes: the JSON line
    without its end, or the YAML document without its framing lines. ``offset`` is where they begin in
    the uncompressed report. ``nonfinite`` counts NaN and Infinity, which became null.
    ``duplicate_keys`` counts the values of a YAML entry that a later one of the same key replaced
    (ujson does not tell, so of a JSON entry it is 0). ``without_end`` tells that the report ends with
    this YAML document, before the line that should end it: what it says may not be all.
    """

    value: dict[str, Any]
    raw: bytes
    offset: int
    nonfinite: int = 0
    duplicate_keys: int = 0
    without_end: bool = False


@dataclass(frozen=True)
class BadEntry:
    """A piece of a report that is no usable entry: kept in ``rejected/`` with its reason.

    ``raw`` are its first ``MAX_REJECTED_BYTES`` bytes, ``size`` is how many there are, ``digest`` the
    hexadecimal SHA-256 of all of them. ``detail`` names the kind of fault without quoting content.
    """

    reason: RejectReason
    offset: int
    size: int
    raw: bytes
    digest: str
    detail: str = ""


class EntryRejected(Exception):  # noqa: N818 - a fact about bytes, not a fault of ours
    """These bytes are no usable entry: ``reason`` says why, ``detail`` how, neither quotes content."""

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class BadReport(Exception):  # noqa: N818 - as EntryRejected
    """The report as a whole cannot be read: ``reason`` says why, ``detail`` how, neither quotes content."""

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail
