"""Rows: whatever an entry holds, PostgreSQL takes it and gives it back."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812 - the driver's own spelling

from ooni_pipeline.database.rows import (
    COLUMNS,
    JSON,
    MAX_BESIDE_INPUT,
    MAX_TEXT_BYTES,
    REAL,
    TEXT,
    TIME,
    metrics_row,
)
from ooni_pipeline.database.statements import statement
from ooni_pipeline.report.json_lines import loads

from .measurements import BUCKET, entry, measurement_id

REPLACEMENT = "\ufffd"
SELECT = f"SELECT {', '.join(f'{name}::text' if kind in (JSON, TIME) else name for name, kind in COLUMNS.items())}, extra::text FROM metrics ORDER BY id"  # noqa: E501


def as_rows(
    database: Connection, entries: list[dict[str, Any]], notes: Counter[str] | None = None
) -> list[Any]:
    """What the table then holds of these entries, as mappings; jsonb is parsed exactly."""
    notes = Counter() if notes is None else notes
    with database.cursor() as cursor:
        data = b"".join(metrics_row(one, notes) for one in entries)
        cursor.copy_expert(statement("load/copy_metrics"), io.BytesIO(data))
        cursor.execute(SELECT)
        found = [dict(zip([*COLUMNS, "extra"], row, strict=True)) for row in cursor.fetchall()]
    database.rollback()
    for row in found:
        for column in ("options", "test_helpers", "test_keys", "extra"):
            if row[column] is not None:
                row[column] = json.loads(row[column], parse_int=Decimal, parse_float=Decimal)
    return found


def as_row(database: Connection, one: dict[str, Any], notes: Counter[str] | None = None) -> Any:
    (row,) = as_rows(database, [one], notes)
    return row


def held(value: Any) -> Any:
    """What jsonb holds of a value, after the documented replacements."""
    if isinstance(value, str):
        return "".join(
            REPLACEMENT if letter == "\0" or "\ud800" <= letter <= "\udfff" else letter for letter in value
        )
    if isinstance(value, dict):
        return {held(key): held(item) for key, item in value.items()}
    if isinstance(value, list):
        return [held(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    return Decimal(value)


NASTY = [
    "",
    " ",
    "\0",
    "a\0b\0",
    "\\u0000",
    "\\\\u0000",
    "\\\0",
    "\\\\\0\\u0000\0",
    "\ud800",
    "a\udfffb",
    "\ud83d\ude00",
    "\N{GRINNING FACE}",
    '"',
    '""',
    "'",
    '","',
    "\n",
    "\r\n",
    "a\n\\.\nb",
    "\\.",
    "\\N",
    "\\",
    "\\\\",
    "NULL",
    "\t\b\f\v\x1f\x7f\x85\u2028",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "x" * 8_000,
    "\u0131" * 8_000,
    "\0" * 2_000,
    "\ud800" * 2_000,
    "é" + "\N{GRINNING FACE}" * 500,
]


@pytest.mark.parametrize("value", NASTY, ids=lambda value: ascii(value)[:30])
def test_text_anywhere(database: Connection, value: str) -> None:
    """One nasty string in every text column, in jsonb as value and key, and as a key of its own."""
    texts = [column for column, kind in COLUMNS.items() if kind is TEXT]
    one = {**entry(1), **dict.fromkeys(texts, value)}
    one.update(
        options=[value], test_keys={value: value, "list": [value, {value: None}]}, unknown={value: value}
    )
    one[f"key {value}"] = value
    row = as_row(database, one)
    whole = held(value)
    short = {
        column: whole.encode()[: MAX_BESIDE_INPUT.get(column, MAX_TEXT_BYTES)].decode("utf-8", "ignore")
        for column in texts
    }
    assert {column: row[column] for column in texts} == short
    assert row["options"] == [whole]
    assert row["test_keys"] == {whole: whole, "list": [whole, {whole: None}]}
    cut = {column: whole for column in texts if short[column] != whole}
    assert row["extra"] == {"unknown": {whole: whole}, f"key {whole}": whole, **cut}


def test_notes_count_what_was_changed(database: Connection) -> None:
    notes: Counter[str] = Counter()
    one = entry(1, input="a\0\0\ud800", test_keys={"\0": ["\ud800", "\\u0000", "\\\0"]}, test_runtime="5")
    as_row(database, one, notes)
    assert notes == {"nul": 4, "lone_surrogate": 2, "in_extra": 1}


def test_keys_that_become_the_same(database: Connection) -> None:
    row = as_row(database, entry(1, test_keys={"\0": 1, REPLACEMENT: 2, "\ud800": 3}))
    assert row["test_keys"] == {REPLACEMENT: 3}


@pytest.mark.parametrize(
    "value",
    [["http://a.test", None], {"a": "\0"}, 5, 5.5, True, False, [], {}, 10**400, ["x" * 9_000]],
    ids=repr,
)
def test_text_that_is_no_text(database: Connection, value: Any) -> None:
    row = as_row(database, entry(1, input=value, probe_cc=value))
    assert row["extra"] == {"input": held(value), "probe_cc": held(value)}
    assert isinstance(row["input"], str) and row["probe_cc"] == row["input"][: MAX_BESIDE_INPUT["probe_cc"]]
    assert len(row["input"].encode()) <= MAX_TEXT_BYTES


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ("2016-08-01 04:05:06", "2016-08-01 04:05:06"),
        ("0001-01-01 00:00:00", "0001-01-01 00:00:00"),
        ("9999-12-31 23:59:59", "9999-12-31 23:59:59"),
        ("2016-02-29 00:00:00", "2016-02-29 00:00:00"),
        ("2015-02-29 00:00:00", None),
        ("0000-01-01 00:00:00", None),
        ("20000-01-01 00:00:00", None),
        ("2016-08-01 25:61:61", None),
        ("2016-08-01 23:59:60", None),
        ("2016-08-01 24:00:00", None),
        ("2016-08-01T04:05:06Z", None),
        ("garbage", None),
        ("infinity", None),
        ("now", None),
        ("", None),
        (0, None),
        (1470024306, None),
        (1470024306.5, None),
        (True, None),
        ([], None),
        ({"a": "\0"}, None),
    ],
    ids=repr,
)
def test_times(database: Connection, value: Any, column: str | None) -> None:
    row = as_row(database, entry(1, test_start_time=value, measurement_start_time=value))
    assert row["test_start_time"] == row["measurement_start_time"] == column
    both = {"test_start_time": held(value), "measurement_start_time": held(value)}
    assert row["extra"] == (both if column is None else None)


@pytest.mark.parametrize(
    ("value", "column"),
    [
        (0, 0.0),
        (-0.0, 0.0),
        (5, 5.0),
        (1.5, 1.5),
        (-2.25e10, -2.25e10),
        (3.3e38, 3.3e38),
        (1e-37, 1e-37),
        (1e-38, 0.0),
        (5e-324, 0.0),
        (2**100, 2.0**100),
        (3.41e38, None),
        (1e308, None),
        (10**400, None),
        ("5", None),
        ("NaN", None),
        (math.nan, None),
        (math.inf, None),
        (True, None),
        ([], None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_runtimes(database: Connection, value: Any, column: float | None) -> None:
    row = as_row(database, entry(1, test_runtime=value))
    assert row["test_runtime"] == (None if column is None else pytest.approx(column, rel=1e-6))
    assert row["extra"] == ({"test_runtime": held(value)} if column is None else None)


def test_null_and_empty_are_told_apart(database: Connection) -> None:
    null, empty = as_rows(
        database, [entry(1, input=None, test_keys=None, report_id=None), entry(2, input="", test_keys={})]
    )
    assert (null["input"], null["test_keys"], null["report_id"], null["extra"]) == (None, None, None, None)
    assert (empty["input"], empty["test_keys"]) == ("", {})
    assert (null["id"], null["bucket_date"]) == (measurement_id(1), BUCKET)


@pytest.mark.parametrize("value", [None, False, 0, "", "null", [], {}, 10**400, 1e308, -5e-324], ids=repr)
def test_json_of_any_kind(database: Connection, value: Any) -> None:
    row = as_row(database, entry(1, test_keys=value, options=value, test_helpers=value))
    assert row["test_keys"] == row["options"] == row["test_helpers"] == held(value)


@pytest.mark.parametrize("depth", [100, 500])
def test_deep_nesting(database: Connection, depth: int) -> None:
    """1,000 containers deep, as far as an entry may go; compared by PostgreSQL, Python's stack is shorter."""
    text = '[{"k":' * depth + '"bottom"' + "}]" * depth
    data = metrics_row(entry(1, test_keys=loads(text), unknown=loads(text)), Counter())
    with database.cursor() as cursor:
        cursor.copy_expert(statement("load/copy_metrics"), io.BytesIO(data))
        cursor.execute(
            "SELECT test_keys = %s::jsonb AND extra -> 'unknown' = %s::jsonb FROM metrics", [text, text]
        )
        assert cursor.fetchone() == (True,)
    database.rollback()


def test_missing_keys_are_null(database: Connection) -> None:
    row = as_row(database, {"id": measurement_id(1), "bucket_date": BUCKET.isoformat()})
    assert {column for column, value in row.items() if value is not None} == {"id", "bucket_date"}


def test_a_row_is_one_record_whatever_its_id_and_date() -> None:
    """These two are ours; if they are not, the server refuses one row and no other."""
    line = metrics_row({**entry(1), "id": 'x","y', "bucket_date": '2016-08-01"\n"'}, Counter())
    assert line.startswith(b'"x"",""y","http')
    assert b',"2016-08-01""\n""",' in line


LETTERS = st.one_of(st.characters(exclude_categories=()), st.sampled_from('\0\\u0"\n,.N\ud800\udc00'))
TEXTS = st.one_of(st.text(LETTERS), st.sampled_from(NASTY))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)  # the reader has made null of those
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
TIMES = st.one_of(
    st.datetimes(max_value=dt.datetime(9999, 12, 31)).map(lambda moment: moment.isoformat(" ", "seconds")),
    st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\Z"),
    VALUES,
)
ANY = {
    column: TIMES if kind is TIME else VALUES
    for column, kind in COLUMNS.items()
    if column not in ("id", "bucket_date")
}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(
    st.lists(
        st.tuples(st.fixed_dictionaries({}, optional=ANY), st.dictionaries(TEXTS, VALUES, max_size=3)),
        min_size=1,
        max_size=12,
    )
)
def test_any_entry_becomes_a_row(
    database: Connection, drawn: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    entries = [
        {**{key: value for key, value in others.items() if key not in COLUMNS}, **columns,
         "id": measurement_id(number), "bucket_date": BUCKET.isoformat()}
        for number, (columns, others) in enumerate(drawn)
    ]  # fmt: skip
    rows = as_rows(database, entries)
    assert len(rows) == len(entries)
    for sent, row in zip(entries, rows, strict=True):
        extra = dict(row["extra"] or {})
        for column, kind in COLUMNS.items():
            value = sent.get(column)
            if kind is JSON or value is None:
                assert row[column] == held(value)
            elif column in ("id", "bucket_date"):
                assert str(row[column]) == value
            elif column in extra:
                assert extra.pop(column) == held(value)
            elif kind is REAL:
                assert row[column] == pytest.approx(value, rel=1e-6, abs=1e-37)
            else:
                assert row[column] == held(value)
        others = {key: value for key, value in sent.items() if key not in COLUMNS and value is not None}
        assert extra == held(others)
