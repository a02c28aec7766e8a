"""A year that is done again: 366 buckets of which most are empty, killed in the middle, then finished."""

from __future__ import annotations

import datetime as dt
import signal
import time

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.tasks.conftest import LUIGI, Pipeline

pytestmark = pytest.mark.one_server

REPORTS = ("-GR-", "-IR-", "-TR-", "-RU-", "-CN-")
#: Seconds for one run of the year on a slow machine: what takes longer is quadratic.
PATIENCE = 1800


def of_the_year(pipeline: Pipeline, first: dt.date, last: dt.date) -> str:
    """Run the range and return what it printed."""
    process = pipeline.start(*range_of(first, last))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output[-3000:]
    return output


def range_of(first: dt.date, last: dt.date, level: str = "INFO") -> list[str]:
    return [
        str(LUIGI), "--module", "tasks.nightly", "RangeDaily", "--of", "Nightly", "--start", str(first),
        "--stop", str(last + dt.timedelta(days=1)), "--log-level", level,
    ]  # fmt: skip


def again(pipeline: Pipeline, first: dt.date, last: dt.date, reports: tuple[str, ...] = REPORTS) -> None:
    """Forget every normalised bucket, run, kill the run in the middle, run again: the same rows."""
    for number, name in enumerate(reports):
        pipeline.put_raw(first + (last - first) * number // len(reports), name)
    pipeline.verb("adopt", first, last)
    days = (last - first).days + 1
    adopting = pipeline.start("python", "-m", "tasks.adopt", "--empty", str(first), str(last))
    output, _ = adopting.communicate(timeout=PATIENCE)
    assert f"adopted {days - len(reports)} buckets with 0 reports" in output
    of_the_year(pipeline, first, last)
    rows, loads = pipeline.rows_digest(), pipeline.query("SELECT max(load_id) FROM loads")[0][0]

    pipeline.verb("forget", "normalise", first, last)
    assert pipeline.query("SELECT count(*) FROM loads") == [(0,)]
    running = pipeline.start(*range_of(first, last, "WARNING"))  # nobody reads what it prints
    normalised = pipeline.layout.manifests(Stage.NORMALISED)
    while len(list(normalised.glob("*.json"))) < days // 2:
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    output = of_the_year(pipeline, first, last)
    refreshes = output.count("running   RefreshViews(") - output.count(" was done meanwhile")
    assert 1 <= refreshes <= 2, "the loads of a year share a refresh"
    assert pipeline.rows_digest() == rows
    counted = pipeline.query(f"SELECT count(*) FROM loads WHERE load_id > {loads}")
    assert counted == [(days,)], "every bucket was loaded again"
    assert "PROBLEM" not in pipeline.verb("ledger", "--quiet", first, last)
    output = of_the_year(pipeline, first, last)
    assert "running   " not in output.replace("running   RangeDaily", ""), "a done year runs nothing"


@pytest.mark.full_chaos
def test_a_year_again(pipeline: Pipeline) -> None:
    again(pipeline, dt.date(2016, 1, 1), dt.date(2016, 12, 31))


@pytest.mark.full_chaos
def test_a_few_days_again(pipeline: Pipeline) -> None:
    again(pipeline, dt.date(2016, 2, 27), dt.date(2016, 3, 2), REPORTS[:2])
