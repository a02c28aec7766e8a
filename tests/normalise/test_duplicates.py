"""The first of equal entries of a bucket stays, by report and then by line."""

from __future__ import annotations

import tracemalloc
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.normalise import duplicates
from ooni_pipeline.normalise.duplicates import drop_duplicates, ids_of, repeated_lines
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter


def number(value: int) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_OID, str(value)).bytes


def report(directory: Path, name: str, values: list[int], *, told: bool = True) -> tuple[Job, Outcome]:
    """A normalised report whose entries have these ids; carried over when the work did not tell them."""
    path = directory / f"{name}.json"
    with LinesWriter(path) as lines:
        for place, value in enumerate(values):
            lines.write(b'{"id":"%s","line":%d}' % (str(uuid.UUID(bytes=number(value))).encode(), place))
    job = Job(name, "2016-08-02", path, path, directory, directory)
    ids = b"".join(map(number, values)) if told else b""
    counts = Tally(taken=len(values), out=len(values))
    return job, Outcome(counts, lines.size, lines.digest if values else "", ids=ids)


def left(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.mark.parametrize("told", [True, False])
def test_the_first_by_report_then_by_line_stays(tmp_path: Path, told: bool) -> None:
    outcomes = [
        report(tmp_path, "a", [1, 2, 1, 3], told=told),
        report(tmp_path, "b", [3, 1]),
        report(tmp_path, "c", [4, 2, 5]),
        report(tmp_path, "d", [6]),
    ]
    untouched = (tmp_path / "d.json").read_bytes()
    drop_duplicates(outcomes)
    assert [line[-2:-1] for line in left(tmp_path / "a.json")] == [b"0", b"1", b"3"]
    assert not (tmp_path / "b.json").exists()
    assert [line[-2:-1] for line in left(tmp_path / "c.json")] == [b"0", b"2"]
    assert (tmp_path / "d.json").read_bytes() == untouched
    assert [(outcome.counts.out, outcome.counts.duplicate) for _, outcome in outcomes] == [
        (3, 1),
        (0, 2),
        (2, 1),
        (1, 0),
    ]
    for job, outcome in outcomes:
        assert outcome.counts.missing() == 0
        assert outcome.size == (job.destination.stat().st_size if outcome.digest else 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "c.json", "d.json"]


def test_again_changes_nothing(tmp_path: Path) -> None:
    outcomes = [report(tmp_path, "a", [1, 2]), report(tmp_path, "b", [2, 3])]
    drop_duplicates(outcomes)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    carried_over = [(job, Outcome(outcome.counts, outcome.size, outcome.digest)) for job, outcome in outcomes]
    drop_duplicates(carried_over)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_ids_are_read_from_a_file_that_is_carried_over(tmp_path: Path) -> None:
    job, outcome = report(tmp_path, "a", [7, 8, 9], told=False)
    assert ids_of(job, outcome) == number(7) + number(8) + number(9)
    assert ids_of(*report(tmp_path, "empty", [])) == b""


@given(st.lists(st.lists(st.integers(0, 12), max_size=10), max_size=6))
def test_against_a_naive_search(values: list[list[int]]) -> None:
    seen: set[int] = set()
    expected: dict[int, list[int]] = {}
    for place, report_ in enumerate(values):
        flags = [int(value in seen or value in report_[:line]) for line, value in enumerate(report_)]
        seen.update(report_)
        if any(flags):
            expected[place] = flags
    found = repeated_lines([b"".join(map(number, report_)) for report_ in values])
    assert {place: list(flags) for place, flags in found.items()} == expected


def test_in_shares_as_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [b"".join(number(value % 700) for value in range(start, start + 1000)) for start in (0, 300)]
    in_one_go = repeated_lines(reports)
    monkeypatch.setattr(duplicates, "_AT_ONCE", 90)
    assert repeated_lines(reports) == in_one_go


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Per entry only its flag, and of ids no more than a share at a time."""
    monkeypatch.setattr(duplicates, "_AT_ONCE", 500)
    ids = b"".join(number(value % 20_000) for value in range(22_000))
    tracemalloc.start()
    try:
        repeated_lines([ids])
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()
