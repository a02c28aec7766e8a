"""When a test and a measurement began, from what every age of probe and collector wrote."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.normalise import normalise_entry
from ooni_pipeline.report.entry import RawEntry
from ooni_pipeline.report.times import parse_time
from tests.normalise.entries import context, normalised

EPOCH = dt.datetime(1970, 1, 1)
AUGUST = "2016-08-01 00:00:00"
FLOAT = 1470009600.75  # AUGUST
NAMED = "2016-08-01 12:00:00"
OLD = "2012-01-01 00:00:00"
LATE = "2016-08-04 23:59:59"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (FLOAT, AUGUST),
        (1470009600, AUGUST),
        ("1470009600.75", AUGUST),
        (AUGUST, AUGUST),
        ("2016-08-01T00:00:00Z", AUGUST),
        ("2016-08-01T000000Z", AUGUST),
        ("20160801T000000Z", AUGUST),
        ("20160801T000000", AUGUST),
        ("2016-08-01 00:00:00.999999", AUGUST),
        ("2016-08-01 00:00:00 UTC", AUGUST),
        ("2016-08-01T02:30:00+02:30", AUGUST),
        ("2016-07-31T22:00:00-0200", AUGUST),
        (" 2016-08-01 00:00:00\n", AUGUST),
        (0, "1970-01-01 00:00:00"),
        (-0.5, "1969-12-31 23:59:59"),
        ("2099-12-31 23:59:59", "2099-12-31 23:59:59"),
    ],
)
def test_forms_of_a_time(value: Any, expected: str) -> None:
    time = parse_time(value)
    assert time is not None
    assert time.isoformat(" ") == expected


@pytest.mark.parametrize(
    "value",
    [
        None, True, "", "now", "2016-13-01 00:00:00", "2016-08-01", "2016-08-01 25:00:00", [], {}, b"0",
        1e300, 10**400, -1e13, "nan", "inf", "1e999", "9999-12-31 23:59:59-0100", "0001-01-01 00:00:00+0100",
        "2016-08-01 00:00:00" + " " * 40, "\u0662016-08-01 00:00:00",
    ],
)  # fmt: skip
def test_what_is_no_time(value: Any) -> None:
    assert parse_time(value) is None


@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(9000, 1, 1)))
def test_numbers_and_texts_agree(time: dt.datetime) -> None:
    whole = time.replace(microsecond=0)
    # Half a second, because a double of some thousand years cannot tell all microseconds.
    assert parse_time((whole - EPOCH).total_seconds() + 0.5) == whole
    assert parse_time(time.isoformat()) == whole
    assert parse_time(f"{time:%Y-%m-%d %H:%M:%S}") == whole


# header, entry -> test_start_time and where from, measurement_start_time and where from
LEGACY: list[tuple[dict[str, Any], dict[str, Any], str | None, str, str | None, str]] = [
    ({"start_time": FLOAT}, {}, AUGUST, "header.start_time", AUGUST, "test_start_time"),
    ({}, {"start_time": FLOAT}, AUGUST, "entry.start_time", AUGUST, "test_start_time"),
    (
        {"start_time": FLOAT},
        {"test_start_time": FLOAT + 5},
        AUGUST,
        "header.start_time",
        "2016-08-01 00:00:05",
        "entry.test_start_time",
    ),
    (  # the collector's clock goes before the probe's
        {"start_time": FLOAT, "test_start_time": "2016-08-01 08:00:00"},
        {"test_start_time": FLOAT + 5},
        "2016-08-01 08:00:00",
        "header.test_start_time",
        "2016-08-01 00:00:05",
        "entry.test_start_time",
    ),
    (
        {"test_start_time": AUGUST},
        {"test_started": FLOAT + 1},
        AUGUST,
        "header.test_start_time",
        "2016-08-01 00:00:01",
        "entry.test_started",
    ),
    (
        {"start_time": FLOAT},
        {"report": {"test_started": FLOAT + 2}},
        AUGUST,
        "header.start_time",
        "2016-08-01 00:00:02",
        "entry.test_started",
    ),
    (
        {"start_time": FLOAT},
        {"test_start_time": "2016-08-01 00:01:00", "measurement_start_time": "2016-08-01 00:01:01"},
        "2016-08-01 00:01:00",
        "entry.test_start_time",
        "2016-08-01 00:01:01",
        "entry.measurement_start_time",
    ),
    ({}, {}, NAMED, "report_filename", NAMED, "test_start_time"),
    ({"start_time": 0.0}, {}, NAMED, "report_filename", NAMED, "test_start_time"),
    ({"start_time": None, "test_start_time": None}, {}, NAMED, "report_filename", NAMED, "test_start_time"),
    ({"start_time": "x"}, {"test_start_time": []}, NAMED, "report_filename", NAMED, "test_start_time"),
    ({"start_time": 4080000000}, {}, NAMED, "report_filename", NAMED, "test_start_time"),
    ({"start_time": True}, {}, NAMED, "report_filename", NAMED, "test_start_time"),
    ({"test_start_time": FLOAT}, {}, AUGUST, "header.test_start_time", AUGUST, "test_start_time"),
    ({"start_time": 1325376000 - 1}, {}, NAMED, "report_filename", NAMED, "test_start_time"),  # 2011
    ({"start_time": 1325376000}, {}, OLD, "header.start_time", OLD, "test_start_time"),
    # the bucket is of 2016-08-02: three days on is too much
    ({"start_time": LATE}, {}, LATE, "header.start_time", LATE, "test_start_time"),
    ({"start_time": "2016-08-05 00:00:00"}, {}, NAMED, "report_filename", NAMED, "test_start_time"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "entry", "start", "start_from", "begun", "begun_from"), LEGACY)
def test_legacy_times(
    header: dict[str, Any],
    entry: dict[str, Any],
    start: str | None,
    start_from: str,
    begun: str | None,
    begun_from: str,
) -> None:
    result = normalised({"input": "a", **entry}, header)
    assert (result["test_start_time"], result["measurement_start_time"]) == (start, begun)
    assert result["time_source"] == {"test_start_time": start_from, "measurement_start_time": begun_from}


def test_a_time_that_cannot_be_true_is_better_than_none_and_says_so() -> None:
    nameless = context({"start_time": 0.0}, named_time=None)
    result = normalise_entry(RawEntry({"input": "a", "test_start_time": 4080000000.0}, b"x", 0), nameless)
    assert result["test_start_time"] == "1970-01-01 00:00:00"
    assert result["measurement_start_time"] == "2099-04-16 05:20:00"
    assert result["time_source"] == {
        "test_start_time": "header.start_time, implausible",
        "measurement_start_time": "entry.test_start_time, implausible",
    }
    nothing = normalise_entry(RawEntry({"input": "a"}, b"x", 0), context({"a": 1}, named_time=None))
    assert nothing["test_start_time"] is nothing["measurement_start_time"] is None
    assert set(nothing["time_source"].values()) == {"unknown"}


@pytest.mark.parametrize("value", ["soon", 0, 4080000000.0, [], {"a": 1}, True, "2099-01-01 00:00:00"])
def test_what_a_legacy_entry_says_and_nobody_believes_is_kept(value: Any) -> None:
    result = normalised({"input": "a", "test_start_time": value}, {"start_time": FLOAT})
    assert result["test_start_time"] == result["measurement_start_time"] == AUGUST
    assert result["client_test_start_time"] == value


def test_current_times_stay_as_they_are() -> None:
    entry = {"data_format_version": "0.2.0", "test_start_time": AUGUST, "measurement_start_time": NAMED}
    result = normalised(entry)
    assert (result["test_start_time"], result["measurement_start_time"]) == (AUGUST, NAMED)
    assert "time_source" not in result


@pytest.mark.parametrize("time", ["1970-01-01 00:00:00", "2099-01-01 00:00:00"])
def test_current_times_that_cannot_be_true_stay_and_are_marked(time: str) -> None:
    entry = {"data_format_version": "0.2.0", "test_start_time": time, "measurement_start_time": AUGUST}
    result = normalised(entry)
    assert result["test_start_time"] == time
    assert result["time_source"] == {"test_start_time": "entry.test_start_time, implausible"}


@pytest.mark.parametrize(
    ("value", "expected", "source"),
    [
        ("2016-08-01T00:00:00Z", AUGUST, "entry.test_start_time"),
        (FLOAT, AUGUST, "entry.test_start_time"),
        ("soon", NAMED, "report_filename"),
        ({}, NAMED, "report_filename"),
        (None, NAMED, "report_filename"),
    ],
)
def test_current_times_of_another_form_are_mended_and_kept(value: Any, expected: str, source: str) -> None:
    entry = {"data_format_version": "0.2.0", "test_start_time": value, "measurement_start_time": AUGUST}
    result = normalised(entry)
    assert result["test_start_time"] == expected
    assert result["time_source"] == {"test_start_time": source}
    assert result.get("client_test_start_time") == value
