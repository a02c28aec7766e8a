"""Matching a loaded bucket again: the same as a fresh load, whole or not at all, whoever kills it."""

from __future__ import annotations

import base64
import datetime as dt
import json
import multiprocessing
import os
import random
import signal
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ooni_pipeline.database import rematch
from ooni_pipeline.database.markers import forget_loads, in_views
from ooni_pipeline.database.matches import held_as, matched_names, matched_versions
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.rematch import CopiedTuples, Difference, match_again
from ooni_pipeline.database.views import refresh_views
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import FingerprintTable, load_fingerprints

from .measurements import (
    BUCKET,
    NEXT_BUCKET,
    OLD_TURKISH_PAGE,
    TURKISH_PAGE,
    digest,
    entry,
    one,
    page,
    query,
    write_report,
)

TODAY = load_fingerprints()
SMALL_TABLES = ("fingerprint_matches", "report_totals", "country_totals")
LIST = """name,scope,location,pattern_type,pattern,expected_countries
a.page,nat,body,contains,not for you,
b.nul,nat,body,regexp,a[^b]c,
c.whole,nat,body,full,whole page,DE
d.vague,vbw,body,contains,for you,
e.server,prod,header.server,prefix,filter,
f.dns,isp,dns,full,10.10.34.36,
"""


def with_list(directory: Path, rows: str = LIST) -> FingerprintTable:
    path = directory / "list.csv"
    path.write_text(rows, encoding="utf-8")
    return load_fingerprints(lists=[path])


def without(name: str) -> FingerprintTable:
    """Today's table as it was before somebody wrote a row."""
    return FingerprintTable([row for row in TODAY.blockpages if row.name != name], TODAY.vendors)


def small_tables(url: str) -> list[Any]:
    return [query(url, f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in SMALL_TABLES]


def reports(tmp_path: Path) -> list[Path]:
    """Entries of every kind, hostile ones among them, in two reports."""
    turkish = {"format": "base64", "data": base64.b64encode(TURKISH_PAGE.encode("iso8859-9")).decode()}
    # jsonb puts them into another order, and the first one counts
    two_types = {"content-type": "a; charset=koi8-r", "Content-Type": "a; charset=latin5", "Server": "filter"}
    response = {"body": turkish, "headers": two_types}
    answers = [{"answer_type": "A", "ipv4": "10.10.34.36"}]
    entries = [
        entry(1, probe_cc="TR", test_keys=page(TURKISH_PAGE + OLD_TURKISH_PAGE)),
        entry(2, probe_cc="tr", test_keys=page(TURKISH_PAGE)),
        entry(3, probe_cc="TR", test_keys={"requests": [{"response": response}]}),
        entry(4, probe_cc="DE", test_keys=page("not for you")),
        entry(5, probe_cc=None, probe_asn=None, input=None, test_keys=page("not for you")),
        entry(6, probe_cc="DE", test_keys=page("a\0c")),
        entry(7, probe_cc="DE", test_keys=page("a\ud800c not for you")),
        entry(8, probe_cc="DE", test_keys=page("whole page")),
        entry(9, probe_cc="CN", test_keys={"control_failure": None, "dns_experiment_failure": "x\0"}),
        entry(10, probe_cc="CN", test_keys={"dns_experiment_failure": "x"}),
        entry(11, probe_cc="ZZ", test_keys={"queries": [{"answers": answers}], "requests": None}),
        entry(12, probe_cc="IR", test_keys=None),
        entry(13, probe_cc=["IR"], test_name=["web_connectivity"], test_keys=page("not for you")),
        entry(14, probe_cc="x" * 3000, test_keys=page("not for you")),
        entry(
            15, test_name="http_invalid_request_line", test_keys={"tampering": True, "received": ["squid"]}
        ),
        entry(16, probe_cc="DE", test_name="dns_consistency", test_keys=page("not for you")),
        entry(17, probe_cc="DE", test_keys={"requests": None, "x": [1e308, 10**300, -0.0, "\\u0000", {}]}),
        entry(18, probe_cc="DE", test_keys=["not for you"]),
        entry(19, probe_cc="DE", input="u" * 3000, test_keys=page("not for you")),
    ]
    return [
        write_report(tmp_path / "a.json", [json.dumps(one).encode() for one in entries[:9]]),
        write_report(tmp_path / "b.json", entries[9:]),
    ]


def test_the_same_as_a_fresh_load(url: str, tmp_path: Path) -> None:
    table, bucket = with_list(tmp_path), reports(tmp_path)
    load_bucket(url, BUCKET, bucket, table)
    fresh, rows = small_tables(url), digest(url)
    assert len(fresh[0]) == 21 and one(url, "SELECT count(DISTINCT name) FROM fingerprint_matches") == 10
    forget_loads(url, BUCKET, BUCKET)
    first = load_bucket(url, BUCKET, bucket, without("tr_tib_title"))
    assert first is not None and small_tables(url) != fresh
    done = match_again(url, BUCKET, table)
    assert done is not None and done.load_id > first.load_id
    assert small_tables(url) == fresh
    assert digest(url) == rows
    assert query(url, "SELECT load_id, fingerprints, measurements FROM loads") == [
        (done.load_id, table.version, 19)
    ]
    assert match_again(url, BUCKET, table) is None
    # and back
    assert match_again(url, BUCKET, without("tr_tib_title")) is not None
    assert match_again(url, BUCKET, table) is not None
    assert small_tables(url) == fresh


def test_what_comes_and_goes(url: str, tmp_path: Path) -> None:
    load_bucket(url, BUCKET, reports(tmp_path), without("tr_tib_title"))
    query(url, "UPDATE fingerprint_matches SET name = 'gone' WHERE name = 'squid'")
    before, marker = small_tables(url), query(url, "SELECT * FROM loads")
    expected = (
        Difference("blockpage", "tr_tib_title", 3, 0),
        Difference("vendor", "gone", 0, 1),
        Difference("vendor", "squid", 1, 0),
    )
    dry = match_again(url, BUCKET, TODAY, dry_run=True)
    assert dry is not None and (dry.load_id, dry.differences) == (0, expected)
    assert small_tables(url) == before and query(url, "SELECT * FROM loads") == marker
    assert held_as(url, "tr_tib_title") == []
    done = match_again(url, BUCKET, TODAY)
    assert done is not None and done.differences == expected
    assert done.rows == dry.rows


def test_only_rows_that_may_match_are_read(url: str, tmp_path: Path) -> None:
    entries = [
        entry(1, probe_cc="DE"),
        entry(2, probe_cc="TR"),
        entry(3, probe_cc="tr"),
        entry(4, test_name="tcp_connect", probe_cc="TR"),
        entry(5, test_name="http_invalid_request_line", probe_cc="DE"),
    ]
    load_bucket(url, BUCKET, [write_report(tmp_path / "a.json", entries)], without("tr_tib_title"))
    load_bucket(
        url, NEXT_BUCKET, [write_report(tmp_path / "b.json", [entry(6, NEXT_BUCKET, probe_cc="TR")])], TODAY
    )
    done = match_again(url, BUCKET, TODAY)
    assert done is not None and done.rows == 3
    everywhere = match_again(url, BUCKET, with_list(tmp_path))
    assert everywhere is not None and everywhere.rows == 4


def test_a_bucket_that_is_not_loaded_is_left_alone(url: str, tmp_path: Path) -> None:
    assert match_again(url, BUCKET, TODAY) is None
    load_bucket(url, BUCKET, reports(tmp_path), without("tr_tib_title"))
    forget_loads(url, BUCKET, BUCKET)
    before = small_tables(url)
    assert match_again(url, BUCKET, TODAY) is None
    assert small_tables(url) == before


def test_denominators_of_older_loads_are_filled(url: str, tmp_path: Path) -> None:
    load_bucket(url, BUCKET, reports(tmp_path), TODAY)
    fresh = small_tables(url)
    query(url, "UPDATE fingerprint_matches SET tested_count = NULL, fingerprints = 'old'")
    query(url, "UPDATE loads SET fingerprints = 'old'")
    assert matched_versions(url, BUCKET, BUCKET) == {BUCKET: "old"}
    refresh_views(url)
    assert one(url, "SELECT count(*) FROM blockpage_urls WHERE tested_count IS NULL") > 0
    match_again(url, BUCKET, TODAY)
    assert not in_views(url, BUCKET)
    assert small_tables(url) == fresh
    refresh_views(url)
    assert one(url, "SELECT count(*) FROM blockpage_urls WHERE tested_count IS NULL") == 0


def test_a_denominator_counts_one_input_of_one_network_blocked_or_not(url: str, tmp_path: Path) -> None:
    blocked, open_page = page("not for you"), page("open")
    same: dict[str, Any] = {"probe_cc": None, "probe_asn": None, "input": "http://a.test"}
    entries = [
        entry(1, **same, test_keys=blocked),
        entry(2, **same, test_keys=open_page, report_id="another"),
        entry(3, **same, test_keys=open_page, test_name="http_requests"),
        entry(4, **same, test_keys=open_page, test_name="dns_consistency"),
        entry(5, **{**same, "probe_asn": "AS1"}, test_keys=open_page),
        entry(6, **{**same, "probe_cc": "DE"}, test_keys=open_page),
        entry(7, **{**same, "input": None}, test_keys=blocked),
        entry(8, **{**same, "input": "http://b.test"}, test_keys=blocked),
    ]
    load_bucket(url, BUCKET, [write_report(tmp_path / "a.json", entries)], with_list(tmp_path))
    more = [entry(9, NEXT_BUCKET, **same, test_keys=open_page)]
    load_bucket(url, NEXT_BUCKET, [write_report(tmp_path / "b.json", more)], with_list(tmp_path))
    sql = "SELECT kind, input, tested_count FROM fingerprint_matches ORDER BY 1, 2"
    assert query(url, sql) == [
        ("blockpage", "http://a.test", 3),
        ("blockpage", "http://b.test", 1),
        ("blockpage", None, None),
        ("vague", "http://a.test", 3),
        ("vague", "http://b.test", 1),
        ("vague", None, None),
    ]
    refresh_views(url)
    assert query(url, "SELECT input, tested_count FROM blockpage_urls ORDER BY 1") == [
        ("http://a.test", 3),
        ("http://b.test", 1),
    ]
    assert query(url, "SELECT block_count, total_count, tested_count FROM blockpage_count") == [(2, 4, 5)]


class Deadly(FingerprintTable):
    """Kills its process at the tenth entry."""

    looked_at = 0

    def match(self, entry: Any) -> list[tuple[str, str]]:
        self.looked_at += 1
        if self.looked_at == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().match(entry)


def rematch_until_killed(url: str) -> None:
    match_again(url, BUCKET, Deadly(TODAY.blockpages, TODAY.vendors))


def test_killed_in_the_middle(url: str, tmp_path: Path) -> None:
    entries = [entry(n, probe_cc="TR", test_keys=page(TURKISH_PAGE)) for n in range(100)]
    load_bucket(url, BUCKET, [write_report(tmp_path / "a.json", entries)], without("tr_tib_title"))
    before, marker = small_tables(url), query(url, "SELECT * FROM loads")
    process = multiprocessing.get_context("spawn").Process(target=rematch_until_killed, args=(url,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert small_tables(url) == before and query(url, "SELECT * FROM loads") == marker
    done = match_again(url, BUCKET, TODAY)
    assert done is not None and done.differences == (Difference("blockpage", "tr_tib_title", 100, 0),)


def test_what_a_matcher_raises_is_raised_and_nothing_changes(url: str, tmp_path: Path) -> None:
    class Broken(FingerprintTable):
        def match(self, entry: Any) -> list[tuple[str, str]]:
            raise KeyError("a fault of ours")

    load_bucket(url, BUCKET, reports(tmp_path), without("tr_tib_title"))
    before = small_tables(url)
    with pytest.raises(KeyError):
        match_again(url, BUCKET, Broken(TODAY.blockpages, TODAY.vendors))
    assert small_tables(url) == before
    assert match_again(url, BUCKET, TODAY) is not None


def test_a_load_and_a_rematch_wait_for_each_other(url: str, tmp_path: Path) -> None:
    bucket = reports(tmp_path)
    load_bucket(url, BUCKET, bucket, without("tr_tib_title"))
    forget_loads(url, BUCKET, BUCKET)
    with ThreadPoolExecutor(1) as threads:
        waiting: list[Any] = []

        def meanwhile(done: int, total: int) -> None:
            if not waiting:
                waiting.append(threads.submit(match_again, url, BUCKET, TODAY))
                with pytest.raises(TimeoutError):
                    waiting[0].result(timeout=0.3)

        load_bucket(url, BUCKET, bucket, without("cn_experiment_only"), meanwhile)
        done = waiting[0].result(timeout=10)
    assert done is not None and done.differences == (Difference("blockpage", "cn_experiment_only", 1, 0),)


def test_readers_see_the_old_matches_until_the_new_are_whole(url: str, tmp_path: Path) -> None:
    load_bucket(url, BUCKET, reports(tmp_path), without("tr_tib_title"))
    before, seen, looked = small_tables(url), [], threading.Event()

    class Watched(FingerprintTable):
        def match(self, entry: Any) -> list[tuple[str, str]]:
            if not looked.is_set():
                looked.set()
                seen.append(small_tables(url))
            return super().match(entry)

    match_again(url, BUCKET, Watched(TODAY.blockpages, TODAY.vendors))
    assert seen == [before] != [small_tables(url)]


def test_matches_go_to_the_server_as_they_come(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rematch, "MATCHES_BYTES", 300)
    entries = [entry(n, probe_cc="TR", test_keys=page(TURKISH_PAGE)) for n in range(2_500)]
    load_bucket(url, BUCKET, [write_report(tmp_path / "a.json", entries)], without("tr_tib_title"))
    told: list[int] = []
    done = match_again(url, BUCKET, TODAY, told.append)
    assert done is not None and done.differences == (Difference("blockpage", "tr_tib_title", 2_500, 0),)
    assert told == [1000, 2000]


def test_a_database_that_lacks_a_migration_is_named(database_url: str) -> None:
    with pytest.raises(DatabaseError, match=r"run python -m tasks\.migrate"):
        match_again(database_url, BUCKET, TODAY)


# What is known of tables and matches


def test_what_each_version_held_is_kept(url: str, tmp_path: Path) -> None:
    load_bucket(url, BUCKET, reports(tmp_path), TODAY)
    table = with_list(tmp_path, LIST.replace("for you,\n", "for me,\n", 1))
    match_again(url, BUCKET, table)
    match_again(url, BUCKET, with_list(tmp_path))
    match_again(url, BUCKET, TODAY)
    held = query(url, "SELECT version, count(*) FROM fingerprint_tables GROUP BY 1 ORDER BY 2")
    assert held[0] == (TODAY.version, 29) and [number for _, number in held] == [29, 35, 35]
    patterns = [json.loads(row.rule)["pattern"] for row in held_as(url, "a.page")]
    assert patterns == ["not for you", "not for me"]
    assert held_as(url, "no such") == []
    ((rule,),) = query(url, "SELECT rule FROM fingerprint_tables WHERE name = 'squid' AND number = 1 LIMIT 1")
    assert rule["pattern"] == "%squid%" and rule["test_name"] == "http_invalid_request_line"


def test_loads_of_a_new_table_do_not_wait_for_each_other(url: str, tmp_path: Path) -> None:
    """Who keeps the table has committed it before his load begins."""
    other = write_report(tmp_path / "n.json", [entry(1, NEXT_BUCKET)])

    def meanwhile(done: int, total: int) -> None:
        if not matched_versions(url, NEXT_BUCKET, NEXT_BUCKET):
            with ThreadPoolExecutor(1) as threads:
                threads.submit(load_bucket, url, NEXT_BUCKET, [other], TODAY).result(timeout=10)

    load_bucket(url, BUCKET, reports(tmp_path), TODAY, meanwhile)
    assert matched_versions(url, BUCKET, NEXT_BUCKET) == {BUCKET: TODAY.version, NEXT_BUCKET: TODAY.version}


def test_what_matched(url: str, tmp_path: Path) -> None:
    assert matched_names(url) == {}
    load_bucket(url, BUCKET, reports(tmp_path), TODAY)
    found = matched_names(url)["blockpage", "tr_tib_title"]
    assert (found.matches, found.first, found.last) == (3, BUCKET, BUCKET)
    assert matched_versions(url, dt.date(2000, 1, 1), BUCKET - dt.timedelta(1)) == {}


# COPY in binary form


def copied(url: str, select: str) -> list[bytes]:
    pieces: list[bytes] = []

    class File:
        def write(self, data: bytes, /) -> int:
            pieces.append(data)
            return len(data)

    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ({select}) TO STDOUT (FORMAT binary)", File())
    connection.close()
    return pieces


def test_copied_tuples_in_pieces_of_any_length(database_url: str) -> None:
    select = (
        "SELECT n::text, CASE WHEN n % 2 = 0 THEN repeat('ş', n) END, '' FROM generate_series(0, 30) AS n"
    )
    data = b"".join(copied(database_url, select))
    expected = [(str(n).encode(), None if n % 2 else ("ş" * n).encode(), b"") for n in range(31)]
    chance = random.Random(1)  # noqa: S311 - the same cuts every time
    for largest in (1, 2, 3, 7, 50, len(data)):
        tuples, found, at = CopiedTuples(), [], 0
        while at < len(data):
            size = chance.randint(1, largest)
            found += list(tuples.read(data[at : at + size]))
            at += size
        assert found == expected
    assert list(CopiedTuples().read(b"".join(copied(database_url, "SELECT 1 WHERE false")))) == []


def test_what_is_not_in_binary_form_is_refused() -> None:
    with pytest.raises(DatabaseError, match="binary"):
        list(CopiedTuples().read(b"a,b,c\n" * 10 + struct.pack("!h", -1)))
