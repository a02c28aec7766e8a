"""Which report an entry belongs to, and its own id."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import string
from typing import Any

from ooni_pipeline.normalise.claims import keep_beside
from ooni_pipeline.normalise.source import Source
from ooni_pipeline.report.measurement_id import measurement_id
from ooni_pipeline.report.times import parse_time

EPOCH = dt.datetime(1970, 1, 1)
#: Letters of longer texts are not kept in memory: a client chooses them.
_LONGEST_KEPT = 1000


def name_the_report(entry: dict[str, Any], source: Source) -> None:
    """Keep the report_id; where there is none, that in the name of a JSON report counts, with which the
    collector answered; else make one by the rule of 2016.

    From the header of the report, so that all of its entries get the same; without one from the entry.
    """
    if isinstance(entry.get("report_id"), str) and entry["report_id"]:
        return
    keep_beside(entry, "report_id")
    header = source.report.header.value
    if not header and source.report.named_id:
        entry["report_id"] = source.report.named_id
        return
    said = header or source.raw.value
    start = parse_time(header.get("start_time")) or parse_time(header.get("test_start_time"))
    start = start or (source.report.named_time if header else None) or parse_time(entry["test_start_time"])
    entry["report_id"] = generated_report_id(
        start or EPOCH,
        probe_cc=_text(said.get("probe_cc"), "ZZ"),
        probe_asn=_text(said.get("probe_asn"), "AS0"),
        test_name=_text(said.get("test_name"), "invalid"),
        software_version=_text(said.get("software_version"), "0.0.0"),
    )


def generated_report_id(
    start: dt.datetime,
    probe_cc: str = "ZZ",
    probe_asn: str = "AS0",
    test_name: str = "invalid",
    software_version: str = "0.0.0",
    probe_city: str = "None",
) -> str:
    """The id of a report that has none: its start in UTC, ``_``, and 50 letters that depend on the rest.

    The letters are bytes of a SHA-512 modulo 52. The rule is that of the published data since
    2016-03-18, so that links to it stay good. ``test_name`` is the name as submitted. The city is not
    passed by this pipeline, which withholds it: a digest of so few possible values would give it away.
    """
    text = f"{probe_cc}{probe_asn}{test_name}{software_version}{probe_city}"
    letters = _letters(text) if len(text) <= _LONGEST_KEPT else _letters.__wrapped__(text)
    return f"{start:%Y%m%dT%H%M%SZ}".rjust(16, "0") + f"_{letters}"


@functools.lru_cache(maxsize=1024)
def _letters(text: str) -> str:
    digest = hashlib.sha512(text.encode("utf-8", "surrogatepass")).digest()
    return "".join(string.ascii_letters[byte % 52] for byte in digest[:50])


def identify(entry: dict[str, Any], source: Source) -> None:
    """Give the entry its id, and say in which bucket and report it is."""
    report = source.report
    entry["id"] = measurement_id(report.key, report.header.raw, source.raw.raw)
    entry["report_filename"] = f"{report.bucket_date}/{report.report}.json"
    entry["bucket_date"] = report.bucket_date.isoformat()


def _text(value: Any, default: str) -> str:
    return str(value) if isinstance(value, (str, int, float)) and value != "" else default
