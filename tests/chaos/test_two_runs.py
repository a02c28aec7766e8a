"""Two runs of one date at the same time: one does the work, both end, and the bucket is there once."""

from __future__ import annotations

import pytest

from tests.chaos.night import ended, heals, received
from tests.tasks.conftest import Pipeline
from tests.tasks.test_luigid import luigid

pytestmark = pytest.mark.one_server
full = pytest.mark.full_chaos


@pytest.mark.parametrize("workers", [pytest.param("1", marks=full), "2"])
def test_two_runs_at_once(pipeline: Pipeline, workers: str) -> None:
    pipeline.receive()
    came = received(pipeline)
    runs = [pipeline.start_night("--workers", workers) for _ in range(2)]
    outputs = [ended(run) for run in runs]
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode in (0, 25), output  # 25: what the other one was doing was not run
    heals(pipeline, came)


@full
def test_two_runs_at_once_with_luigid(pipeline: Pipeline) -> None:
    pipeline.receive()
    came = received(pipeline)
    with luigid(pipeline):
        for run in [pipeline.start_night("--workers", "2") for _ in range(2)]:
            ended(run)
        heals(pipeline, came)


@full
def test_two_runs_at_once_that_make_the_database_as_well(own_server: Pipeline) -> None:
    own_server.receive()
    came = received(own_server)
    for run in [own_server.start_night("--workers", "2") for _ in range(2)]:
        output = ended(run)
        assert run.returncode in (0, 25), output
    heals(own_server, came)
