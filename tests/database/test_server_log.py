"""A row that PostgreSQL refuses is quoted in no log of the server, ours or, as far as we may, another's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from ooni_pipeline.database.embedded import LOG_NAME, EmbeddedServer
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.migrate import migrate, warnings
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import load_fingerprints

from .measurements import BUCKET, entry, query, write_report

CANARY = "canary-7f3a"
FINGERPRINTS = load_fingerprints()

#: How a table may refuse a row: PostgreSQL quotes it in the detail, or in the message itself.
REFUSALS = (
    "CHECK (input NOT LIKE '%canary%')",
    "CHECK (CASE WHEN input LIKE '%canary%' THEN input::timestamp IS NULL ELSE true END)",
)


@pytest.fixture
def server(tmp_path: Path, postgres_bin_dir: Path) -> Iterator[EmbeddedServer]:
    made = EmbeddedServer(tmp_path / "database", postgres_bin_dir)
    made.ensure_running()
    yield made
    made.stop()


@pytest.fixture
def talkative(server: EmbeddedServer) -> EmbeddedServer:
    """A server with the settings that it has where nobody cared, and with an ordinary role."""
    for setting in (
        "log_min_messages = warning",
        "log_min_error_statement = error",
        "log_error_verbosity = 'default'",
    ):
        query(server.url, f"ALTER SYSTEM SET {setting}", autocommit=True)
    query(server.url, "CREATE ROLE ordinary LOGIN; CREATE ROLE ooni_reader NOLOGIN")
    query(server.url, "GRANT ALL ON DATABASE ooni TO ordinary; ALTER SCHEMA public OWNER TO ordinary")
    server.stop()
    server.ensure_running()
    return server


def ordinary(server: EmbeddedServer) -> str:
    return server.url.replace("user=postgres", "user=ordinary")


def log(server: EmbeddedServer) -> str:
    return (server.data_dir / LOG_NAME).read_text()


def complaints(url: str) -> list[str]:
    return [warning for warning in warnings(url) if "log_min_messages" in warning]


def load_refused_rows(url: str, directory: Path) -> None:
    """Load a good row and one with the canary, which is refused, for each way to refuse it."""
    migrate(url)
    for number, refusal in enumerate(REFUSALS):
        query(url, f"ALTER TABLE metrics ADD CONSTRAINT picky {refusal}")
        bucket = BUCKET.replace(day=1 + number)
        rows = [entry(2 * number, bucket), entry(2 * number + 1, bucket, input=f"http://{CANARY}.test/")]
        report = write_report(directory / f"{number}.json", rows)
        refused: list[object] = []
        load_bucket(url, bucket, [report], FINGERPRINTS, reject=lambda *one, to=refused: to.append(one))
        assert len(refused) == 1
        query(url, "ALTER TABLE metrics DROP CONSTRAINT picky")


def test_ours_keeps_refused_rows_out_of_its_log(server: EmbeddedServer, tmp_path: Path) -> None:
    load_refused_rows(server.url, tmp_path)
    assert "database system is ready" in log(server)
    assert CANARY not in log(server)


def test_a_session_that_may_keeps_them_out_of_anothers_log(talkative: EmbeddedServer, tmp_path: Path) -> None:
    load_refused_rows(talkative.url, tmp_path)
    assert CANARY not in log(talkative)
    assert complaints(talkative.url) == []


@pytest.mark.parametrize(
    "remedy",
    [
        "ALTER ROLE ordinary SET log_min_messages = log",
        "GRANT SET ON PARAMETER log_min_messages, log_min_error_statement, log_error_verbosity TO ordinary",
    ],
)
def test_where_it_may_not_the_operator_is_told_what_helps(
    talkative: EmbeddedServer, tmp_path: Path, remedy: str
) -> None:
    url = ordinary(talkative)
    load_refused_rows(url, tmp_path)
    assert f'invalid input syntax for type timestamp: "http://{CANARY}.test/"' in log(talkative)
    assert f"http://{CANARY}.test/, report-1" in log(talkative), "the detail quotes the row"
    (told,) = complaints(url)
    assert "ALTER ROLE … SET log_min_messages = log" in told

    query(talkative.url, remedy)
    before = len(log(talkative))
    query(url, "DELETE FROM loads")
    load_refused_rows(url, tmp_path)
    assert CANARY not in log(talkative)[before:]
    assert complaints(url) == []


def test_why_the_rows_end_is_not_told_to_the_server(talkative: EmbeddedServer, tmp_path: Path) -> None:
    """The driver would send the text of what making a row raised, in the message that ends the COPY."""

    class Quoting:
        version = "1"

        def explained(self) -> list[object]:
            return []

        def match(self, *_: object) -> list[tuple[str, str]]:
            raise ValueError(f"cannot match {CANARY}")

    url = ordinary(talkative)
    migrate(url)
    report = write_report(tmp_path / "a.json", [entry(1)])
    with pytest.raises(ValueError, match=CANARY):
        load_bucket(url, BUCKET, [report], Quoting())  # type: ignore[arg-type]
    assert "COPY from stdin failed" in log(talkative)
    assert CANARY not in log(talkative)


def test_a_triggers_words_are_not_told(url: str, tmp_path: Path) -> None:
    says = "RAISE EXCEPTION 'I do not like %'"
    query(
        url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {says}, NEW.input; END $$; "
        "CREATE TRIGGER fail BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    report = write_report(tmp_path / "a.json", [entry(1, input=f"http://{CANARY}.test/")])
    with pytest.raises(DatabaseError, match=r"^the database answers P0001: raise exception$"):
        load_bucket(url, BUCKET, [report], FINGERPRINTS)
    with pytest.raises(psycopg2.Error, match=CANARY):  # it would have told
        query(url, f"DO $$ BEGIN {says}, '{CANARY}'; END $$")
