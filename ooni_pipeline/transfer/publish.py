"""The public copy of a bucket: compressed reports, an index for people, one for programs, digests.

The directory appears whole: it is made beside its place under a hidden name and then moved there, in
exchange for the former one where there is one. The same reports give the same bytes at every run.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import gzip
import html
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, flush, timestamp
from ooni_pipeline.bucket.pool import PoolFactory, process_pool, run_all
from ooni_pipeline.bucket.stage import checked_file
from ooni_pipeline.errors import TransferError
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.transfer.collectors import file_digest

Progress = Callable[[int, int], None]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
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
    '<td class="number">{size}</td><td><a href="{file}"><code>{file}</code></a></td></tr>'
)


@dataclass(frozen=True)
class _Compression:
    record: ReportRecord
    source: Path
    destination: Path


def publish_bucket(
    layout: Layout,
    bucket_date: dt.date,
    now: dt.datetime,
    *,
    workers: int = 1,
    pool: PoolFactory = process_pool,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Publish what the sanitised manifest names, as one whole, and write the proof.

    Raises BucketError for a sanitised file that is not as its manifest says, TransferError for one that
    cannot be compressed.
    """
    sanitised = Manifest.read(layout.manifest(Stage.SANITISED, bucket_date))
    directory = layout.bucket(Stage.PUBLISHED, bucket_date)
    fresh = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    if not layout.public.exists():
        layout.public.mkdir(parents=True)
        layout.public.chmod(0o755)
    fresh.mkdir()
    source = layout.bucket(Stage.SANITISED, bucket_date)
    jobs = [
        _Compression(record, checked_file(source, record), fresh / f"{record.name}.gz")
        for record in sanitised.usable().values()
    ]
    records = []
    for job, done in run_all(sorted(jobs, key=lambda job: -job.record.size), _compress, workers, pool):
        if done is None:
            raise TransferError(f"{job.source} kills whatever compresses it")
        records.append(done)
        progress(len(records), len(jobs))
    records.sort(key=lambda record: record.report)
    _write_index(fresh, bucket_date, records)
    for path in (*fresh.iterdir(), fresh):
        path.chmod(0o755 if path.is_dir() else 0o644)  # in spite of our umask: this one is for everybody
    flush(fresh)
    put_in_place(fresh, directory)
    manifest = Manifest("published", bucket_date, timestamp(now), sanitised.version, reports=records)
    manifest.write(layout.manifest(Stage.PUBLISHED, bucket_date))
    return manifest


def put_in_place(fresh: Path, directory: Path) -> None:
    """Give a finished directory its name in one step; the former one goes."""
    if not directory.exists():
        fresh.rename(directory)
    elif _exchange(fresh, directory):
        shutil.rmtree(fresh)
    else:  # a file system that cannot exchange: the bucket is away for an instant
        old = directory.with_name(f".{directory.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        directory.rename(old)
        fresh.rename(directory)
        shutil.rmtree(old)
    flush(directory.parent)


def _exchange(one: Path, other: Path) -> bool:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)


def _compress(job: _Compression) -> ReportRecord:
    with (
        job.source.open("rb") as plain,
        job.destination.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed, 1024 * 1024)
    flush(job.destination)
    record = job.record
    counts = Tally(taken=record.counts.out, out=record.counts.out)
    size = job.destination.stat().st_size
    name, digest = job.destination.name, file_digest(job.destination)
    return ReportRecord(record.report, name, size, digest, source=record.digest, counts=counts)


def _write_index(directory: Path, bucket_date: dt.date, records: list[ReportRecord]) -> None:
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
        _ROW.format(**{key: html.escape(str(value)) for key, value in report.items()}) for report in reports
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
