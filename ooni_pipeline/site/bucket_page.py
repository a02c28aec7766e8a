"""What the public copy of a bucket says of itself: to people, to programs, and to ``sha256sum -c``.

Nobody needs a script to sort the list: it comes in several orders, a page each, with links between them.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ooni_pipeline.bucket.files import file_digest, flush
from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.site.page import link, number, page, shown, table

FORMAT = 1
INDEX, SUMS = "index.json", "SHA256SUMS"
#: Reports on a page.
_ON_A_PAGE = 1000
_HEADS = ("Test", "Country", "Network", "#Measurements", "#Bytes", "Report", "SHA-256")

Described = dict[str, Any]


class _Order(NamedTuple):
    name: str
    what: str
    key: Callable[[Described], Any]


_ORDERS = (
    _Order("index", "name (time)", lambda report: report["file"]),
    _Order("by-test", "test", lambda report: (report["test_name"], report["file"])),
    _Order("by-country", "country", lambda report: (report["probe_cc"], report["file"])),
    _Order("by-network", "network", lambda report: (_asn(report), report["file"])),
    _Order("by-measurements", "measurements", lambda report: (-report["measurements"], report["file"])),
    _Order("by-size", "size", lambda report: (-report["size"], report["file"])),
)


def write_index(
    directory: Path, bucket_date: dt.date, records: list[ReportRecord], withdrawn: tuple[int, int] = (0, 0)
) -> None:
    """Write the pages, ``index.json`` and ``SHA256SUMS`` of the published reports, flushed.

    ``withdrawn`` are how many reports and measurements were withdrawn from the bucket. ``SHA256SUMS`` has
    the digest of every file but itself, so its own digest stands for the state of the whole bucket.
    """
    reports = [_described(record) for record in records]
    index = {
        "format": FORMAT,
        "bucket_date": bucket_date.isoformat(),
        "measurements": sum(report["measurements"] for report in reports),
        "withdrawn": {"reports": withdrawn[0], "measurements": withdrawn[1]},
        "reports": reports,
    }
    (directory / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="ascii")
    written = [INDEX]
    head = _head(index)
    for order in _ORDERS:
        in_order = sorted(reports, key=order.key)
        parts = [in_order[at : at + _ON_A_PAGE] for at in range(0, len(in_order), _ON_A_PAGE)] or [[]]
        for place, part in enumerate(parts):
            body = "\n".join((head, _between(order, place, len(parts)), _listed(part)))
            name = _page_name(order, place)
            text = page(f"Measurements of bucket {bucket_date}", body, 1)
            (directory / name).write_text(text, encoding="utf-8")
            written.append(name)
    sums = {report["file"]: report["sha256"] for report in reports}
    sums |= {name: file_digest(directory / name) for name in written}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    (directory / SUMS).write_text(lines, encoding="ascii")
    for name in (*written, SUMS):
        flush(directory / name)


def read_index(directory: Path) -> list[ReportRecord]:
    """The published reports that the ``index.json`` of a bucket names; none where it cannot be read."""
    try:
        index = json.loads((directory / INDEX).read_bytes())
        return [
            ReportRecord(
                str(report["file"]).removesuffix(".json.gz"),
                str(report["file"]),
                int(report["size"]),
                str(report["sha256"]),
                counts=Tally(taken=int(report["measurements"]), out=int(report["measurements"])),
            )
            for report in index["reports"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _head(index: dict[str, Any]) -> str:
    gone = index["withdrawn"]
    withdrawn = (
        f"\n<p>Withdrawn since: {number(gone['reports'])} reports, "
        f"{number(gone['measurements'])} measurements.</p>"
        if gone["reports"] or gone["measurements"]
        else ""
    )
    return (
        f"<p>{number(len(index['reports']))} reports with {number(index['measurements'])} measurements, "
        f"fetched from the collectors on {index['bucket_date']} (UTC), normalised and sanitised. One JSON "
        f"object a line, compressed with gzip. For programs: {link(INDEX, INDEX)}; to check downloads: "
        f"{link(SUMS, SUMS)}.</p>{withdrawn}"
    )


def _between(order: _Order, place: int, places: int) -> str:
    """Links to the other orders, and to the other pages of this one."""
    orders = " ".join(
        f"<b>{other.what}</b>" if other is order else link(_page_name(other, 0), other.what)
        for other in _ORDERS
    )
    if places == 1:
        return f'<p class="list">Sorted by: {orders}</p>'
    pages = " ".join(
        f"<b>{other + 1}</b>" if other == place else link(_page_name(order, other), str(other + 1))
        for other in range(places)
    )
    return f'<p class="list">Sorted by: {orders}</p>\n<p class="list">Page: {pages}</p>'


def _page_name(order: _Order, place: int) -> str:
    return f"{order.name}-{place + 1}.html" if place else f"{order.name}.html"


def _listed(reports: Sequence[Described]) -> str:
    rows = [
        (
            shown(report["test_name"]),
            shown(report["probe_cc"]),
            shown(report["probe_asn"]),
            number(report["measurements"]),
            number(report["size"]),
            link(report["file"], f"<code>{shown(report['file'], 255)}</code>"),
            f"<code>{report['sha256'][:16]}…</code>",
        )
        for report in reports
    ]
    return table(_HEADS, rows)


def _asn(report: Described) -> int:
    digits = str(report["probe_asn"]).removeprefix("AS")
    return int(digits) if digits.isdecimal() else -1


def _described(record: ReportRecord) -> Described:
    """What the index says of a report: nothing that its name and its size do not say."""
    try:
        name = parse_report_name(f"{record.report}.json")
        told = {"test_name": name.test_name, "probe_cc": name.probe_cc, "probe_asn": name.probe_asn}
    except BadReport:
        told = {"test_name": "", "probe_cc": "", "probe_asn": ""}
    return {
        **told,
        "file": str(record.name),
        "measurements": record.counts.out,
        "size": record.size,
        "sha256": record.digest,
    }
