"""Nights that go wrong: configuration, a database that is down, two at once, kill -9 in every stage."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time

import psycopg2
import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from tests.tasks.conftest import DEMO, LUIGI, Pipeline

pytestmark = pytest.mark.one_server


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"database__url": "postgres.example.org"}, "[database] url is neither"),
        ({"database__ur": "x"}, "no option [database] ur"),
        ({"fetch__collectors": "relative/archive"}, "[fetch] collectors: 'relative/archive' is no absolute"),
        (
            {"fetch__collectors": "{root}/backup/reports-raw"},
            "lie in one another: what is fetched is removed",
        ),
        ({"fetch__collectors": "{root}"}, "lie in one another: what is fetched is removed"),
        ({"backup__url": "backup"}, "[backup] url: 'backup' is no absolute directory"),
        ({"backup__url": "s3://KEY:SECRET@bucket"}, "[backup] url: s3://… is no absolute directory"),
        ({"paths__private": ""}, "[paths] private is no absolute directory"),
        ({"paths__public": "public"}, "[paths] public is no absolute directory"),
        ({"path__private": "/data"}, "has a section [path]: is it meant to be [paths]?"),
        ({"processing__processes": "many"}, "a value in [processing] cannot be read"),
        (
            {"sanitise__bridge_table": "/nonexistent/table"},
            "the bridge table /nonexistent/table cannot be read",
        ),
    ],
)
def test_a_wrong_option_is_named_in_one_line(pipeline: Pipeline, changed: dict[str, str], says: str) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(
        **{option: value.replace("{root}", str(pipeline.root)) for option, value in changed.items()}
    )
    failed = pipeline.start_night("--log-level", "WARNING")
    output, _ = failed.communicate(timeout=120)
    assert any(says in line for line in output.splitlines()), output
    assert "Traceback" not in output
    assert "SECRET" not in output
    assert failed.returncode in (30, 35)


def test_a_configuration_that_is_not_there_is_no_default_one(pipeline: Pipeline) -> None:
    (pipeline.root / "luigi.cfg").unlink()
    output = pipeline.verb("migrate", expect=1)
    assert f"LUIGI_CONFIG_PATH names {pipeline.root / 'luigi.cfg'}, which cannot be read" in output


def test_a_directory_that_cannot_be_written_is_one_line(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(paths__public="/dev/full/public")
    output = pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    assert "/dev/full" in output
    assert "mend it and run PublishReports again" in output
    assert "Traceback" not in output


def test_a_collector_that_is_not_there_is_told(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(fetch__collectors=f"{pipeline.archive} /nowhere/archive")
    output = pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    assert "goes without collector /nowhere/archive" in output
    assert "/nowhere/archive was not reached" in pipeline.verb("ledger", "--quiet", pipeline.today)


def test_a_private_directory_that_was_open_is_closed(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.layout.private.mkdir(exist_ok=True)
    pipeline.layout.private.chmod(0o755)
    assert "was open to others" in pipeline.nightly(None, "--log-level", "WARNING")
    assert pipeline.layout.private.stat().st_mode & 0o777 == 0o700


def test_a_load_that_forget_overtakes_is_not_done(pipeline: Pipeline) -> None:
    """It must not keep, marked as done, rows that were made from what has been forgotten."""
    pipeline.receive("-GR-")
    pipeline.nightly()
    day = str(pipeline.today)
    with one_writer(pipeline.layout.lock("PublishReports", pipeline.today)):  # forget waits for a publish
        forgetting = pipeline.start(sys.executable, "-m", "tasks.forget", "sanitise", day, day)
        time.sleep(2)
        loading = pipeline.start(
            str(LUIGI), "--module", "tasks.load", "LoadMeasurements", "--bucket-date", day
        )
        loading.communicate(timeout=60)
    forgetting.communicate(timeout=60)
    assert forgetting.returncode == 0
    assert pipeline.query("SELECT count(*) FROM loads") == [(0,)]
    pipeline.nightly()
    pipeline.verb("ledger", day)


def test_forget_waits_for_a_load(pipeline: Pipeline) -> None:
    """One that ends between the forgetting of its marker and that of its manifest would stay marked."""
    pipeline.receive("-GR-")
    pipeline.nightly()
    day = str(pipeline.today)
    with one_writer(pipeline.layout.lock("LoadMeasurements", pipeline.today)):
        forgetting = pipeline.start(sys.executable, "-m", "tasks.forget", "sanitise", day, day)
        with pytest.raises(subprocess.TimeoutExpired):
            forgetting.wait(timeout=3)
        assert pipeline.query("SELECT count(*) FROM loads") == [(1,)]
        assert pipeline.layout.manifest(Stage.SANITISED, pipeline.today).exists()
    forgetting.communicate(timeout=60)
    assert forgetting.returncode == 0
    assert pipeline.query("SELECT count(*) FROM loads") == [(0,)]


def test_a_load_whose_proof_is_another_one_by_its_end_is_not_done(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.nightly()
    day = str(pipeline.today)
    pipeline.verb("forget", "load", day, day)
    other = psycopg2.connect(pipeline.url)
    try:
        other.cursor().execute("LOCK TABLE country_totals IN ACCESS EXCLUSIVE MODE")
        loading = pipeline.start(
            str(LUIGI), "--module", "tasks.load", "LoadMeasurements", "--bucket-date", day
        )
        deadline = time.monotonic() + 60
        while not _waiting_for_a_lock(pipeline) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.utime(pipeline.layout.manifest(Stage.SANITISED, pipeline.today), (0, 0))
    finally:
        other.close()
    output, _ = loading.communicate(timeout=60)
    assert "was forgotten or made anew meanwhile" in output
    assert loading.returncode == 30
    assert pipeline.query("SELECT count(*) FROM loads") == [(0,)]
    pipeline.nightly()
    pipeline.verb("ledger", day)


def _waiting_for_a_lock(pipeline: Pipeline) -> bool:
    waiting = "datname = current_database() AND wait_event_type = 'Lock'"
    return pipeline.query(f"SELECT count(*) FROM pg_stat_activity WHERE {waiting}") != [(0,)]


def test_forgetting_nothing_says_so(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.nightly()
    day = pipeline.today
    assert "forgot nothing" in pipeline.verb("forget", "normalise", day, day, "--country", "greece")
    assert "Did not run any tasks" in pipeline.nightly()
    earlier = day - dt.timedelta(days=1)
    for verb in (["forget", "load"], ["ledger"], ["adopt"]):
        output = pipeline.verb(*verb, earlier, earlier - dt.timedelta(days=1), expect=2)
        assert "is before the first" in output


def test_only_past_buckets_are_adopted(pipeline: Pipeline) -> None:
    for day in (pipeline.today, pipeline.today + dt.timedelta(days=3)):
        assert "python -m tasks.forget fetch" in pipeline.verb("adopt", "--empty", day, day, expect=2)
    pipeline.receive("-GR-")
    pipeline.nightly()
    assert pipeline.manifest(Stage.RAW).usable(), "tonight is still to come"


def test_a_bucket_that_is_lost_on_its_own_day_comes_back_from_the_backup(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.nightly()
    rows = pipeline.rows_digest()
    pipeline.verb("forget", "fetch", pipeline.today, pipeline.today)
    shutil.rmtree(pipeline.layout.bucket(Stage.RAW, pipeline.today))
    output = pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    assert "away and run FetchReports again" in output
    pipeline.layout.plan(pipeline.today).unlink()
    assert "came back from the backup" in pipeline.nightly(None, "--log-level", "WARNING")
    assert pipeline.rows_digest() == rows
    pipeline.verb("ledger", pipeline.today)


def test_the_ledger_looks_at_the_files(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.nightly()
    day = pipeline.today
    published = next(pipeline.layout.bucket(Stage.PUBLISHED, day).glob("*.json.gz"))
    published.write_bytes(b"x")
    assert "its manifest says" in pipeline.verb("ledger", day, expect=1)
    published.unlink()
    assert "is missing" in pipeline.verb("ledger", day, expect=1)
    pipeline.verb("forget", "publish", day, day)
    (pipeline.layout.bucket(Stage.RAW, day) / "late.yaml").write_bytes(b"somebody put it here")
    assert "1 files in" in pipeline.verb("ledger", day, expect=1)
    pipeline.verb("forget", "fetch", day, day)
    pipeline.nightly()
    pipeline.verb("ledger", day)
    table = json.loads((DEMO / "bridge_table.json").read_bytes())
    table["198.51.100.99:443"] = {"fingerprint": "0" * 39 + "7", "distributor": None, "transport": None}
    (pipeline.root / "table.json").write_text(json.dumps(table))
    pipeline.configure(sanitise__bridge_table=str(pipeline.root / "table.json"))
    assert f"python -m tasks.resanitise {day} {day}" in pipeline.verb("ledger", "--quiet", day)


def test_a_bridge_in_the_name_of_a_report_is_not_published(pipeline: Pipeline) -> None:
    fingerprint = next(iter(json.loads((DEMO / "bridge_table.json").read_bytes()).values()))["fingerprint"]
    entry = b'{"test_name": "web_connectivity", "input": "http://a.test/"}\n'
    name = f"20160801T000000Z-web_connectivity-{fingerprint}-AS1-US-probe-0.2.0.json"
    (pipeline.archive / name).write_bytes(entry)
    pipeline.receive("-GR-")
    pipeline.nightly()
    assert pipeline.manifest(Stage.SANITISED).tally().held == 1
    (held,) = pipeline.layout.held(pipeline.today).iterdir()
    assert "bridge_in_its_name" in held.read_text()
    public = pipeline.layout.public
    told = "".join(f"{path} {path.read_bytes()!r}" for path in public.rglob("*") if path.is_file())
    assert fingerprint.lower() not in told.lower()
    pipeline.verb("ledger", pipeline.today)


def test_no_bridge_table_no_sanitised_bucket(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(sanitise__bridge_table=str(pipeline.root / "missing.json"))
    pipeline.nightly(expect=30)
    assert not pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today).exists()
    assert pipeline.query("SELECT count(*) FROM metrics") == [(0,)]
    assert pipeline.layout.manifest(Stage.BACKUP, pipeline.today).exists(), "the rest goes on"
    pipeline.configure()
    pipeline.nightly()
    pipeline.verb("ledger", pipeline.today)


def test_a_database_without_schema_names_the_command(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.query("DROP TABLE schema_migrations; COMMIT; SELECT 1")
    output = pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    assert "run python -m tasks.migrate" in output


def test_a_damaged_proof_of_today_does_not_stop_the_night(pipeline: Pipeline) -> None:
    """Whether a wrong clock made it is asked before anything runs; what cannot be read is told."""
    pipeline.receive("-GR-")
    pipeline.nightly()
    pipeline.layout.manifest(Stage.REMOVED, pipeline.today).write_text("{")
    pipeline.verb("forget", "load", pipeline.today, pipeline.today)
    output = pipeline.nightly(None, "--log-level", "WARNING")
    assert f"bucket {pipeline.today} stays as it is" in output and "is not a manifest" in output
    assert pipeline.query("SELECT count(*) FROM loads") == [(1,)]
