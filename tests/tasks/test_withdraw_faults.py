"""What a withdrawal does while something else is broken, or was forgotten, or was freed."""

from __future__ import annotations

import datetime as dt
import hashlib
import json

import pytest

from ooni_pipeline.bucket.cleaned import free_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.withdraw_queue import BACKUP, COLLECTOR, Waiting, add_waiting, waiting
from tests.tasks.conftest import Pipeline
from tests.tasks.test_withdraw import (
    ADDRESS,
    BRIDGE,
    CANARY,
    REPORTS,
    YESTERDAY,
    entry,
    in_the_database,
    lines,
    name,
    places,
    traces,
    withdraw,
)

pytestmark = pytest.mark.one_server

BY_ADDRESS = ("--address", "--yes", "--why", "a volunteer asked")


def receive(pipeline: Pipeline, *reports: str) -> None:
    for report in reports:
        (pipeline.archive / report).write_bytes(REPORTS[report])


def back_up(pipeline: Pipeline, *, expect: int = 0) -> None:
    task = ("--module", "tasks.backup", "BackupReports", "--bucket-date", str(pipeline.today))
    pipeline.luigi(*task, expect=expect)


def raw_files(pipeline: Pipeline) -> dict[str, bytes]:
    directory = pipeline.layout.bucket(Stage.RAW, pipeline.today)
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def free(pipeline: Pipeline) -> None:
    """What tasks.cleanup does with a bucket that is old enough."""
    now = dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
    assert free_bucket(pipeline.layout, pipeline.manifest(Stage.RAW), now).files


def on_the_mirror(pipeline: Pipeline) -> set[str]:
    """The reports that the bucket's index names, each of which must be there."""
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    named = {report["file"] for report in json.loads((bucket / "index.json").read_bytes())["reports"]}
    assert {path.name for path in bucket.glob("*.json.gz")} == named
    return named


def test_retention_that_ends_does_not_take_the_last_copy(pipeline: Pipeline) -> None:
    """The rest of a report that was cut lies in the backup alone, under the key whose old version goes."""
    receive(pipeline, name("mixed"), name("plain"))
    back_up(pipeline)
    withdraw(pipeline, *BY_ADDRESS, stdin=ADDRESS)
    before = raw_files(pipeline)
    (cut,) = (file for file in before if "-mixed-" in file)
    day = str(pipeline.today)
    add_waiting(
        pipeline.layout, [Waiting(BACKUP, day, "2026-08-01T00:00:00Z", f"reports-raw/yaml/{day}/{cut}")]
    )
    free(pipeline)
    withdraw(pipeline, "--due")
    assert waiting(pipeline.layout) == []
    pipeline.luigi("--module", "tasks.restore", "RestoreReports", "--bucket-date", day)
    assert raw_files(pipeline) == before
    free(pipeline)
    pipeline.luigi("--module", "tasks.restore", "RestoreReports", "--bucket-date", day)
    assert raw_files(pipeline) == before, "and the backup holds it again"


def test_a_file_that_is_gone_here_is_not_erased_in_the_backup(pipeline: Pipeline) -> None:
    """Nobody freed it: it was lost. What the backup has under its key is all there is."""
    receive(pipeline, name("mixed"), name("plain"))
    back_up(pipeline)
    withdraw(pipeline, *BY_ADDRESS, stdin=ADDRESS)
    (cut,) = (file for file in raw_files(pipeline) if "-mixed-" in file)
    day = str(pipeline.today)
    key = f"reports-raw/yaml/{day}/{cut}"
    add_waiting(pipeline.layout, [Waiting(BACKUP, day, "2026-08-01T00:00:00Z", key)])
    (pipeline.layout.private / key).unlink()
    told = withdraw(pipeline, "--due", expect=1)
    assert "tasks.restore RestoreReports" in told
    assert (pipeline.root / "backup" / key).exists()
    assert len(waiting(pipeline.layout)) == 1


def test_rows_whose_load_was_forgotten_go_too(pipeline: Pipeline) -> None:
    receive(pipeline, name("mixed"), name("only"), name("plain"))
    pipeline.nightly()
    day = pipeline.today
    pipeline.verb("forget", "sanitise", day, day)
    assert in_the_database(pipeline)
    withdraw(pipeline, *BY_ADDRESS, stdin=ADDRESS)
    assert in_the_database(pipeline) == []
    assert traces(*places(pipeline)) == []
    on_the_mirror(pipeline)
    pipeline.nightly()
    assert pipeline.query("SELECT count(*) FROM metrics") == [(3,)]


def test_what_cannot_be_sanitised_now_is_off_the_mirror_and_out_of_the_views(pipeline: Pipeline) -> None:
    receive(pipeline, name("mixed"), name("only"), name("plain"))
    pipeline.nightly()
    assert len(on_the_mirror(pipeline)) == 3
    pipeline.configure(sanitise__bridge_table=str(pipeline.root / "nowhere.json"))
    told = withdraw(pipeline, *BY_ADDRESS, stdin=ADDRESS, expect=1)
    assert "SanitiseReports failed" in told
    assert len(on_the_mirror(pipeline)) == 1
    assert traces(pipeline.layout.public) == []
    assert in_the_database(pipeline) == []
    countries = json.loads((pipeline.layout.public / "countries" / "index.json").read_bytes())
    assert sum(country["measurements"] for country in countries) == 0, "the bucket is away until it is done"

    pipeline.configure()
    withdraw(pipeline, "--due")
    assert len(on_the_mirror(pipeline)) == 2
    assert traces(*places(pipeline)) == []
    assert pipeline.query("SELECT count(*) FROM metrics") == [(3,)]
    pipeline.verb("ledger", pipeline.today)


def test_a_backup_that_is_away_does_not_keep_it_on_the_mirror(pipeline: Pipeline) -> None:
    receive(pipeline, name("mixed"), name("only"), name("plain"))
    pipeline.nightly()
    backup = pipeline.root / "backup"
    backup.rename(pipeline.root / "away")
    backup.write_text("a file is no backup")
    told = withdraw(pipeline, *BY_ADDRESS, stdin=ADDRESS, expect=1)
    assert "python -m tasks.withdraw --due" in told
    assert traces(pipeline.layout.public, pipeline.layout.bucket(Stage.RAW, pipeline.today)) == []
    assert in_the_database(pipeline) == []
    assert len(on_the_mirror(pipeline)) == 2
    withdraw(pipeline, "--due", expect=1)

    backup.unlink()
    (pipeline.root / "away").rename(backup)
    assert traces(backup)
    withdraw(pipeline, "--due")
    assert traces(*places(pipeline)) == []
    assert list((backup / "withdrawn").iterdir())


def test_a_bucket_that_was_freed_comes_back_by_itself(pipeline: Pipeline) -> None:
    receive(pipeline, name("mixed"), name("only"), name("plain"))
    pipeline.nightly()
    free(pipeline)
    before = pipeline.everything()
    assert "tasks.restore RestoreReports" in withdraw(
        pipeline, "--address", "--dry-run", stdin=ADDRESS, expect=1
    )
    ((one,), *_) = pipeline.query("SELECT id::text FROM metrics ORDER BY 1")
    told = withdraw(pipeline, "--id", str(one), "--from", str(pipeline.today), "--dry-run", expect=1)
    assert f"{pipeline.today}  3 raw reports are not here" in told, "each is counted once"
    assert pipeline.everything() == before
    assert "0 whole reports" in withdraw(pipeline, *BY_ADDRESS, stdin=ADDRESS, expect=1), "it may be years"
    told = withdraw(pipeline, *BY_ADDRESS, "--from", str(pipeline.today), stdin=ADDRESS)
    assert "1 whole reports and 1 entries of others" in told
    assert traces(*places(pipeline)) == []
    assert in_the_database(pipeline) == []
    assert pipeline.query("SELECT count(*) FROM metrics") == [(3,)]


def test_nothing_found_is_no_success(pipeline: Pipeline) -> None:
    receive(pipeline, name("plain"))
    back_up(pipeline)
    nobody = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
    told = withdraw(pipeline, "--id", nobody, "--yes", "--why", "w", expect=1)
    assert "nothing was withdrawn" in told
    assert "--from" in told
    assert nobody not in told


def test_half_a_publication_goes_too(pipeline: Pipeline) -> None:
    """What a run that died left beside the bucket, under hidden names."""
    receive(pipeline, name("only"), name("plain"))
    pipeline.luigi("--module", "tasks.sanitise", "SanitiseReports", "--bucket-date", str(pipeline.today))
    for left in ("new", "old"):
        directory = pipeline.layout.public / f".{pipeline.today}.{left}"
        directory.mkdir(parents=True)
        (directory / "x.json.gz").write_bytes(CANARY.encode())
    withdraw(pipeline, *BY_ADDRESS, stdin=ADDRESS)
    assert traces(pipeline.layout.private.joinpath("sanitised"), pipeline.layout.public) == []


def test_what_was_held_elsewhere_is_not_released_after_it_was_withdrawn(pipeline: Pipeline) -> None:
    """The same entry lies in a report of another bucket that is held: no row tells, so nobody finds it."""
    asks = entry(71, input=f"http://ask.test/{BRIDGE}", test_keys={"body": BRIDGE})
    (pipeline.archive / name("asks")).write_bytes(lines(asks, entry(12, canary=True)))
    directory = pipeline.layout.bucket(Stage.RAW, YESTERDAY)
    directory.mkdir(parents=True)
    (directory / name("older")).write_bytes(REPORTS[name("mixed")])
    pipeline.verb("adopt", YESTERDAY, YESTERDAY)
    pipeline.nightly(YESTERDAY)
    pipeline.nightly()
    ((number,),) = pipeline.query(f"SELECT id::text FROM metrics WHERE input ~ '{CANARY}'")
    withdraw(pipeline, "--id", number, "--yes", "--why", "w")
    assert traces(pipeline.layout.public) == []

    held = name("asks").replace("Z-", "-")
    told = pipeline.verb("held", "release", pipeline.today, held, expect=1)
    assert "was withdrawn" in told
    assert traces(pipeline.layout.public) == []
    pipeline.nightly()
    assert pipeline.query("SELECT count(*) FROM metrics") == [(3,)], "the rest of it is released"
    assert traces(pipeline.layout.public) == []
    assert in_the_database(pipeline) == []
    withdraw(pipeline, "--due")
    assert traces(*places(pipeline)) == []


def test_a_copy_in_a_bucket_that_is_not_loaded_goes_too(pipeline: Pipeline) -> None:
    """It is on the mirror all the same, since the database was away that night."""
    receive(pipeline, name("mixed"), name("plain"))
    directory = pipeline.layout.bucket(Stage.RAW, YESTERDAY)
    directory.mkdir(parents=True)
    (directory / name("older")).write_bytes(lines(entry(1), entry(12, canary=True)))
    pipeline.verb("adopt", YESTERDAY, YESTERDAY)
    task = ("--module", "tasks.publish", "PublishReports", "--bucket-date", str(YESTERDAY))
    pipeline.luigi(*task)
    pipeline.nightly()
    ((number,),) = pipeline.query(f"SELECT id::text FROM metrics WHERE input ~ '{CANARY}'")
    assert len({path.split("/")[1] for path in traces(pipeline.layout.public)}) == 2
    told = withdraw(pipeline, "--id", number, "--yes", "--why", "w")
    assert "2 entries of others, in 2 buckets" in told
    assert traces(*places(pipeline)) == []
    assert list((pipeline.root / "backup" / "withdrawn").iterdir()), "the tombstone is there at once"


def test_whatever_state_of_a_file_lies_on_a_collector_goes(pipeline: Pipeline) -> None:
    """Two reports that were withdrawn had one name over there, one after the other."""
    receive(pipeline, name("plain"))
    back_up(pipeline)
    path = pipeline.archive / "report.json"
    path.write_bytes(b"the second")
    digests = [hashlib.sha256(text).hexdigest() for text in (b"the second", b"the first")]
    for number, digest in enumerate(digests, 1):
        due = f"2026-08-01T00:00:0{number}Z"
        what = Waiting(
            COLLECTOR, str(pipeline.today), due, path.name, where=str(pipeline.archive), digest=digest
        )
        add_waiting(pipeline.layout, [what])
    withdraw(pipeline, "--due")
    assert not path.exists()
    assert waiting(pipeline.layout) == []
