from __future__ import annotations

import pytest

from ooni_pipeline.bucket.forget import forget_bucket, needs_loading_again
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from tests.bucket.work import DATE

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
    carried = ["raw", "normalised", "sanitised"] if stage is Stage.RAW else []
    assert kept_aside(done) == carried
    assert forget_bucket(done, stage, DATE) == []
    assert kept_aside(done) == carried


def test_forgetting_a_stage_after_fetch_carries_nothing_over(done: Layout) -> None:
    forget_bucket(done, Stage.RAW, DATE)
    forget_bucket(done, Stage.NORMALISED, DATE)
    assert kept_aside(done) == ["raw"]


def test_only_stages_above_the_load_ask_for_another() -> None:
    assert [stage.value for stage in Stage if needs_loading_again(stage)] == [
        "raw",
        "normalised",
        "sanitised",
    ]
