"""kill -9, in the middle of every stage: luigi, the process of one task, processes of the pool, luigid."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.chaos.night import MIDDLES, ended, heals, is_done, lines_with, received, slow, wait_for_the_middle
from tests.tasks.conftest import Pipeline
from tests.tasks.test_luigid import luigid, luigid_process

pytestmark = pytest.mark.one_server
full = pytest.mark.full_chaos

#: What luigi exits with when a task failed, was not run, or an error came from outside of tasks.
NOT_DONE = (20, 25, 30, 35, 40)


def _below(pid: int) -> dict[int, str]:
    """The processes that a process started, and those that these started: pid -> command line."""
    parents, commands = {}, {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has just ended
                continue
    found: dict[int, str] = {}
    above = {pid}
    while above:
        above = {child for child, parent in parents.items() if parent in above}
        found.update({child: commands.get(child, "") for child in above})
    return found


def _pool(run: subprocess.Popen[str]) -> list[int]:
    return sorted(pid for pid, command in _below(run.pid).items() if "spawn_main" in command)


def _tasks(run: subprocess.Popen[str]) -> list[int]:
    """The processes that luigi forked for its tasks."""
    return sorted(pid for pid, command in _below(run.pid).items() if "tasks.nightly" in command)


@pytest.mark.parametrize(
    ("stage", "workers"),
    [
        pytest.param(stage, workers, marks=[] if (stage, workers) == ("sanitise", "1") else full)
        for stage in MIDDLES
        for workers in ("1", "2")
    ],
)
def test_luigi_is_killed(pipeline: Pipeline, stage: str, workers: str) -> None:
    pipeline.receive()
    came = received(pipeline)
    with slow(pipeline, stage):
        run = pipeline.start_night("--workers", workers)
        wait_for_the_middle(pipeline, stage, run)
        os.kill(run.pid, signal.SIGKILL)  # luigi alone: its tasks and their pools must die with it
        ended(run, 30)  # only when every process that holds its output has ended
        assert run.returncode == -signal.SIGKILL
    heals(pipeline, came)


@pytest.mark.parametrize("stage", [pytest.param(s, marks=[] if s == "load" else full) for s in MIDDLES])
def test_the_process_of_a_task_is_killed(pipeline: Pipeline, stage: str) -> None:
    pipeline.receive()
    came = received(pipeline)
    with slow(pipeline, stage):
        run = pipeline.start_night("--workers", "2")
        wait_for_the_middle(pipeline, stage, run)
        tasks = _tasks(run)
        assert tasks
        for pid in tasks:
            os.kill(pid, signal.SIGKILL)
        output = ended(run)
    assert run.returncode == 30
    assert lines_with(output, f"{TASKS[stage]}") and lines_with(output, "died unexpectedly with exit code -9")
    heals(pipeline, came)


TASKS = {
    "fetch": "FetchReports", "backup": "BackupReports", "remove": "RemoveFetchedReports",
    "normalise": "NormaliseReports", "sanitise": "SanitiseReports", "publish": "PublishReports",
    "load": "LoadMeasurements", "refresh": "RefreshViews",
}  # fmt: skip


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=full)])
@pytest.mark.parametrize("victims", ["one", pytest.param("all", marks=full)])
@pytest.mark.parametrize(
    "stage", [pytest.param("normalise", marks=full), "sanitise", pytest.param("publish", marks=full)]
)
def test_processes_of_the_pool_are_killed(pipeline: Pipeline, stage: str, victims: str, workers: str) -> None:
    """Somebody else's kill is no report's fault: the night itself goes on, and none is rejected for it."""
    pipeline.receive()
    came = received(pipeline)
    run = pipeline.start_night("--workers", workers)
    wait_for_the_middle(pipeline, stage, run)
    pool = _pool(run)
    assert pool
    for pid in pool if victims == "all" else pool[:1]:
        os.kill(pid, signal.SIGKILL)
    output = ended(run)
    assert run.returncode == 0, output
    for made in (Stage.NORMALISED, Stage.SANITISED):
        assert not [record for record in pipeline.manifest(made).reports if "killed" in record.rejected]
    heals(pipeline, came)


@pytest.mark.parametrize(
    ("stage", "workers"),
    [
        pytest.param(stage, workers, marks=[] if (stage, workers) == ("backup", "1") else full)
        for stage in MIDDLES
        for workers in ("1", "2")
    ],
)
def test_luigid_is_killed(pipeline: Pipeline, stage: str, workers: str) -> None:
    """The night ends soon, with its work done or with an exit status that says that it is not."""
    pipeline.receive()
    came = received(pipeline)
    with luigid_process(pipeline) as (_, daemon):
        with slow(pipeline, stage):
            run = pipeline.start_night("--workers", workers)
            wait_for_the_middle(pipeline, stage, run)
            daemon.kill()
            daemon.wait()
        output = ended(run, 100)
        if workers == "1":  # (with more, luigi ends what its other processes do)
            assert is_done(pipeline, stage), "a stage is not about luigid"
        assert run.returncode in NOT_DONE, output
        assert lines_with(output, "luigid does not answer: start it, or set [core] local_scheduler")
        assert "NoneType: None" not in output, "a traceback of nothing"
    if workers == "1":  # it is started again
        with luigid(pipeline):
            heals(pipeline, came)
    else:  # or the next night goes without
        pipeline.configure()
        heals(pipeline, came)
