"""A disk that is full in the middle of a stage, and the run after somebody has made room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.chaos.conftest import OwnServer
from tests.chaos.disk import SmallDisk, SmallServer, can_mount
from tests.chaos.night import STAGES, ended, heals, lines_with, received
from tests.tasks.conftest import Pipeline

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.skipif(not can_mount(), reason="nobody may mount here, not even in a user namespace"),
]
full = pytest.mark.full_chaos

NO_SPACE = "No space left on device"


@pytest.fixture
def small_disk(pipeline: Pipeline) -> Iterator[SmallDisk]:
    """The pipeline, with small disks where the test mounts them."""
    made = SmallDisk(pipeline.root, pipeline.url)
    made.configure(processing__keep_free_mb="-1")
    try:
        yield made
    finally:
        made.mounts.end()


#: Where a stage writes, how many kilobytes it finds free (about half of what the demo needs), and which task
#: fails.
DISKS = {
    "raw": ("private/reports-raw", 900, "FetchReports"),
    "plan": ("private/manifests", 24, "FetchReports"),
    "proof of raw": ("private/manifests", 64, "FetchReports"),
    "index of reports": ("private/manifests", 100, "FetchReports"),
    "proofs below": ("private/manifests", 172, None),
    "proofs at the end": ("private/manifests", 244, None),
    "backup": ("backup", 900, "BackupReports"),
    "normalised": ("private/normalised", 900, "NormaliseReports"),
    "rejected": ("private/rejected", 16, "NormaliseReports"),
    "sanitised": ("private/sanitised", 900, "SanitiseReports"),
    "held": ("private/held", 8, "SanitiseReports"),
    "decisions": ("private/decisions", 0, "SanitiseReports"),
    "key": ("private/keys", 0, "FetchReports"),
    "public": ("public", 200, "PublishReports"),
    "everything, at fetch": ("private", 1000, "FetchReports"),
    "everything, at normalise": ("private", 3000, "NormaliseReports"),
    "everything, at sanitise": ("private", 5000, "SanitiseReports"),
}


@pytest.mark.parametrize("workers", [pytest.param("1", marks=full), "2"])
@pytest.mark.parametrize(
    "disk", [pytest.param(disk, marks=[] if disk in ("sanitised",) else full) for disk in DISKS]
)
def test_a_stage_fills_its_disk(small_disk: SmallDisk, disk: str, workers: str) -> None:
    where, kilobytes, task = DISKS[disk]
    place = small_disk.root / where
    small_disk.receive()
    came = received(small_disk)
    small_disk.mount(place, kilobytes)
    run = small_disk.start_night("--workers", workers)
    output = ended(run)
    assert run.returncode == 30, output
    told = lines_with(output, NO_SPACE) or lines_with(output, "database or disk is full")
    assert told, output
    assert task is None or any(task in line for line in told), told
    assert all(str(small_disk.today) in line for line in told)
    for stage in STAGES.values():  # whatever has a proof is whole
        if small_disk.seen_manifest(stage).exists():
            assert small_disk.seen_manifest(stage).read_bytes().endswith(b"]}\n")
    small_disk.resize(place, 64 * 1024)
    small_disk.nightly(None, "--workers", workers)
    small_disk.bring_back(place)
    heals(small_disk, came)


#: Where a stage writes, how many kilobytes the demo needs there at most, and the task.
NEEDS = {
    "raw": ("private/reports-raw", 1960, "FetchReports"),
    "backup": ("backup", 2070, "BackupReports"),
    "normalised": ("private/normalised", 2020, "NormaliseReports"),
    "sanitised": ("private/sanitised", 2020, "SanitiseReports"),
    "published": ("public", 470, "PublishReports"),
}


@pytest.mark.parametrize("stage", [pytest.param(s, marks=[] if s == "published" else full) for s in NEEDS])
def test_a_stage_that_cannot_fit_is_not_begun(small_disk: SmallDisk, stage: str) -> None:
    where, most, task = NEEDS[stage]
    place = small_disk.root / where
    small_disk.receive()
    came = received(small_disk)
    small_disk.mount(place, most // 5)
    small_disk.configure(processing__keep_free_mb="0")
    output = small_disk.nightly(expect=30)
    (told,) = {line for line in output.splitlines() if "needs about" in line}
    assert task in told
    assert f"bucket {small_disk.today}, {stage}, needs about " in told
    assert f" MB in {place}" in told
    assert f"where {small_disk.free(place) / 1000 * 1.024:.1f} MB are free" in told
    assert "Nothing was begun: make room and run it again" in told
    assert "Traceback" not in output
    written = [path for path in small_disk.mounts.seen(place).rglob("*") if path.is_file()]
    assert written == []
    small_disk.resize(place, 64 * 1024)
    small_disk.nightly()
    small_disk.bring_back(place)
    heals(small_disk, came)


@full
@pytest.mark.parametrize("stage", NEEDS)
def test_what_fits_is_not_refused(small_disk: SmallDisk, stage: str) -> None:
    where, most, _ = NEEDS[stage]
    small_disk.receive()
    came = received(small_disk)
    small_disk.mount(small_disk.root / where, most)
    small_disk.configure(processing__keep_free_mb="0")
    small_disk.nightly()
    free = small_disk.free(small_disk.root / where)
    assert free < 200, "the disk is to be a narrow fit"
    small_disk.bring_back(small_disk.root / where)
    heals(small_disk, came)


@full
def test_what_is_to_stay_free_stays_free(small_disk: SmallDisk) -> None:
    """And whoever wants to try all the same, may."""
    small_disk.receive("-GR-")
    small_disk.mount(small_disk.root / "private", 30_000)
    small_disk.configure(processing__keep_free_mb="40")
    output = small_disk.nightly(expect=30)
    assert lines_with(output, "are free and 40 MB are to stay so ([processing] keep_free_mb)")
    small_disk.nightly(None, "--processing-keep-free-mb", "-1")


@pytest.fixture
def small_server(own_server: OwnServer) -> Iterator[SmallServer]:
    """The same, with a PostgreSQL of its own on the small disk ``private/database`` (or its ``pg_wal``)."""
    own_server.server.stop()
    made = SmallServer(own_server.root, own_server.url, bin_dir=own_server.bin_dir)
    made.configure(processing__keep_free_mb="-1")
    try:
        yield made
    finally:
        made.verb("database", "stop", expect=None)
        made.mounts.end()


#: Kilobytes that are free when the night begins: for nothing, a part of the rows, the rows but not the views.
@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=full)])
@pytest.mark.parametrize(
    "kilobytes", [pytest.param(kb, marks=[] if kb == 1500 else full) for kb in (0, 8, 100, 500, 1500, 2000)]
)
def test_the_databases_disk_is_full(small_server: SmallServer, kilobytes: int, workers: str) -> None:
    """Its tables and its WAL: PostgreSQL may refuse (53100), or stop and not start any more."""
    database = small_server.layout.database()
    small_server.receive()
    came = received(small_server)
    small_server.mount(database, 64 * 1024)
    small_server.verb("database", "start")
    small_server.leave_free(database, kilobytes)
    output = small_server.nightly(None, "--workers", workers, expect=30)
    assert "Traceback" not in output
    assert lines_with(output, "No space left on device") or lines_with(output, "could not extend file"), (
        output
    )
    for stage in STAGES.values():
        assert small_server.seen_manifest(stage).exists(), "what needs no database goes on"
    small_server.resize(database, 512 * 1024)
    small_server.nightly(None, "--workers", workers)
    _heals_on_the_large_disk(small_server, came, database)


@full
@pytest.mark.parametrize("stage", ["load", "refresh"])
def test_the_disk_of_the_wal_is_full(small_server: SmallServer, stage: str) -> None:
    """PostgreSQL stops at once, and cannot start before there is room."""
    wal = small_server.layout.database() / "pg_wal"
    small_server.receive()
    came = received(small_server)
    if stage == "refresh":
        small_server.luigi(
            "--module", "tasks.load", "LoadMeasurements", f"--bucket-date={small_server.today}"
        )
        small_server.verb("database", "stop")
    small_server.mount(wal, 64 * 1024)
    small_server.verb("database", "start")
    small_server.end_of_wal(200_000 if stage == "load" else 8_000)
    small_server.leave_free(wal, 8)
    output = small_server.nightly(expect=30)
    assert "Traceback" not in output
    told = lines_with(output, {"load": "LoadMeasurements", "refresh": "RefreshViews"}[stage])
    assert any("cannot reach the database" in line or "PostgreSQL did not start" in line for line in told)
    log = small_server.mounts.seen(small_server.layout.database() / "server.log").read_text()
    assert "PANIC:  could not write to file" in log
    stopped = small_server.verb("database", "start", expect=None)
    assert "Traceback" not in stopped
    small_server.resize(wal, 512 * 1024)
    small_server.nightly()
    _heals_on_the_large_disk(small_server, came, wal)


def _heals_on_the_large_disk(server: SmallServer, came: list[bytes], place: Path) -> None:
    """The database is looked at where everybody sees it."""
    server.verb("database", "stop")
    server.bring_back(place)
    large = OwnServer(server.root, server.url, server.bin_dir)
    large.verb("database", "start")
    try:
        heals(large, came)
    finally:
        large.server.stop()


@full
def test_a_load_that_cannot_fit_is_not_begun(small_server: SmallServer) -> None:
    database = small_server.layout.database()
    small_server.receive()
    came = received(small_server)
    small_server.mount(database, 1000)
    small_server.configure(processing__keep_free_mb="0")
    output = small_server.nightly(expect=30)
    (told,) = {line for line in output.splitlines() if "needs about" in line}
    assert f"bucket {small_server.today}, load, needs about " in told
    assert "Nothing was begun: make room and run it again" in told
    assert "not running" in small_server.verb("database", "status"), "the server was not even started"
    small_server.resize(database, 512 * 1024)
    small_server.nightly()
    _heals_on_the_large_disk(small_server, came, database)


@full
def test_room_can_be_made_as_the_readme_says(pipeline: Pipeline) -> None:
    """Without what was normalised the ledger adds up, and the bucket can be done again."""
    pipeline.receive("-GR-")
    pipeline.nightly()
    rows, day = pipeline.rows_digest(), pipeline.today
    shutil.rmtree(pipeline.layout.bucket(Stage.NORMALISED, day))
    pipeline.verb("ledger", day)
    assert "Did not run any tasks" in pipeline.nightly()
    pipeline.verb("forget", "normalise", day, day)
    pipeline.nightly()
    assert pipeline.rows_digest() == rows
