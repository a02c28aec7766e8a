"""Loading a bucket: whole or not at all, whoever else loads, reads, or kills the process."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from ooni_pipeline.database import copying
from ooni_pipeline.database.copying import Batch, rows_of
from ooni_pipeline.database.markers import forget_loads, is_loaded
from ooni_pipeline.database.metrics import Load, load_bucket
from ooni_pipeline.database.statements import sql_directory
from ooni_pipeline.errors import BucketError, DatabaseError
from ooni_pipeline.fingerprints import load_fingerprints

from .measurements import (
    BUCKET,
    NEXT_BUCKET,
    TURKISH_PAGE,
    digest,
    entry,
    one,
    page,
    query,
    wait_for,
    write_report,
)

FINGERPRINTS = load_fingerprints()
SPAWN = multiprocessing.get_context("spawn")


def load(url: str, reports: list[Path], bucket_date: dt.date = BUCKET) -> Load | None:
    return load_bucket(url, bucket_date, reports, FINGERPRINTS)


def test_a_bucket_of_several_reports(url: str, tmp_path: Path) -> None:
    reports = [
        write_report(tmp_path / "a.json", [entry(number, input=f"a\0{number}") for number in range(30)]),
        write_report(tmp_path / "b.json", []),
        write_report(tmp_path / "c.json", [entry(100, probe_cc="TR", test_keys=page(TURKISH_PAGE))]),
    ]
    told = []
    done = load_bucket(url, BUCKET, reports, FINGERPRINTS, lambda *numbers: told.append(numbers))
    assert done is not None
    assert (done.measurements, done.notes, done.refused) == (31, {"nul": 30}, 0)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert query(
        url, "SELECT bucket_date, load_id, reports, measurements, fingerprints, notes FROM loads"
    ) == [(BUCKET, done.load_id, 3, 31, FINGERPRINTS.version, {"nul": 30})]
    assert one(url, "SELECT count(*) FROM metrics_2016_08") == 31
    assert query(url, "SELECT kind, name FROM fingerprint_matches") == [("blockpage", "tr_tib_title")]
    assert query(url, (sql_directory() / "checks" / "rows_as_marked.sql").read_text()) == []


def test_an_empty_bucket(url: str) -> None:
    done = load(url, [])
    assert done is not None and done.measurements == 0
    assert is_loaded(url, BUCKET)
    assert query(url, (sql_directory() / "checks" / "rows_as_marked.sql").read_text()) == []


def test_a_loaded_bucket_is_left_alone(url: str, tmp_path: Path) -> None:
    load(url, [write_report(tmp_path / "a.json", [entry(1)])])
    assert load(url, []) is None
    assert one(url, "SELECT measurements FROM loads") == 1


def test_again_after_forgetting_gives_the_same_rows(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry(n, probe_cc="TR", test_keys=page(TURKISH_PAGE * (n % 3))) for n in range(200)]
    report = write_report(tmp_path / "a.json", entries)
    first = load(url, [report])
    before, matches = digest(url), query(url, "SELECT * FROM fingerprint_matches ORDER BY measurement_id")
    forget_loads(url, BUCKET, BUCKET)
    monkeypatch.setattr(copying, "BATCH_BYTES", 3_000)
    second = load(url, [report])
    assert first is not None and second is not None and second.load_id > first.load_id
    assert digest(url) == before
    assert query(url, "SELECT * FROM fingerprint_matches ORDER BY measurement_id") == matches != []
    assert one(url, "SELECT count(*) FROM metrics") == second.measurements == 200


def test_replaced_whole_while_others_read(url: str, tmp_path: Path) -> None:
    load(url, [write_report(tmp_path / "old.json", [entry(n, input="old") for n in range(10)])])
    load(url, [write_report(tmp_path / "next.json", [entry(n, NEXT_BUCKET) for n in range(5)])], NEXT_BUCKET)
    forget_loads(url, BUCKET, BUCKET)
    seen = []

    def look(done: int, total: int) -> None:
        sql = "SELECT bucket_date, input = 'old', count(*) FROM metrics GROUP BY 1, 2 ORDER BY 1, 2"
        seen.append((query(url, sql), query(url, "SELECT bucket_date FROM loads")))

    new = [write_report(tmp_path / f"{n}.json", [entry(n, input="new")]) for n in range(3)]
    load_bucket(url, BUCKET, new, FINGERPRINTS, look)
    assert seen == [([(BUCKET, True, 10), (NEXT_BUCKET, False, 5)], [(NEXT_BUCKET,)])] * 3
    look(1, 1)
    assert seen[-1] == ([(BUCKET, False, 3), (NEXT_BUCKET, False, 5)], [(NEXT_BUCKET,), (BUCKET,)])


def test_a_reader_keeps_what_it_saw(url: str, tmp_path: Path) -> None:
    load(url, [write_report(tmp_path / "old.json", [entry(n) for n in range(10)])])
    reader = psycopg2.connect(url)
    reader.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM metrics")
        forget_loads(url, BUCKET, BUCKET)
        load(url, [write_report(tmp_path / "new.json", [entry(1)])])
        cursor.execute("SELECT count(*) FROM metrics")
        assert cursor.fetchone() == (10,)
    reader.close()


def test_a_failure_leaves_the_old_bucket(url: str, tmp_path: Path) -> None:
    load(url, [write_report(tmp_path / "old.json", [entry(n) for n in range(10)])])
    forget_loads(url, BUCKET, BUCKET)
    before = digest(url)
    new = write_report(tmp_path / "new.json", [entry(1)])
    with pytest.raises(FileNotFoundError):
        load(url, [new, tmp_path / "missing.json"])
    with pytest.raises(KeyboardInterrupt):
        load_bucket(url, BUCKET, [new], FINGERPRINTS, interrupt)
    assert digest(url) == before and not is_loaded(url, BUCKET)


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_no_schema_names_the_command(database_url: str) -> None:
    with pytest.raises(DatabaseError, match=r"run python -m tasks\.migrate"):
        load(database_url, [])


def test_a_partition_is_a_month(url: str) -> None:
    for month in (1, 12):
        load(url, [], dt.date(2020, month, 28 + month // 4))
    assert query(
        url,
        "SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, oid) "
        "FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'metrics'::regclass ORDER BY 1",
    ) == [
        ("metrics_2020_01", "FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"),
        ("metrics_2020_12", "FOR VALUES FROM ('2020-12-01') TO ('2021-01-01')"),
    ]


def test_partitions_have_the_indexes_and_compression_of_the_whole(url: str) -> None:
    load(url, [])
    kinds = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisvalid"
    assert one(url, kinds, ["metrics"]) == one(url, kinds, ["metrics_2016_08"]) == 9
    assert one(url, "SELECT count(*) FROM pg_constraint WHERE conname = 'bounds'") == 0
    compressions = (
        "SELECT count(*) FROM pg_attribute AS one JOIN pg_attribute AS whole USING (attname) "
        "WHERE one.attrelid = 'metrics_2016_08'::regclass AND whole.attrelid = 'metrics'::regclass "
        "AND one.attcompression <> whole.attcompression"
    )
    assert one(url, compressions) == 0


# Several at once


def test_two_processes_load_one_bucket(url: str, tmp_path: Path) -> None:
    report = write_report(tmp_path / "a.json", [entry(n) for n in range(500)])
    with ProcessPoolExecutor(2, SPAWN) as processes:
        done = [future.result() for future in [processes.submit(load, url, [report]) for _ in range(2)]]
    (winner,) = (result for result in done if result is not None)
    assert None in done
    assert query(url, "SELECT load_id, measurements FROM loads") == [(winner.load_id, 500)]
    assert one(url, "SELECT count(*) FROM metrics") == 500


def test_who_comes_second_waits_and_then_has_nothing_to_do(url: str, tmp_path: Path) -> None:
    report = write_report(tmp_path / "a.json", [entry(1)])
    with ThreadPoolExecutor(1) as threads:
        seconds = []

        def come(done: int, total: int) -> None:
            seconds.append(threads.submit(load, url, [report]))
            wait_for(lambda: one(url, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1)

        first = load_bucket(url, BUCKET, [report], FINGERPRINTS, come)
        assert [second.result(timeout=10) for second in seconds] == [None]
    assert first is not None and one(url, "SELECT load_id FROM loads") == first.load_id


def test_buckets_of_a_new_month_do_not_wait_for_each_other(url: str, tmp_path: Path) -> None:
    reports = [write_report(tmp_path / "a.json", [entry(1)])]
    others = [write_report(tmp_path / "b.json", [entry(1, NEXT_BUCKET)])]
    with ThreadPoolExecutor(1) as threads:

        def load_another(done: int, total: int) -> None:
            assert threads.submit(load, url, others, NEXT_BUCKET).result(timeout=10) is not None

        load_bucket(url, BUCKET, reports, FINGERPRINTS, load_another)
    assert one(url, "SELECT count(*) FROM loads") == 2


def test_buckets_of_one_month_at_once_in_a_new_partition(url: str, tmp_path: Path) -> None:
    dates = [BUCKET + dt.timedelta(days=day) for day in range(4)]
    together = threading.Barrier(len(dates))

    def go(date: dt.date) -> None:
        report = write_report(tmp_path / f"{date}.json", [entry(n, date) for n in range(300)])
        together.wait()
        for _ in range(2):
            load(url, [report], date)
            forget_loads(url, date, date)
        load(url, [report], date)

    with ThreadPoolExecutor(len(dates)) as threads:
        for future in [threads.submit(go, date) for date in dates]:
            future.result()
    assert query(url, "SELECT bucket_date, count(*) FROM metrics GROUP BY 1 ORDER BY 1") == [
        (date, 300) for date in dates
    ]


def test_four_make_one_partition_while_a_reader_reads(url: str) -> None:
    reader = psycopg2.connect(url)
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM metrics")  # and its transaction stays open
        together = threading.Barrier(4)

        def go() -> None:
            together.wait()
            query(url, "SELECT ensure_metrics_partition('2017-03-05')")

        with ThreadPoolExecutor(4) as threads:
            for future in [threads.submit(go) for _ in range(4)]:
                future.result(timeout=10)
        cursor.execute("SELECT count(*) FROM metrics")
    assert one(url, "SELECT count(*) FROM pg_class WHERE relname = 'metrics_2017_03'") == 1
    reader.close()


def test_a_new_partition_does_not_block_readers_before_it_is_committed(url: str) -> None:
    maker = psycopg2.connect(url)
    with maker.cursor() as cursor:
        cursor.execute("SELECT ensure_metrics_partition('2017-03-05')")
        assert one(url, "SELECT count(*) FROM metrics") == 0
    maker.close()


def test_an_existing_partition_needs_no_lock(url: str) -> None:
    query(url, "SELECT ensure_metrics_partition('2017-03-05')")
    maker = psycopg2.connect(url)
    with maker.cursor() as cursor:
        cursor.execute("SELECT ensure_metrics_partition('2017-04-05')")  # and waits for something
        query(url, "SELECT ensure_metrics_partition('2017-03-06')")
    maker.close()


def load_until_killed(url: str, reports: list[Path]) -> None:
    load_bucket(url, BUCKET, reports, FINGERPRINTS, lambda done, total: os.kill(os.getpid(), signal.SIGKILL))


def test_killed_in_the_middle(url: str, tmp_path: Path) -> None:
    load(url, [write_report(tmp_path / "old.json", [entry(n) for n in range(10)])])
    forget_loads(url, BUCKET, BUCKET)
    before = digest(url)
    new = write_report(tmp_path / "new.json", [entry(n, test_keys=page("x" * 5_000)) for n in range(500)])
    process = SPAWN.Process(target=load_until_killed, args=(url, [new]))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert digest(url) == before and not is_loaded(url, BUCKET)
    done = load(url, [new])
    assert done is not None and done.measurements == 500
    assert one(url, "SELECT count(*) FROM metrics") == 500


def test_forgetting_waits_for_a_load_under_way(url: str, tmp_path: Path) -> None:
    """The load has read what is being forgotten, so its marker has to go too."""
    reports = [write_report(tmp_path / "a.json", [entry(1)])]
    with ThreadPoolExecutor(1) as threads:
        forgetting = []

        def forget(done: int, total: int) -> None:
            forgetting.append(threads.submit(forget_loads, url, BUCKET - dt.timedelta(9), NEXT_BUCKET))
            with pytest.raises(TimeoutError):
                forgetting[0].result(timeout=0.3)

        load_bucket(url, BUCKET, reports, FINGERPRINTS, forget)
        forgetting[0].result(timeout=10)
    assert not is_loaded(url, BUCKET)


def test_forgetting_does_not_wait_for_other_loads(url: str) -> None:
    reports = [Path(os.devnull)]
    load_bucket(url, BUCKET, reports, FINGERPRINTS, lambda *_: forget_loads(url, NEXT_BUCKET, NEXT_BUCKET))
    assert is_loaded(url, BUCKET)


# Batches


def test_a_batch_ends_when_it_is_full_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_BYTES", 10_000)
    reports = [
        write_report(tmp_path / f"{name}.json", [entry(n, input=f"{name}{n}") for n in range(20)])
        for name in "ab"
    ]
    rows = rows_of(reports, BUCKET, FINGERPRINTS, lambda done, total: None)
    taken, data = [], b""
    while True:
        batch = Batch(rows)
        while piece := batch.read(8_192):
            data += piece
        assert batch.read(8_192) == b""
        if not batch.taken:
            break
        assert len(b"".join(row.csv for row in batch.taken)) < 12_000
        taken += batch.taken
    assert len(taken) == 40 and b"".join(row.csv for row in taken) == data
    for row in taken:
        assert json.loads(row.line())["id"].encode() in row.csv


def test_a_load_that_is_stopped_before_its_marker_changes_nothing(url: str, tmp_path: Path) -> None:
    load(url, [write_report(tmp_path / "a.json", [entry(1)])])
    forget_loads(url, BUCKET, BUCKET)
    before = digest(url)

    def stop() -> None:
        raise BucketError("the sanitised manifest is another one by now")

    with pytest.raises(BucketError):
        load_bucket(
            url, BUCKET, [write_report(tmp_path / "b.json", [entry(2)])], FINGERPRINTS, before_marking=stop
        )
    assert not is_loaded(url, BUCKET)
    assert digest(url) == before
