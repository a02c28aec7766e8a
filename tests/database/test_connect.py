"""Connections: what they are set to, and that no error tells a secret or a report's content."""

from __future__ import annotations

import psycopg2
import pytest

from ooni_pipeline.database.connect import PATIENCE, NoSchemaError, connected, run, told_safely
from ooni_pipeline.database.markers import is_loaded
from ooni_pipeline.errors import DatabaseError

from .measurements import BUCKET


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:sec/ret@localhost/ooni",
        "postgresql://user:5432/secret@localhost/ooni",
        "postgresql://user:x@secret@localhost/ooni",
        "postgresql://user:%zzsecret@localhost/ooni",
        "postgresql://user:secret@localhost:port/ooni",
        "postgresql://user:secret@localhost/ooni?password2=secret",
        "secret",
    ],
)
def test_a_bad_url_is_not_quoted(url: str) -> None:
    with pytest.raises(DatabaseError) as caught, connected(url):
        pass
    assert "secret" not in str(caught.value) and "sec" not in str(caught.value)
    assert "postgresql://" in str(caught.value)


def test_no_server_is_an_error_of_one_line_without_the_password() -> None:
    with pytest.raises(DatabaseError) as caught, connected("postgresql://user:secret@127.0.0.1:1/ooni"):
        pass
    assert "cannot reach the database" in str(caught.value)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_settings_of_the_url_stay(database_url: str) -> None:
    options = "&options=-c%20work_mem%3D5MB%20-c%20timezone%3DAsia/Tokyo"
    with connected(database_url + options) as database, database.cursor() as cursor:
        cursor.execute("SELECT current_setting('work_mem'), current_setting('timezone')")
        assert cursor.fetchone() == ("5MB", "UTC")
        cursor.execute("SHOW client_encoding")
        assert cursor.fetchone() == ("UTF8",)
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("read committed",)


def test_repeatable_read(database_url: str) -> None:
    with connected(database_url, repeatable_read=True) as database, database.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)


def test_no_schema_names_the_command(database_url: str) -> None:
    with pytest.raises(NoSchemaError, match=r"python -m tasks\.migrate"):
        is_loaded(database_url, BUCKET)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'private'::uuid",
        "SELECT 'private'::timestamp",
        "SELECT 'private'::real",
        """SELECT '{"private'::jsonb""",
        "SELECT '2016-08-01 25:00:00 private'::timestamp",
    ],
)
def test_data_errors_do_not_quote(database_url: str, sql: str) -> None:
    with pytest.raises(DatabaseError) as caught, connected(database_url) as database:
        database.cursor().execute(sql)
    assert "private" not in str(caught.value)
    assert "the database answers 22" in str(caught.value)


def test_what_the_block_raises_goes_through_and_rolls_back(url: str) -> None:
    with pytest.raises(ZeroDivisionError), connected(url) as database:
        run(database, "load/begin_matches")
        database.cursor().execute("INSERT INTO country_totals VALUES ('2016-08-01', 'DE', 1)")
        raise ZeroDivisionError
    with connected(url) as database, database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM country_totals")
        assert cursor.fetchone() == (0,)


def test_a_connection_that_the_server_ends(database_url: str) -> None:
    with pytest.raises(DatabaseError), connected(database_url) as database:
        database.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_an_error_without_text() -> None:
    with pytest.raises(DatabaseError, match="no reason given"), told_safely():
        raise psycopg2.OperationalError


def test_a_machine_that_does_not_answer_is_given_up(database_url: str) -> None:
    """After minutes, not hours, on both sides; the URL may say otherwise."""
    with connected(database_url + "&keepalives_idle=7") as database:
        used = database.get_dsn_parameters()
        assert {**PATIENCE, "keepalives_idle": "7"}.items() <= used.items()
        with database.cursor() as cursor:
            cursor.execute("SHOW client_connection_check_interval")
            assert cursor.fetchall() == [("10s",)]
