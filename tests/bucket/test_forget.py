from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ooni_pipeline.bucket.forget import forget_bucket, needs_loading_again, renew_proof, reports_of
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.stage import process_bucket
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.work import Job, Outcome
from tests.bucket.work import DATE, NOW, raw_bucket, upper

GONE = {
    Stage.RAW: ["raw", "backup", "removed", "normalised", "sanitised", "published"],
    Stage.BACKUP: ["backup", "removed"],
    Stage.REMOVED: ["removed"],
    Stage.NORMALISED: ["normalised", "sanitised", "published"],
    Stage.SANITISED: ["sanitised", "published"],
    Stage.PUBLISHED: ["published"],
}


@pytest.fixture
def done(layout: Layout) -> Layout:
    """A bucket of which every stage is proven."""
    for stage in Stage:
        Manifest(stage.value, DATE, "").write(layout.manifest(stage, DATE))
    return layout


def proven(layout: Layout) -> list[str]:
    return [stage.value for stage in Stage if layout.manifest(stage, DATE).exists()]


def kept_aside(layout: Layout) -> list[str]:
    return [stage.value for stage in Stage if layout.forgotten(stage, DATE).exists()]


@pytest.mark.parametrize("stage", Stage)
def test_which_proofs_go(done: Layout, stage: Stage) -> None:
    forgotten = forget_bucket(done, stage, DATE)
    assert sorted(below.value for below in forgotten) == sorted(GONE[stage])
    assert (
        forgotten[-1] is stage
    )  # the lowest first: a run that dies leaves no stage done without its upstream
    assert proven(done) == [other.value for other in Stage if other.value not in GONE[stage]]
    carried = {
        # What was removed on collectors stays known too: a file that is gone there was not lost.
        Stage.RAW: ["raw", "backup", "removed", "normalised", "sanitised"],
        Stage.BACKUP: ["backup"],  # what lies in the backup is told by nothing else where it is encrypted
    }.get(stage, [])
    assert kept_aside(done) == carried
    assert forget_bucket(done, stage, DATE) == []
    assert kept_aside(done) == carried


def test_forgetting_a_stage_after_fetch_carries_nothing_over(done: Layout) -> None:
    forget_bucket(done, Stage.RAW, DATE)
    forget_bucket(done, Stage.NORMALISED, DATE)
    assert kept_aside(done) == ["raw", "backup", "removed"]


def test_only_stages_above_the_load_ask_for_another() -> None:
    assert [stage.value for stage in Stage if needs_loading_again(stage)] == [
        "raw",
        "normalised",
        "sanitised",
    ]


def through(layout: Layout, stage: Stage, above: Stage, version: str = "1") -> list[str]:
    """Run a stage; which reports it did."""
    done: list[str] = []

    def work(job: Job) -> Outcome:
        done.append(job.report)
        return upper(job)

    process_bucket(layout, stage, above, DATE, work, version=version, now=NOW, pool=ThreadPoolExecutor)
    return sorted(done)


def test_matching_reports_are_done_again_and_the_others_carried_over(layout: Layout) -> None:
    reports = [
        f"20160731T000000-http_host-id-{asn}-{cc}-probe-0.2.0" for asn, cc in (("AS1", "GR"), ("AS2", "IT"))
    ]
    raw_bucket(layout, {f"{report}": "x\n" for report in reports})
    raw = Manifest.read(layout.manifest(Stage.RAW, DATE))
    for record in raw.reports:
        record.report = str(record.name)
    raw.write(layout.manifest(Stage.RAW, DATE))
    assert through(layout, Stage.NORMALISED, Stage.RAW) == reports
    assert through(layout, Stage.SANITISED, Stage.NORMALISED) == reports
    matching = reports_of(country="it")
    for _ in range(2):
        forget_bucket(layout, Stage.NORMALISED, DATE, matching)
    assert proven(layout) == ["raw"]
    assert through(layout, Stage.NORMALISED, Stage.RAW) == reports[1:]
    assert through(layout, Stage.SANITISED, Stage.NORMALISED) == []  # they came out as they were
    assert forget_bucket(layout, Stage.SANITISED, DATE, matching) == [Stage.SANITISED]
    assert through(layout, Stage.SANITISED, Stage.NORMALISED) == reports[1:]
    forget_bucket(layout, Stage.NORMALISED, DATE, matching)
    forget_bucket(layout, Stage.NORMALISED, DATE, reports_of(asn="1"))
    assert through(layout, Stage.NORMALISED, Stage.RAW) == reports


@pytest.mark.parametrize("stage", [Stage.RAW, Stage.BACKUP, Stage.REMOVED, Stage.PUBLISHED])
def test_other_stages_are_forgotten_for_all_reports(done: Layout, stage: Stage) -> None:
    with pytest.raises(BucketError, match=f"stage {stage.value} does not work report by report"):
        forget_bucket(done, stage, DATE, reports_of(country="GR"))
    assert len(proven(done)) == len(Stage)


def test_a_filter_needs_all_that_it_says() -> None:
    report = "20160731T000000-HTTP_Host-id-AS1-GR-probe-0.2.0"
    assert reports_of()(report)
    assert reports_of(test_name="http_host", country="gr", asn="AS1")(report)
    assert reports_of(asn="as1")(report)
    for filter_ in ({"test_name": "tcp_connect"}, {"country": "IT"}, {"asn": "11"}):
        assert not reports_of(**filter_)(report)
        assert not reports_of(**{"country": "GR", "asn": "1", **filter_})(report)
    assert not reports_of()("unnamed_0123")


def test_what_was_searched_is_carried_over_to_another_version(layout: Layout) -> None:
    raw_bucket(layout, {f"{letter}.json": f"{letter}\n" for letter in "abc"})
    assert through(layout, Stage.NORMALISED, Stage.RAW) == ["a", "b", "c"]
    searched = Manifest.read(layout.manifest(Stage.NORMALISED, DATE))
    forget_bucket(layout, Stage.NORMALISED, DATE, "b".__eq__, searched=searched, version="2")
    assert through(layout, Stage.NORMALISED, Stage.RAW, version="2") == ["b"]
    with pytest.raises(BucketError, match="was made anew meanwhile"):
        forget_bucket(layout, Stage.NORMALISED, DATE, "b".__eq__, searched=searched, version="3")
    assert layout.manifest(Stage.NORMALISED, DATE).exists()


def test_a_proof_is_renewed_alone(layout: Layout) -> None:
    for stage in (Stage.SANITISED, Stage.PUBLISHED):
        Manifest(stage.value, DATE, "then", "1", {"a": "b"}).write(layout.manifest(stage, DATE))
    searched = Manifest.read(layout.manifest(Stage.SANITISED, DATE))
    renew_proof(layout, searched, "2", {"c": "d"})
    sanitised, published = (
        Manifest.read(layout.manifest(stage, DATE)) for stage in (Stage.SANITISED, Stage.PUBLISHED)
    )
    assert (sanitised.version, sanitised.made, sanitised.facts) == ("2", "then", {"a": "b", "c": "d"})
    assert (published.version, published.facts) == ("2", {"a": "b"})
    with pytest.raises(BucketError, match="was made anew meanwhile"):
        renew_proof(layout, searched, "3", {})
    assert Manifest.read(layout.manifest(Stage.SANITISED, DATE)).version == "2"
    layout.manifest(Stage.PUBLISHED, DATE).unlink()
    renew_proof(layout, sanitised, "3", {})
    assert not layout.manifest(Stage.PUBLISHED, DATE).exists()
