"""What forgetting would do, told before it is done: the same as what it does."""

from __future__ import annotations

import re

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server


def again_in(pipeline: Pipeline, stage: Stage, before: dict[str, int]) -> set[str]:
    directory = pipeline.layout.bucket(stage, pipeline.today)
    return {path.name for path in directory.iterdir() if path.stat().st_mtime_ns != before[path.name]}


@pytest.mark.parametrize(
    ("stage", "filters"),
    [
        ("normalise", ["--country", "gr"]),
        ("sanitise", ["--asn", "as6799", "--test-name", "HTTP Requests Test"]),
        ("normalise", ["--country", "DE"]),
        ("normalise", []),
        ("publish", []),
        ("load", []),
    ],
)
def test_it_tells_what_forgetting_does(pipeline: Pipeline, stage: str, filters: list[str]) -> None:
    pipeline.receive("-GR-", "-IR-")
    pipeline.nightly()
    day, layout = pipeline.today, pipeline.layout
    before = pipeline.everything()
    with one_writer(layout.lock("SanitiseReports", day)), one_writer(layout.lock("LoadMeasurements", day)):
        told = pipeline.verb("forget", stage, day, day, *filters, "--dry-run")
    assert pipeline.everything() == before
    forgot = pipeline.verb("forget", stage, day, day, *filters)
    stages = re.search(r"would forget (.*?) of \d", told)
    assert stages is not None
    assert f"forgot {stages[1]} of {day}" in forgot
    if stage not in ("normalise", "sanitise") or stages[1] == "nothing":
        assert "carried over" not in told or ", 0 carried over" in told
        return
    proven = Stage.NORMALISED if stage == "normalise" else Stage.SANITISED
    directory = layout.bucket(proven, day)
    times = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    pipeline.nightly()
    again = again_in(pipeline, proven, times)
    numbers = re.search(r": (\d+) reports done again, (\d+) carried over", told)
    assert numbers is not None
    assert int(numbers[1]) == len(again) > 0
    assert int(numbers[2]) == len(pipeline.manifest(proven).reports) - len(again)
    assert bool(filters) == (int(numbers[2]) > 0)


def test_a_proof_of_another_version_is_done_again_as_a_whole(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-", "-IR-")
    pipeline.nightly()
    day = pipeline.today
    reports = len(pipeline.manifest(Stage.NORMALISED).reports)
    for stage, told in (
        (Stage.SANITISED, "; sanitised, by another version: all reports again"),
        (Stage.NORMALISED, f": {reports} reports done again, 0 carried over; sanitised"),
    ):
        path = pipeline.layout.manifest(stage, day)
        manifest = Manifest.read(path)
        manifest.version = "an older one"
        manifest.write(path)
        assert told in pipeline.verb("forget", "normalise", day, day, "--country", "GR", "--dry-run")


def test_an_empty_filter_is_a_mistake_and_not_all_reports(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.nightly()
    day = pipeline.today
    before = pipeline.everything()
    for option in ("--country", "--asn", "--test-name"):
        output = pipeline.verb("forget", "normalise", day, day, option, "", expect=2)
        assert f"{option} says nothing" in output
    assert pipeline.everything() == before
