"""How long the public site takes after 2,300 buckets of 1,000 blocked URLs each, in how much memory, and how
long the mirror machine's job takes when nothing, or one bucket, is new.

Usage: python -m tests.benchmarks site

Bars: memory at most 300 MB (DESIGN.md, section 8); no bar for time yet. Needs 4 GB of disk in the temporary
directory, which are given back. Country and network of the blocked URLs: see refresh.py.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.database.migrate import migrate
from ooni_pipeline.database.public import published_rows
from ooni_pipeline.database.views import refresh_views
from ooni_pipeline.remote.rsync import pull_local
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.site.bucket_page import write_index
from ooni_pipeline.site.build import buckets_to_show, build_site
from ooni_pipeline.site.front import SiteSettings
from ooni_pipeline.transfer.mirror import mirror
from tests.benchmarks.refresh import BLOCKED, BUCKETS, REPORTS_A_BUCKET, fill

FIRST = dt.date(2012, 12, 5)
NOW = dt.datetime(2019, 4, 1, 5)


def publish(layout: Layout, number: int) -> None:
    """A bucket on the mirror, whose reports are of no bytes."""
    date = FIRST + dt.timedelta(days=number)
    directory = layout.bucket(Stage.PUBLISHED, date)
    directory.mkdir(parents=True)
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    names = [
        f"{date:%Y%m%d}T0000{n:02}-web_connectivity-id{n}-AS1-GR-probe-0.2.0" for n in range(REPORTS_A_BUCKET)
    ]
    records = [ReportRecord(name, f"{name}.json.gz", 0, digest, counts=Tally(20, 20)) for name in names]
    for record in records:
        (directory / str(record.name)).touch()
    write_index(directory, date, records)
    Manifest("published", date, "", reports=records).write(layout.manifest(Stage.PUBLISHED, date))


def make(layout: Layout, url: str) -> None:
    with published_rows(url, buckets_to_show(layout)) as rows:
        build_site(layout, rows, SiteSettings(), NOW, NOW)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"  the process took {peak:.0f} MB")


def timed(what: str, layout: Layout, url: str) -> float:
    process = multiprocessing.get_context("spawn").Process(target=make, args=(layout, url))
    begin = time.perf_counter()
    process.start()
    process.join()
    seconds = time.perf_counter() - begin
    print(f"site, {what}: {seconds:.1f} s")
    return seconds


def run() -> dict[str, float]:
    """Print, and return, the seconds."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Path(name) / "private", Path(name) / "public")
        server = EmbeddedServer(layout.database())
        url = server.ensure_running()
        try:
            migrate(url)
            fill(url, 0, BUCKETS - 1)
            for number in range(BUCKETS + 1):
                publish(layout, number)
            refresh_views(url)
            results["first"] = timed(f"first, {BUCKETS:,} buckets of {BLOCKED:,} blocked URLs", layout, url)
            fill(url, BUCKETS, BUCKETS)
            refresh_views(url)
            results["one more"] = timed("after one more bucket", layout, url)
        finally:
            server.stop()

        def pull(path: str, destination: Path, options: object) -> None:
            pull_local(layout.public / path, destination, options, limit=3600)  # type: ignore[arg-type]

        for what in ("first", "nothing new", "one bucket new"):
            if what == "one bucket new":
                publish(layout, BUCKETS + 1)
            begin = time.perf_counter()
            mirror(Path(name) / "mirror", pull)
            results[f"mirror, {what}"] = time.perf_counter() - begin
            print(f"mirror, {what}: {results[f'mirror, {what}']:.1f} s")
    return results


if __name__ == "__main__":
    run()
