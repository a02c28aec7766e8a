"""``python -m tasks.check``: one line for each thing that somebody must know in the morning."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ooni_pipeline.bucket.freshness import due
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import PATIENCE, one_writer
from tasks.base import utc_now
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server

LATE = dt.timedelta(hours=3)
#: Where the tests run the disk may be fuller than an operator would like.
ROOM = {"check__free_percent": "0"}


@pytest.fixture
def well(pipeline: Pipeline) -> Pipeline:
    """A pipeline of which every bucket that is due is done."""
    pipeline.configure(**ROOM)
    dates = due(utc_now(), LATE)
    pipeline.verb("adopt", "--empty", dates[0], min(dates[-1], pipeline.today - dt.timedelta(days=1)))
    pipeline.nightly(dates[-1])  # before 07:00 that is yesterday's
    return pipeline


def problems(pipeline: Pipeline, *arguments: str) -> list[str]:
    output = pipeline.verb("check", *arguments, expect=1)
    lines = output.splitlines()
    assert all(line.startswith("PROBLEM    ") for line in lines), output
    return lines


def test_all_is_well(well: Pipeline) -> None:
    last = due(utc_now(), LATE)[-1]
    assert well.verb("check").splitlines() == [
        f"all is well: the buckets from {last - dt.timedelta(days=6)} to {last} are done"
    ]
    assert well.verb("check", "--quiet") == ""


def test_what_is_late_is_one_line(well: Pipeline) -> None:
    last = due(utc_now(), LATE)[-1]
    well.verb("forget", "load", last, last)
    (line,) = problems(well, "--quiet")
    assert f"bucket {last} is late, not loaded" in line
    assert f"luigi --module tasks.nightly Nightly --bucket-date {last}" in line
    well.nightly(last)
    well.verb("check")


def test_a_refresh_that_is_stuck_is_noticed(well: Pipeline) -> None:
    """Rows of any bucket, however old, that the views have not shown for hours."""
    day = dt.date(2016, 8, 1)
    well.put_raw(day, "-GR-")
    well.verb("adopt", day, day)
    well.luigi("--module", "tasks.load", "LoadMeasurements", "--bucket-date", str(day))
    well.verb("check")  # not yet
    well.change(
        "UPDATE loads SET loaded_at = now() - interval '3 hours 1 minute' WHERE bucket_date = '2016-08-01'"
    )
    well.change("UPDATE views_contain SET refreshed_at = now() - interval '7 days 2 hours'")
    (line,) = problems(well)
    assert "the views do not show 1 loads, the oldest 3 h 1 min old; the last refresh was 7 d 2 h ago" in line
    well.nightly(day)
    well.verb("check")


def test_a_database_that_is_down(well: Pipeline) -> None:
    well.configure(database__url="postgresql:///nowhere?host=/nonexistent", **ROOM)
    (line,) = problems(well)
    assert "cannot reach the database" in line


def test_a_database_of_older_code(well: Pipeline) -> None:
    well.change("DELETE FROM schema_migrations WHERE file LIKE 'schema/006%'")
    assert any("the database lacks schema/006" in line for line in problems(well))


def test_an_embedded_database_that_nobody_started(pipeline: Pipeline, postgres_bin_dir: Path) -> None:
    pipeline.configure(database__url="embedded", database__embedded_bin_dir=str(postgres_bin_dir), **ROOM)
    assert "python -m tasks.database start" in problems(pipeline)[0]


def test_a_full_disk_and_a_mirror_that_is_gone(well: Pipeline) -> None:
    well.configure(check__free_percent="101")
    lines = problems(well)
    assert any("where the private directory" in line and "of the space are free" in line for line in lines)
    assert not any("public" in line for line in lines), "one line for each disk"
    well.configure(paths__public=str(well.root / "gone"), **ROOM)
    assert any("the public directory" in line and "No such file" in line for line in problems(well))


def test_a_luigi_that_runs_too_long(well: Pipeline) -> None:
    """Its command line is another each night, so no lock stops the next one: this tells of it."""
    well.receive("-GR-")
    pids = str(well.root / "pids")
    options = {"core__no_lock": "false", "core__lock_pid_dir": pids, **ROOM}
    well.configure(**options)
    if well.layout.manifest(Stage.RAW, well.today).exists():
        well.verb("forget", "fetch", well.today, well.today)
    with one_writer(well.layout.lock("LoadMeasurements", well.today)):
        night = well.start_night("--log-level", "WARNING")
        while not well.layout.manifest(Stage.PUBLISHED, well.today).exists():
            assert night.poll() is None
        well.configure(check__longest_hours="0", **options)
        (line,) = [line for line in problems(well) if f"process {night.pid} (" in line]
        assert "luigi --module tasks.nightly" in line and f"kill {night.pid}" in line
        # The same command line, typed once more, is no second night.
        assert "already running" in well.nightly(None, "--log-level", "WARNING", expect=10)
        with pytest.raises(subprocess.TimeoutExpired):
            night.communicate(timeout=PATIENCE + 3)
    output, _ = night.communicate(timeout=120)
    assert night.returncode == 0
    assert f"LoadMeasurements of bucket {well.today} waits for process {os.getpid()} (" in output
    assert str(night.pid) not in well.verb("check")


def test_a_bad_option_is_named(well: Pipeline) -> None:
    well.configure(check__late_hours="soon")
    output = well.verb("check", expect=1)
    assert "a value in [check] cannot be read" in output and "Traceback" not in output


def test_a_damaged_manifest_is_a_problem_and_the_rest_is_told(well: Pipeline) -> None:
    last = due(utc_now(), LATE)[-1]
    well.layout.manifest(Stage.RAW, last).write_text("{")
    well.configure(check__free_percent="101")
    lines = problems(well)
    assert any("is not a manifest" in line for line in lines)
    assert any("of the space are free" in line for line in lines)


def test_it_is_run_like_cron_runs_it(well: Pipeline) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tasks.check", "--quiet"],
        env=well.environment(),
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == ran.stderr == ""
