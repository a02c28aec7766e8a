"""Migrations: applied once, whoever else applies them, and never half."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psycopg2
import pytest

from ooni_pipeline.database import migrate as module
from ooni_pipeline.database.connect import connected
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.migrate import migrate, pending, warnings
from ooni_pipeline.database.statements import sql_directory
from ooni_pipeline.database.views import VIEWS, refresh_views
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import load_fingerprints

from .measurements import BUCKET, entry, one, query, write_report

SCHEMA = [f"schema/{path.name}" for path in sorted((sql_directory() / "schema").glob("[0-9]*.sql"))]
VIEW_FILES = [f"views/0{number}-{view}.sql" for number, view in enumerate(VIEWS, 1)]


@pytest.fixture
def sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the SQL files that migrations read."""
    copy = tmp_path / "sql"
    shutil.copytree(sql_directory(), copy)
    monkeypatch.setattr(module, "sql_directory", lambda: copy)
    return copy


def all_pending(url: str) -> list[str]:
    with connected(url) as database:
        return pending(database)


def test_fresh_then_nothing_to_do(database_url: str) -> None:
    assert all_pending(database_url) == SCHEMA + VIEW_FILES
    assert migrate(database_url) == SCHEMA + VIEW_FILES
    assert all_pending(database_url) == []
    assert migrate(database_url) == []
    assert query(database_url, "SELECT file FROM schema_migrations ORDER BY file") == [
        (name,) for name in SCHEMA + VIEW_FILES
    ]


def test_two_at_once(database_url: str) -> None:
    together = Barrier(4)

    def go() -> list[str]:
        together.wait()
        return migrate(database_url)

    with ThreadPoolExecutor(4) as threads:
        done = [future.result() for future in [threads.submit(go) for _ in range(4)]]
    assert sorted(done) == [[], [], [], SCHEMA + VIEW_FILES]


def test_a_changed_schema_file_is_refused_before_anything_is_done(url: str, sql: Path) -> None:
    with (sql / "schema" / "001-metrics.sql").open("a") as file:
        file.write("-- changed\n")
    (sql / "schema" / "999-new.sql").write_text("CREATE TABLE new (number integer);")
    with pytest.raises(DatabaseError, match=r"schema/001-metrics\.sql has changed"):
        migrate(url)
    assert one(url, "SELECT to_regclass('new') IS NULL")
    assert all_pending(url) == ["schema/001-metrics.sql", "schema/999-new.sql"]


def test_a_new_schema_file_is_applied_alone(url: str, sql: Path) -> None:
    (sql / "schema" / "999-new.sql").write_text("CREATE TABLE new (number integer);")
    assert migrate(url) == ["schema/999-new.sql"]


def test_a_broken_file_is_named_and_leaves_the_database_as_it_was(database_url: str, sql: Path) -> None:
    (sql / "schema" / "999-new.sql").write_text("CREATE TABLE new (number integr);")
    with pytest.raises(DatabaseError, match=r"schema/999-new\.sql cannot be applied: .*42704"):
        migrate(database_url)
    assert one(database_url, "SELECT to_regclass('metrics') IS NULL")
    assert all_pending(database_url) == [*SCHEMA, "schema/999-new.sql", *VIEW_FILES]


def test_newer_code_was_here(url: str) -> None:
    query(url, "INSERT INTO schema_migrations VALUES ('schema/999-later.sql', '')")
    with pytest.raises(DatabaseError, match=r"schema/999-later\.sql, made by newer code"):
        migrate(url)
    with pytest.raises(DatabaseError, match="newer code"):
        load_bucket(url, BUCKET, [], load_fingerprints())


def test_a_changed_view_is_made_anew_and_readable(url: str, sql: Path, tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.json", [entry(1, probe_cc="TR")])
    load_bucket(url, BUCKET, [report], load_fingerprints())
    path = sql / "views" / "03-country_counts.sql"
    path.write_text(path.read_text().replace("'Measurements by country'", "'Changed'"))
    assert all_pending(url) == ["views/03-country_counts.sql"]
    assert migrate(url) == ["views/03-country_counts.sql"]
    assert one(url, "SELECT obj_description('country_counts'::regclass)") == "Changed"
    assert one(url, "SELECT has_table_privilege('ooni_reader', 'country_counts', 'SELECT')")
    # the new view shows the bucket, so the others must too, and what says so
    assert query(url, "SELECT probe_cc, count FROM country_counts") == [("TR", 1)]
    assert one(url, "SELECT count(*) FROM views_contain JOIN loads USING (bucket_date, load_id)") == 1
    refresh_views(url)


def test_views_are_made_anew_while_they_are_refreshed(url: str, sql: Path) -> None:
    path = sql / "views" / "03-country_counts.sql"
    text = path.read_text()
    with ThreadPoolExecutor(1) as threads:
        for number in range(8):
            path.write_text(f"{text}-- {number}\n")
            refreshing = threads.submit(refresh_views, url)
            assert migrate(url) == ["views/03-country_counts.sql"]
            refreshing.result()


def test_reader_reads_all_and_writes_nothing(url: str, tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.json", [entry(1)])
    load_bucket(url, BUCKET, [report], load_fingerprints())
    tables = [
        name
        for (name,) in query(
            url,
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'm') "
            "AND relnamespace = current_schema()::regnamespace",
        )
    ]
    assert {"metrics", "metrics_2016_08", "loads", *VIEWS} <= set(tables)
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE ooni_reader")
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {table}")
            for write in (f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES", f"TRUNCATE {table}"):
                with pytest.raises(psycopg2.Error) as caught:
                    cursor.execute(write)
                assert caught.value.pgcode in ("42501", "42809")  # no privilege; not for a view
        for write in ("REFRESH MATERIALIZED VIEW country_counts", "CREATE TABLE mine (number integer)"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(write)
    connection.close()


def test_warnings(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert warnings(url) == []
    monkeypatch.setattr(module, "LOCKS_WANTED", 100_000)
    assert "max_locks_per_transaction is 512: set it to 100000" in warnings(url)[0]
    query(url, "REVOKE SELECT ON metrics FROM ooni_reader")
    assert "003-reader.sql" in warnings(url)[1]


def test_reader_file_may_be_run_again(url: str) -> None:
    query(url, "REVOKE SELECT ON metrics FROM ooni_reader")
    query(url, (sql_directory() / "schema" / "003-reader.sql").read_text())
    assert warnings(url) == []


def test_another_encoding_is_refused(postgres_url: str, database_url: str) -> None:
    name = "test_ascii"
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER 'libc' "
            "LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        with pytest.raises(DatabaseError, match="SQL_ASCII; create one WITH ENCODING 'UTF8'"):
            migrate(postgres_url.replace("/ooni?", f"/{name}?", 1))
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


def test_a_filled_database_gets_the_indexes_of_researchers(database_url: str) -> None:
    """An older installation: its partitions, and those to come, have the new indexes alone."""
    migrate(database_url)
    for before in (
        "DROP INDEX probe_asn_test_start_time_idx, input_probe_cc_idx",
        "CREATE INDEX probe_asn_idx ON metrics (probe_asn)",
        "CREATE INDEX input_idx ON metrics (input)",
        "DELETE FROM schema_migrations WHERE file = 'schema/005-researchers.sql'",
        "SELECT ensure_metrics_partition('2016-08-01')",
        "INSERT INTO metrics (id, bucket_date, input) VALUES (gen_random_uuid(), '2016-08-01', 'x')",
    ):
        query(database_url, before)
    assert migrate(database_url)[0] == "schema/005-researchers.sql"
    query(database_url, "SELECT ensure_metrics_partition('2016-09-01')")
    found = []
    for table in ("metrics", "metrics_2016_08", "metrics_2016_09"):
        rows = query(database_url, f"SELECT indexdef FROM pg_indexes WHERE tablename = '{table}'")
        found.append(sorted(row[0].partition(" btree ")[2] for row in rows))
    assert found[0] == found[1] == found[2]
    assert {"(probe_asn, test_start_time DESC)", "(input, probe_cc)"} <= {*found[0]}
    assert not {"(probe_asn)", "(input)"} & {*found[0]}
