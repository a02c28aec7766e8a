"""kill -9 at any moment of a fetch; fetches at once."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ooni_pipeline.bucket import files
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer import bring
from tests.conftest import Start
from tests.transfer.conftest import DATE, Pipeline, die, report_name, written

NUMBERS = (1, 2, 3)
#: For the process that is about to die: nothing is ever put back.
PATCH = pytest.MonkeyPatch()


def before_the_first_copy(pipeline: Pipeline) -> None:
    pipeline.collector.before_copy = die


def before_the_last_copy(pipeline: Pipeline) -> None:
    pipeline.collector.before_copy = lambda number, path: die() if number == 2 else None


def in_the_middle_of_a_copy(pipeline: Pipeline) -> None:
    def half(number: int, path: str, copy: Path) -> None:
        if number == 1:
            os.truncate(copy, 5)
            die()

    pipeline.collector.after_copy = half


def between_copy_and_name(pipeline: Pipeline) -> None:
    PATCH.setattr(bring, "settle_flushed", die)


def between_name_and_end_of_part(pipeline: Pipeline) -> None:
    link = os.link

    def link_and_die(*arguments: Path) -> None:
        link(*arguments)
        die()

    PATCH.setattr(os, "link", link_and_die)


def before_the_manifest(pipeline: Pipeline) -> None:
    PATCH.setattr(Manifest, "write", die)


def in_the_middle_of_the_manifest(pipeline: Pipeline) -> None:
    PATCH.setattr(files, "flush", lambda path: die() if "manifests/raw" in str(path) else None)


def after_the_manifest(pipeline: Pipeline) -> None:
    write = Manifest.write

    def write_and_die(self: Manifest, path: Path) -> None:
        write(self, path)
        die()

    PATCH.setattr(Manifest, "write", write_and_die)


MOMENTS = [
    before_the_first_copy,
    before_the_last_copy,
    in_the_middle_of_a_copy,
    between_copy_and_name,
    between_name_and_end_of_part,
    before_the_manifest,
    in_the_middle_of_the_manifest,
    after_the_manifest,
]


def fetch_and_die(pipeline: Pipeline, prepare: Callable[[Pipeline], None]) -> None:
    prepare(pipeline)
    pipeline.fetch()


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_goes_on_where_it_was(
    pipeline: Pipeline, start: Start, moment: Callable[[Pipeline], None]
) -> None:
    pipeline.collector.holds(*NUMBERS)
    process = start(fetch_and_die, pipeline, moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    whole = [written(number) for number in NUMBERS]
    if pipeline.proof().exists():
        assert [record.name for record in Manifest.read(pipeline.proof()).reports] == whole
    for name in pipeline.names():  # whatever has a report's name is the whole report
        if not name.startswith("."):
            source = pipeline.collector.directory / name.replace("-http", "Z-http")
            assert (pipeline.raw() / name).read_bytes() == source.read_bytes()
    had = len([name for name in pipeline.names() if not name.startswith(".")])
    pipeline.collector.holds(4)
    manifest = pipeline.fetch(add=False, now=dt.datetime(2016, 8, 2, 4))
    assert [record.name for record in manifest.reports] == pipeline.names() == whole
    assert all(record.usable and record.collector for record in manifest.reports)
    assert pipeline.collector.copies == len(NUMBERS) - had


def test_killed_in_the_middle_of_the_plan_there_is_none(pipeline: Pipeline, start: Start) -> None:
    def prepare(pipeline: Pipeline) -> None:
        PATCH.setattr(files, "flush", die)

    pipeline.collector.holds(1)
    start(fetch_and_die, pipeline, prepare).join()
    assert not pipeline.layout.plan(DATE).exists()
    assert len(pipeline.fetch().reports) == 1


def test_a_copy_that_fails_is_tried_again(pipeline: Pipeline) -> None:
    def fail(number: int, path: str) -> None:
        if number == 1:
            raise TransferError("collector athens: connection reset")

    pipeline.collector.holds(*NUMBERS).before_copy = fail
    assert len(pipeline.fetch().reports) == 1
    pipeline.collector.before_copy = lambda *_: None
    assert len(pipeline.fetch().reports) == 3
    assert pipeline.collector.copies == 3


def alone(pipeline: Pipeline, date: dt.date) -> None:
    """What the task does: who waited for the lock finds the proof there."""
    with one_writer(pipeline.layout.lock("FetchReports", date)):
        if not pipeline.proof(date=date).exists():
            pipeline.fetch(date=date)


def test_two_fetches_of_one_bucket_and_of_two_buckets_at_once(pipeline: Pipeline, start: Start) -> None:
    pipeline.collector.holds(*range(10))
    dates = [DATE, DATE, DATE + dt.timedelta(days=1), DATE + dt.timedelta(days=1)]
    for process in [start(alone, pipeline, date) for date in dates]:
        process.join()
        assert process.exitcode == 0
    manifests = [Manifest.read(pipeline.proof(date=date)) for date in set(dates)]
    assert [len(manifest.reports) for manifest in manifests] == [10, 10]
    usable = [record.path for manifest in manifests for record in manifest.reports if record.usable]
    assert sorted(usable) == [report_name(number) for number in range(10)]  # each once in all


def test_a_report_index_that_is_damaged_does_not_stop_the_night(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1)
    pipeline.fetch()
    pipeline.layout.report_index().write_bytes(b"damaged" * 100)
    later = pipeline.fetch(date=DATE + dt.timedelta(days=1))
    assert later.reports[0].duplicate_of == f"2016-08-01/{written(1).removesuffix('.json')}"


def test_half_files_of_ours_go_and_nothing_else(pipeline: Pipeline) -> None:
    pipeline.raw().mkdir(parents=True)
    part = part_of(pipeline.raw() / written(1))
    part.write_text("half")
    (pipeline.raw() / "evidence.part").write_text("whole")
    pipeline.fetch(pipeline.collector)
    assert pipeline.names() == ["evidence.part"]
