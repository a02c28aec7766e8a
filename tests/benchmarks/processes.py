"""What a second process gains on a stage with many files.

Usage: python -m tests.benchmarks processes

Bar (DESIGN.md, section 8): two processes at least 1.7 times as fast as one. Starting the processes counts.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from functools import partial
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.bucket.stage import process_bucket
from ooni_pipeline.normalise.reports import normalise_report
from tests.benchmarks.normalise import YAML_HEADER, documents, http_requests, to_yaml, yaml_report

REPORTS = 120
ROUNDS = 3
DAY = dt.date(2016, 8, 1)


def raw_bucket(layout: Layout) -> None:
    """A raw bucket of YAML reports, about 200 MB in all, with its manifest."""
    directory = layout.bucket(Stage.RAW, DAY)
    directory.mkdir(parents=True)
    entries = documents(http_requests, to_yaml) * 4
    records = []
    for number in range(REPORTS):
        report = f"20160801T{number // 60:04d}{number % 60:02d}-http_requests-no_report_id-AS1-IT-probe-0.1.0"
        path = directory / f"{report}.yaml"
        yaml_report(path, YAML_HEADER, entries[number::REPORTS])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        records.append(ReportRecord(report, path.name, path.stat().st_size, digest, content=digest))
    Manifest("raw", DAY, "2016-08-01T04:00:00Z", reports=records).write(layout.manifest(Stage.RAW, DAY))


def seconds(layout: Layout, workers: int) -> float:
    """One stage over the bucket with so many processes."""
    layout.manifest(Stage.NORMALISED, DAY).unlink(missing_ok=True)
    work = partial(normalise_report, key=b"a key for benchmarks")
    begin = time.perf_counter()
    process_bucket(
        layout,
        Stage.NORMALISED,
        Stage.RAW,
        DAY,
        work,
        version="1",
        now=dt.datetime(2016, 8, 2),
        workers=workers,
    )
    return time.perf_counter() - begin


def run() -> float:
    """Print, and return, the time of one process over that of two."""
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder) / "private", Path(folder) / "public")
        raw_bucket(layout)
        rounds = [(seconds(layout, 1), seconds(layout, 2)) for _ in range(ROUNDS)]
    one, two = min(first for first, _ in rounds), min(second for _, second in rounds)
    ratio = one / two
    print(f"{REPORTS} reports: one process {one:.2f} s, two {two:.2f} s: {ratio:.2f} times as fast (bar 1.7)")
    return ratio


if __name__ == "__main__":
    run()
