"""The cases of a bucket: since when they wait, what was decided, and a file that is damaged."""

from __future__ import annotations

import datetime as dt

import pytest

from ooni_pipeline.bucket.decisions import (
    DROP,
    RELEASE,
    decide,
    decided,
    held_reports,
    note_held,
    read_cases,
)
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.tally import Tally

DATE = dt.date(2016, 8, 1)
FIRST, LATER = dt.datetime(2016, 8, 1, 4), dt.datetime(2016, 8, 2, 4)


def release(layout: Layout, *reports: str) -> None:
    decide(layout, DATE, reports, decision=RELEASE, now=LATER, by="ooni", reason="why")


def test_they_wait_since_they_were_held_first(layout: Layout) -> None:
    assert read_cases(layout, DATE) == {}
    assert layout.held_dates() == []
    note_held(layout, DATE, ["a", "b"], FIRST)
    note_held(layout, DATE, ["a", "c"], LATER)
    cases = read_cases(layout, DATE)
    assert {report: case.since for report, case in cases.items()} == {
        "a": "2016-08-01T04:00:00Z",
        "c": "2016-08-02T04:00:00Z",
    }
    assert layout.held_dates() == [DATE]


def test_a_decision_stays_when_nothing_is_held(layout: Layout) -> None:
    note_held(layout, DATE, ["a", "b"], FIRST)
    release(layout, "a")
    decide(layout, DATE, ["b"], decision=DROP, now=LATER, by="ooni")
    note_held(layout, DATE, [], LATER)
    cases = read_cases(layout, DATE)
    assert [*decided(cases, RELEASE), *decided(cases, DROP)] == ["a", "b"]
    assert (cases["a"].since, cases["a"].when) == ("2016-08-01T04:00:00Z", "2016-08-02T04:00:00Z")
    assert (cases["a"].by, cases["a"].reason, cases["b"].reason) == ("ooni", "why", "")
    release(layout, "b")
    assert decided(read_cases(layout, DATE), DROP) == frozenset()


def test_what_waits(layout: Layout) -> None:
    note_held(layout, DATE, ["a", "b", "c"], FIRST)
    assert [(held.report, held.waits) for held in held_reports(layout, DATE)] == [
        ("a", True), ("b", True), ("c", True)
    ], "the bucket is forgotten meanwhile"  # fmt: skip
    counts = Tally(taken=3, out=1, held=2)
    records = [ReportRecord(report, counts=counts) for report in "abc"] + [ReportRecord("d")]
    release(layout, "b", "c")
    proof = Manifest("sanitised", DATE, "", facts={"decisions": {"b": RELEASE}}, reports=records)
    for path in (layout.manifest, layout.forgotten):
        proof.write(path(Stage.SANITISED, DATE))
        found = held_reports(layout, DATE)
        assert [(held.report, held.waits) for held in found] == [("a", True), ("b", False), ("c", True)]
        assert {(held.held, held.taken, held.why) for held in found} == {(2, 3, "still_leaks")}
        path(Stage.SANITISED, DATE).unlink()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"format": 2, "reports": {}}', '{"format": 1, "reports": []}', "[" * 100_000,
        '{"format": 1, "reports": {"a": {"decision": "publish"}}}',
        '{"format": 1, "reports": {"a": {"x": 1}}}', '{"format": 1, "reports": {"a": null}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_no_empty_one(layout: Layout, text: str) -> None:
    path = layout.decisions(DATE)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for use in (read_cases, held_reports):
        with pytest.raises(BucketError, match="of bucket 2016-08-01, is damaged"):
            use(layout, DATE)
    with pytest.raises(BucketError):
        note_held(layout, DATE, ["a"], FIRST)
    assert path.read_text() == text
