"""Withdrawals that are killed, and what the files of the database still hold after one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ooni_pipeline.bucket.withdrawn import withdrawn_counts
from tests.tasks.conftest import TOP, Pipeline
from tests.tasks.test_withdraw import (
    ADDRESS,
    CANARY,
    YESTERDAY,
    assert_gone,
    entry,
    everything_received,
    in_the_database,
    lines,
    name,
    withdraw,
)

pytestmark = [pytest.mark.one_server, pytest.mark.full_chaos]


@pytest.mark.parametrize("step", [37, 1])
def test_killed_at_any_moment_the_same_command_finishes_it(pipeline: Pipeline, step: int) -> None:
    """Killed before a change of a file, ever later, each time on what the last run left."""
    everything_received(pipeline)
    others = pipeline.query(f"SELECT count(*) FROM metrics WHERE metrics::text !~ '{CANARY}'")
    killed = 0
    for moment in range(1, 2000, step):
        ran = subprocess.run(
            [
                sys.executable, "-m", "tests.chaos.killed", str(moment),
                "tasks.withdraw", "--address", "--yes", "--why", "a volunteer asked",
            ],
            cwd=TOP, env=pipeline.environment(), input=ADDRESS, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode == 0:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stdout + ran.stderr
        killed += 1
    assert killed > 1
    assert_gone(pipeline, others)
    counts = [withdrawn_counts(pipeline.layout, day) for day in (YESTERDAY, pipeline.today)]
    assert counts == [(0, 1), (3, 4)], "each is counted once"


def files_of_the_database(pipeline: Pipeline) -> set[str]:
    """The tables, indexes and catalogs in whose files, on the disk, a trace is left."""
    ((directory, oid),) = pipeline.query(
        "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
    )
    pipeline.change("CHECKPOINT")
    named = dict(pipeline.query("SELECT pg_relation_filenode(oid)::text, relname FROM pg_class"))
    return {
        named.get(path.name.partition(".")[0], path.name)
        for path in (Path(directory) / "base" / str(oid)).iterdir()
        if any(text.encode() in path.read_bytes() for text in (CANARY, ADDRESS))
    }


def test_no_byte_is_left_in_tables_that_are_written_anew(pipeline: Pipeline) -> None:
    """Nor in their indexes, in the views, and in the statistics of the catalog."""
    for number in range(20):
        report = lines(*(entry(100 + number, canary=bool(number % 2), n=n) for n in range(5)))
        (pipeline.archive / name(f"many{number}")).write_bytes(report)
    pipeline.nightly()
    assert any(table.startswith("metrics_") for table in files_of_the_database(pipeline))
    withdraw(pipeline, "--address", "--yes", "--why", "w", "--rewrite-tables", stdin=ADDRESS)
    assert in_the_database(pipeline) == []
    assert files_of_the_database(pipeline) == set()
