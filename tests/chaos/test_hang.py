"""A night that hangs: it is ended, somebody is told, nothing is left behind, and the next run heals it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.process import command_of
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server

SECONDS = "4"
WORKERS = ["1", pytest.param("2", marks=pytest.mark.full_chaos)]


@contextlib.contextmanager
def locked(pipeline: Pipeline, sql: str) -> Iterator[None]:
    """Somebody's session that holds a lock and does nothing more."""
    connection = psycopg2.connect(pipeline.url)
    try:
        connection.cursor().execute(sql)
        yield
    finally:
        connection.close()


def session(leader: int) -> list[int]:
    """The processes of a session that are there still, but for zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
            if int(of) == leader and state != "Z":
                found.append(int(path.parent.name))
    return found


def children(parent: int, *words: str) -> list[int]:
    """The living children of a process, or those of them that were called with one of these words."""
    found = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [pid for pid in found if (command := command_of(pid)) and all(word in command for word in words)]


def task_that_waits(pipeline: Pipeline, night: subprocess.Popen[str]) -> int:
    """The process of the sanitising that waits for the lock that the test holds."""
    until(lambda: pipeline.layout.manifest(Stage.NORMALISED, pipeline.today).exists(), night)
    found: list[int] = []
    while len(found) != 1 or found != children(night.pid):
        found = children(night.pid)
        time.sleep(0.5)
    return found[0]


def ended(night: subprocess.Popen[str]) -> str:
    """What a night printed that hung and was ended; nothing of it is left."""
    output, _ = night.communicate(timeout=120)
    assert night.returncode == 30, output
    time.sleep(0.5)
    assert session(night.pid) == []
    assert "Traceback" not in output
    return output


def heals(pipeline: Pipeline) -> None:
    pipeline.nightly(None, "--worker-timeout", "300")
    pipeline.verb("ledger", pipeline.today)


def until(condition: Callable[[], bool], night: subprocess.Popen[str]) -> None:
    begin = time.monotonic()
    while not condition():
        assert night.poll() is None and time.monotonic() - begin < 60
        time.sleep(0.02)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    ("stage", "lock"),
    [
        ("LoadMeasurements", "LOCK TABLE metrics"),
        pytest.param("LoadMeasurements", "LOCK TABLE fingerprint_matches", marks=pytest.mark.full_chaos),
        pytest.param(
            "RefreshViews", "CREATE INDEX ours ON blockpage_count (probe_cc)", marks=pytest.mark.full_chaos
        ),
        pytest.param("RefreshViews", "LOCK TABLE views_contain IN SHARE MODE", marks=pytest.mark.full_chaos),
    ],
)
def test_a_stage_that_waits_for_somebodys_session(
    pipeline: Pipeline, stage: str, lock: str, workers: str
) -> None:
    pipeline.receive("-GR-")
    with locked(pipeline, lock):
        night = pipeline.start_night(
            "--log-level", "WARNING", "--workers", workers, "--worker-timeout", SECONDS
        )
        output = ended(night)
    told = f"{stage} of bucket {pipeline.today}: "
    (line,) = [line for line in output.splitlines() if told in line]
    assert f"timed out after {SECONDS} seconds" in line and "the next run goes on" in line
    assert pipeline.layout.manifest(Stage.PUBLISHED, pipeline.today).exists(), (
        "the mirror does not wait for it"
    )
    heals(pipeline)


@pytest.mark.full_chaos
def test_a_question_does_not_wait(pipeline: Pipeline) -> None:
    """Whether a bucket is loaded is asked by luigi itself, for which there is no timeout."""
    pipeline.receive("-GR-")
    with locked(pipeline, "LOCK TABLE loads"):
        night = pipeline.start_night("--log-level", "WARNING", "--worker-timeout", SECONDS)
        output = ended(night)
    assert "the database answers 55P03: canceling statement due to lock timeout" in output
    assert "pg_stat_activity" in output
    heals(pipeline)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_task_that_is_stopped(pipeline: Pipeline, workers: str) -> None:
    """A stopped process takes no polite hint."""
    pipeline.receive("-GR-")
    with one_writer(
        pipeline.layout.lock("SanitiseReports", pipeline.today)
    ):  # it begins, and goes no further
        night = pipeline.start_night(
            "--log-level", "WARNING", "--workers", workers, "--worker-timeout", SECONDS
        )
        task = task_that_waits(pipeline, night)
        os.kill(task, signal.SIGSTOP)
    output = ended(night)
    assert f"SanitiseReports of bucket {pipeline.today}: " in output
    assert command_of(task) == ""
    heals(pipeline)


@pytest.mark.full_chaos
def test_a_process_of_the_pool_that_is_stopped(pipeline: Pipeline) -> None:
    """Its task waits for it; it goes with its task, though it is stopped."""
    pipeline.receive()
    pipeline.configure(processing__processes="1")
    night = pipeline.start_night("--log-level", "WARNING", "--worker-timeout", "6")
    parts = pipeline.layout.bucket(Stage.NORMALISED, pipeline.today)
    until(lambda: parts.is_dir() and any(parts.iterdir()), night)
    pool = [pid for task in children(night.pid) for pid in children(task, "spawn_main")]
    assert pool
    for pid in pool:
        os.kill(pid, signal.SIGSTOP)
    output = ended(night)
    assert f"NormaliseReports of bucket {pipeline.today}: " in output
    assert [command_of(pid) for pid in pool] == [""] * len(pool)
    heals(pipeline)


def test_a_task_that_is_killed_is_told(pipeline: Pipeline) -> None:
    """Cron's lines log warnings and errors alone, and luigi tells of this at another level."""
    pipeline.receive("-GR-")
    with one_writer(pipeline.layout.lock("SanitiseReports", pipeline.today)):
        night = pipeline.start_night("--log-level", "WARNING")
        os.kill(task_that_waits(pipeline, night), signal.SIGKILL)
        output = ended(night)
    assert f"SanitiseReports of bucket {pipeline.today}: " in output
    assert "died unexpectedly with exit code -9; the next run goes on" in output
    heals(pipeline)


def test_luigi_cfg_ends_what_hangs() -> None:
    """The option that all of the above needs is in what we ship."""
    from tests.test_docs import shipped

    assert 3600 * 6 < int(shipped()["worker"]["timeout"]) < 3600 * int(shipped()["check"]["longest_hours"])
