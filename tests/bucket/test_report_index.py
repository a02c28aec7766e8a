from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.bucket.report_index import report_index
from ooni_pipeline.errors import BucketError
from tests.conftest import Start

FIRST, SECOND, THIRD = (dt.date(2016, 8, day) for day in (1, 2, 3))


def prove(layout: Layout, date: dt.date, *contents: str, duplicate_of: str = "") -> None:
    records = [
        ReportRecord(f"report {content}", "x", content=content, duplicate_of=duplicate_of)
        for content in contents
    ]
    path = layout.manifest(Stage.RAW, date)
    Manifest("raw", date, str(time.monotonic_ns()), reports=records).write(path)


def first(layout: Layout, content: str, own: dt.date = THIRD) -> str:
    with report_index(layout, own) as index:
        return index.first(content)


def test_the_first_other_bucket_that_holds_it(layout: Layout) -> None:
    prove(layout, SECOND, "aa", "bb")
    prove(layout, FIRST, "aa")
    prove(layout, THIRD, "cc")
    assert first(layout, "aa") == "2016-08-01/report aa"
    assert first(layout, "bb") == "2016-08-02/report bb"
    assert first(layout, "bb", own=SECOND) == ""
    assert first(layout, "cc") == ""
    assert first(layout, "dd") == ""


def test_it_follows_the_manifests(layout: Layout) -> None:
    prove(layout, FIRST, "aa", "bb")
    prove(layout, SECOND, "aa")
    assert first(layout, "aa") == "2016-08-01/report aa"
    prove(layout, FIRST, "bb")
    assert first(layout, "aa") == "2016-08-02/report aa"
    prove(layout, FIRST, "cc", duplicate_of="2016-07-31/x")
    assert first(layout, "cc") == ""
    layout.manifest(Stage.RAW, SECOND).unlink()
    assert first(layout, "aa") == ""


def test_a_bucket_that_is_being_redone_keeps_its_claim(layout: Layout) -> None:
    prove(layout, FIRST, "aa")
    forget_bucket(layout, Stage.RAW, FIRST)
    assert first(layout, "aa") == "2016-08-01/report aa"
    layout.report_index().unlink()
    assert first(layout, "aa") == "2016-08-01/report aa"
    prove(layout, FIRST, "bb")
    assert first(layout, "aa") == ""


def overwrite(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def damage_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def older_code(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE manifests (x); CREATE TABLE reports (x)")
    connection.close()


def half_written(path: Path) -> None:
    path.with_name(f"{path.name}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 600)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("harm", [Path.unlink, overwrite, damage_a_page, older_code, half_written])
def test_it_is_made_anew_when_it_is_missing_or_damaged(layout: Layout, harm: Callable[[Path], None]) -> None:
    prove(layout, FIRST, "aa", *(f"{number:064}" for number in range(500)))
    assert first(layout, "aa") == "2016-08-01/report aa"
    harm(layout.report_index())
    assert first(layout, "aa") == "2016-08-01/report aa"
    assert first(layout, f"{499:064}") == f"2016-08-01/report {499:064}"


def test_an_index_that_cannot_be_made_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    prove(layout, FIRST, "aa")

    def broken(*_: Any, **__: Any) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", broken)
    with pytest.raises(BucketError, match=r"reports\.sqlite.*cannot be made: disk I/O error"):
        first(layout, "aa")


def test_a_raw_manifest_that_is_none_is_named(layout: Layout) -> None:
    prove(layout, FIRST, "aa")
    layout.manifest(Stage.RAW, SECOND).write_text("rubbish")
    with pytest.raises(BucketError, match=r"2016-08-02\.json is not a manifest"):
        first(layout, "aa")


def claim(layout: Layout, date: dt.date, ready: Any) -> None:
    ready.wait()
    with report_index(layout, date) as index:
        duplicate_of = index.first("aa")
        time.sleep(0.02)
        prove(layout, date, "aa", duplicate_of=duplicate_of)


def test_of_buckets_proven_at_once_one_is_first(layout: Layout, start: Start) -> None:
    dates = [FIRST + dt.timedelta(days=number) for number in range(6)]
    ready = multiprocessing.get_context("fork").Barrier(len(dates))
    for process in [start(claim, layout, date, ready) for date in dates]:
        process.join()
        assert process.exitcode == 0
    records = [Manifest.read(layout.manifest(Stage.RAW, date)).reports[0] for date in dates]
    owners = [record for record in records if not record.duplicate_of]
    assert len(owners) == 1
    assert len({record.duplicate_of for record in records}) == 2


def hold_and_die(layout: Layout) -> None:
    with report_index(layout, SECOND) as index:
        index.first("aa")
        prove(layout, SECOND, "bb")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_holder_leaves_it_usable(layout: Layout, start: Start) -> None:
    prove(layout, FIRST, "aa")
    process = start(hold_and_die, layout)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert first(layout, "bb") == "2016-08-02/report bb"


def test_what_sqlite_puts_aside_stays_in_memory(layout: Layout) -> None:
    """Else it would lie in /var/tmp: digests of raw bytes, outside of the private directory."""
    with report_index(layout, THIRD) as index:
        index.first("0" * 64)
        assert index._connection is not None
        assert index._connection.execute("PRAGMA temp_store").fetchone() == (2,)
