"""LoadMeasurements: the sanitised bucket into PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import luigi

from ooni_pipeline.bucket.files import only
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.stage import checked_file, watched_proof
from ooni_pipeline.database.data_directory import needed
from ooni_pipeline.database.markers import loaded_buckets
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.writer import RejectedWriter
from tasks import config
from tasks.base import BucketTask, Progress, unquoted
from tasks.sanitise import SanitiseReports
from tasks.targets import LoadTarget, among, answers_again


@contextlib.contextmanager
def rejected_rows(directory: Path) -> Iterator[Callable[[Path, int, bytes, str], None]]:
    """Keeps the entries that PostgreSQL refuses below ``directory``; what a former load kept goes."""
    only(directory, set())
    with contextlib.ExitStack() as files:
        writers: dict[Path, RejectedWriter] = {}

        def reject(report: Path, offset: int, line: bytes, why: str) -> None:
            if report not in writers:
                files.close()  # they come report by report: one open file at a time
                writers.clear()
                writers[report] = files.enter_context(RejectedWriter(directory, report.stem, report.name))
            writers[report].keep_bytes(RejectReason.REFUSED_BY_DATABASE, offset, line, why)

        yield reject


class LoadMeasurements(BucketTask):
    """Replace the bucket's rows, matches and small tables, with the marker, in one transaction."""

    def requires(self) -> luigi.Task:
        return SanitiseReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return LoadTarget(self.bucket_date)

    def work(self, progress: Progress) -> None:
        fingerprints = config.fingerprint_table()
        sanitised, check = watched_proof(self.layout, Stage.SANITISED, self.bucket_date)
        directory = self.layout.bucket(Stage.SANITISED, self.bucket_date)
        reports = [checked_file(directory, record) for record in sanitised.usable().values()]
        server = config.embedded_server()
        if server is not None:  # one of its own kind of trouble: without room for its WAL it stops at all
            needs = needed(server.data_dir, sum(path.stat().st_size for path in reports))
            config.room().check(f"bucket {self.bucket_date}, load,", server.data_dir, needs)
        url = config.database_url(start=True)
        with rejected_rows(self.layout.rejected_rows(self.bucket_date)) as reject:
            load_bucket(url, self.bucket_date, reports, fingerprints, progress, reject, check)
        answers_again()

    @classmethod
    @unquoted()
    def bulk_complete(cls, parameter_tuples: Iterable[Any]) -> list[Any]:
        return among(parameter_tuples, loaded_buckets)
