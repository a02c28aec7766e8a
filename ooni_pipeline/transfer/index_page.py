"""What the public copy of a bucket says of itself: to people, to programs, and to ``sha256sum -c``."""

from __future__ import annotations

import datetime as dt
import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ooni_pipeline.bucket.files import flush
from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import parse_report_name

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Measurements of bucket {date}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 72rem; padding: 0 1rem; }}
body {{ color: #1b1f24; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; }}
th, td {{ padding: .3rem .6rem; text-align: left; border-bottom: 1px solid #d5dae0; white-space: nowrap; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
code {{ font-size: 12px; }}
</style>
</head>
<body>
<h1>Bucket {date}</h1>
<p>{reports} reports with {measurements} measurements, fetched from the collectors on {date} (UTC),
normalised and sanitised. One JSON object a line, compressed with gzip. For programs:
<a href="index.json">index.json</a>;
to check a download: <a href="SHA256SUMS">SHA256SUMS</a>.</p>
<div class="wide"><table>
<thead><tr><th>Test</th><th>Country</th><th>Network</th><th class="number">Measurements</th>
<th class="number">Bytes</th><th>Report</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
</body>
</html>
"""
_ROW = (
    '<tr><td>{test_name}</td><td>{probe_cc}</td><td>{probe_asn}</td><td class="number">{measurements}</td>'
    '<td class="number">{size}</td><td><a href="{link}"><code>{file}</code></a></td></tr>'
)


def write_index(directory: Path, bucket_date: dt.date, records: list[ReportRecord]) -> None:
    """Write ``index.html``, ``index.json`` and ``SHA256SUMS`` of the published reports, flushed."""
    reports = [_described(record) for record in records]
    index = {
        "bucket_date": bucket_date.isoformat(),
        "measurements": sum(report["measurements"] for report in reports),
        "reports": reports,
    }
    (directory / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="ascii")
    sums = "".join(f"{report['sha256']}  {report['file']}\n" for report in reports)
    (directory / "SHA256SUMS").write_text(sums, encoding="ascii")
    rows = "\n".join(
        _ROW.format(
            link=quote(report["file"]), **{key: html.escape(str(value)) for key, value in report.items()}
        )
        for report in reports
    )
    page = _PAGE.format(date=bucket_date, reports=len(reports), measurements=index["measurements"], rows=rows)
    (directory / "index.html").write_text(page, encoding="utf-8")
    for name in ("index.json", "SHA256SUMS", "index.html"):
        flush(directory / name)


def _described(record: ReportRecord) -> dict[str, Any]:
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
