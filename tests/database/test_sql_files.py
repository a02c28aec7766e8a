"""The SQL files: each says what it is for and is used, and nothing in the database lacks a comment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ooni_pipeline.database import statements
from ooni_pipeline.database.rows import COLUMNS
from ooni_pipeline.database.statements import sql_directory, statement
from ooni_pipeline.errors import DatabaseError

from .measurements import BUCKET, one, query

FILES = sorted(path.relative_to(sql_directory()) for path in sql_directory().rglob("*.sql"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_header_says_what_parameters_and_usage(file: Path) -> None:
    header = re.match(r"(--.*\n)+", (sql_directory() / file).read_text())
    assert header is not None
    assert "arameters" in header.group() and "Usage:" in header.group()


@pytest.mark.parametrize("file", FILES, ids=str)
def test_parameters_are_those_of_the_header(file: Path) -> None:
    text = (sql_directory() / file).read_text()
    header = re.match(r"((--.*\n)+)", text)
    assert header is not None
    for name in re.findall(r"%\((\w+)\)s", text):
        assert re.search(rf"\b{name}\b", header.group())


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_is_used(file: Path) -> None:
    if file.parent.name == "checks" or re.match(r"\d", file.name):  # those are for a person, or all applied
        return
    code = "".join(path.read_text() for path in Path(statements.__file__).parent.glob("*.py"))
    assert f'"{file.with_suffix("")}"' in code


def test_every_relation_and_column_has_a_comment(url: str) -> None:
    query(url, "SELECT ensure_metrics_partition(%s)", [BUCKET])
    without = query(
        url,
        """
        SELECT c.relname, a.attname
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND col_description(c.oid, a.attnum) IS NULL
        UNION ALL
        SELECT c.relname, '(itself)'
        FROM pg_class AS c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND obj_description(c.oid) IS NULL
        """,
    )
    assert without == []
    assert one(url, "SELECT count(*) FROM pg_class WHERE relname = 'metrics_2016_08'") == 1


def test_columns_are_the_seeds_in_its_order_then_extra(url: str) -> None:
    found = query(
        url,
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'metrics' "
        "ORDER BY ordinal_position",
    )
    seed = (
        "id uuid, input text, report_id text, report_filename text, options jsonb, probe_cc text, "
        "probe_asn text, probe_ip text, data_format_version text, test_name text, "
        "test_start_time timestamp, measurement_start_time timestamp, test_runtime real, "
        "software_name text, software_version text, test_version text, bucket_date date, "
        "test_helpers jsonb, test_keys jsonb"
    )
    columns = [tuple(column.split()) for column in seed.split(", ")]
    assert [(name, kind.removesuffix(" without time zone")) for name, kind in found] == [
        *columns,
        ("extra", "jsonb"),
    ]
    assert list(COLUMNS.items()) == columns
    copied = re.search(r"\((.*?)\)", statement("load/copy_metrics"), re.DOTALL)
    assert copied is not None
    assert re.findall(r"\w+", copied.group(1)) == [*COLUMNS, "extra"]


def test_indexes_of_the_seed(url: str) -> None:
    found = query(url, "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'metrics'")
    indexes = {name: definition.partition(" btree ")[2] for name, definition in found}
    for column in (
        "probe_cc",
        "test_start_time",
        "test_name",
        "report_id",
        "bucket_date",
    ):
        assert indexes[f"{column}_idx"] == f"({column})"
    # Those of the seed on one column, and what the same questions ask next.
    assert indexes["probe_asn_test_start_time_idx"] == "(probe_asn, test_start_time DESC)"
    assert indexes["input_probe_cc_idx"] == "(input, probe_cc)"
    assert indexes["test_start_time_probe_cc_idx"] == "(test_start_time DESC, probe_cc)"
    assert one(url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'metrics_pkey'").startswith(
        "CREATE UNIQUE"
    )


def test_checks_run(url: str) -> None:
    for path in sorted((sql_directory() / "checks").glob("*.sql")):
        query(url, path.read_text())


def test_installed_files_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = tmp_path / "site" / "ooni_pipeline" / "database" / "statements.py"
    monkeypatch.setattr(statements, "__file__", str(module))
    with pytest.raises(DatabaseError, match="install the package again"):
        sql_directory()
    (tmp_path / "site" / "sql" / "schema").mkdir(parents=True)
    assert sql_directory() == tmp_path / "site" / "sql"
    (tmp_path / "site" / "ooni_pipeline" / "sql" / "schema").mkdir(parents=True)
    assert sql_directory() == tmp_path / "site" / "ooni_pipeline" / "sql"
