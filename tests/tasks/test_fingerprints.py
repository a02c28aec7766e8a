"""The fingerprint table as an operator has it: lists, what they match, and ten years matched again."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
from pathlib import Path

import pytest

from ooni_pipeline.fingerprints import load_fingerprints
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server

DAYS = [dt.date(2016, 8, 1) + dt.timedelta(days=number) for number in range(3)]
FIRST, LAST = DAYS[0], DAYS[-1]
#: Whose reports of the demo are in which of these buckets.
COUNTRIES = ("-GR-", "-KR-", "-TR-")
IN_VIEWS = "SELECT count(*) FROM loads JOIN views_contain USING (bucket_date, load_id)"
SHIPPED = load_fingerprints().version
LIST = """\
name,scope,other_names,location_found,pattern_type,pattern,confidence_no_fp,expected_countries,source,exp_url,notes
gr.gaming,nat,,body,contains,www.gamingcommission.gov.gr,10,,a list,,
any.html,vbw,,body,regexp,(?i)<html,0,ZZ,a list,,
dk.never,nat,,body,full,no page is like this,10,DK,a list,,
"""


@pytest.fixture
def listed(pipeline: Pipeline) -> Path:
    """A list of the operator's, which luigi.cfg does not name yet."""
    path = pipeline.root / "blocking_fingerprints.csv"
    path.write_text(LIST, encoding="utf-8")
    return path


def buckets(pipeline: Pipeline, days: list[dt.date]) -> None:
    """Buckets of some of the demo's reports, loaded and in the views."""
    for day, country in zip(days, COUNTRIES, strict=False):
        pipeline.put_raw(day, country)
    pipeline.verb("adopt", days[0], days[-1])
    stop = str(days[-1] + dt.timedelta(days=1))
    pipeline.luigi(
        "--module", "tasks.nightly", "RangeDaily", "--of", "Nightly", "--start", str(FIRST), "--stop", stop
    )


def use(pipeline: Pipeline, *lists: Path) -> None:
    pipeline.configure(fingerprints__lists=" ".join(map(str, lists)))


def blocked(pipeline: Pipeline) -> list[tuple[str, int]]:
    sql = "SELECT name, count(*) FROM fingerprint_matches GROUP BY 1 ORDER BY 1"
    return [(name, count) for name, count in pipeline.query(sql)]


def test_a_new_list_reaches_what_is_loaded(pipeline: Pipeline, listed: Path) -> None:
    buckets(pipeline, DAYS[:2])
    before, rows = pipeline.rows_digest(), blocked(pipeline)
    assert "refingerprint" not in pipeline.verb("ledger", *DAYS[:2])
    use(pipeline, listed)
    new = load_fingerprints(lists=[listed]).version
    warned = pipeline.verb("ledger", *DAYS[:2])
    assert f"matched with fingerprint table {SHIPPED}, today it is {new}" in warned
    assert f"python -m tasks.refingerprint {DAYS[1]} {DAYS[1]}" in warned

    told = pipeline.verb("refingerprint", "--dry-run", FIRST, LAST, expect=1)
    assert "2 of 2 buckets would be matched again" in told and f"{DAYS[2]}  is not loaded" in told
    assert told.count("blockpage gr.gaming: +5 -0") == 1
    assert pipeline.rows_digest() == before

    told = pipeline.verb("refingerprint", FIRST, LAST)
    assert "2 of 2 buckets matched again" in told
    assert dict(blocked(pipeline))["gr.gaming"] == 5
    assert pipeline.query(IN_VIEWS) == [(2,)]
    assert "refingerprint" not in pipeline.verb("ledger", *DAYS[:2])
    again = pipeline.verb("refingerprint", FIRST, LAST)
    assert again.count("matched with this table") == 2 and "0 of 2 buckets" in again
    assert pipeline.verb("refingerprint", "--dry-run", *DAYS[:2])
    # a word that many pages use is not a block page
    assert ("any.html",) in pipeline.query("SELECT name FROM fingerprint_matches WHERE kind = 'vague'")
    urls = pipeline.query("SELECT count(*), min(tested_count) FROM blockpage_urls WHERE probe_cc = 'GR'")
    assert urls == [(5, 1)]

    use(pipeline)
    pipeline.verb("refingerprint", FIRST, LAST)
    assert blocked(pipeline) == rows and pipeline.rows_digest() == before


def test_the_same_as_a_fresh_load_of_every_report_of_the_demo(pipeline: Pipeline, listed: Path) -> None:
    use(pipeline, listed)
    pipeline.receive()
    pipeline.nightly()
    fresh = pipeline.rows_digest()
    assert len(blocked(pipeline)) > 25
    for statement in (
        "UPDATE loads SET fingerprints = 'before' RETURNING 1",
        "UPDATE fingerprint_matches SET fingerprints = 'before', tested_count = NULL, name = 'x' RETURNING 1",
        "UPDATE report_totals SET block_count = 7 RETURNING 1",
    ):
        change(pipeline, statement)
    assert pipeline.rows_digest() != fresh
    pipeline.verb("refingerprint", pipeline.today, pipeline.today)
    assert pipeline.rows_digest() == fresh


def change(pipeline: Pipeline, statement: str) -> None:
    pipeline.verb("database", "psql", "-X", "-q", "-c", statement)


def test_killed_between_two_buckets_the_next_run_goes_on(pipeline: Pipeline, listed: Path) -> None:
    buckets(pipeline, DAYS)
    use(pipeline, listed)
    process = pipeline.start(sys.executable, "-u", "-m", "tasks.refingerprint", str(DAYS[0]), str(DAYS[-1]))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(str(DAYS[0])):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    told = pipeline.verb("refingerprint", DAYS[0], DAYS[-1])
    assert f"{DAYS[0]}  matched with this table" in told
    assert dict(blocked(pipeline))["gr.gaming"] == 5
    # The views show all three, that of the run that was killed too.
    assert pipeline.query(IN_VIEWS) == [(3,)]


def test_two_at_once_share_the_work(pipeline: Pipeline, listed: Path) -> None:
    buckets(pipeline, DAYS)
    use(pipeline, listed)
    command = (sys.executable, "-m", "tasks.refingerprint", str(DAYS[0]), str(DAYS[-1]))
    running = [pipeline.start(*command) for _ in range(2)]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    assert sum(text.count("matches came") for text in told) == 3
    assert dict(blocked(pipeline))["gr.gaming"] == 5


def test_a_database_that_is_down_is_named_with_the_bucket(pipeline: Pipeline) -> None:
    pipeline.configure(database__url="postgresql:///nowhere?host=/nonexistent")
    told = pipeline.verb("refingerprint", DAYS[0], DAYS[0], expect=1)
    assert told.startswith("error: ") and "cannot reach the database" in told


def test_a_list_with_a_slip_stops_the_load_and_is_named(pipeline: Pipeline, listed: Path) -> None:
    listed.write_text(LIST + "bad,nat,,body,regexp,(a,10,,a list,,\n", encoding="utf-8")
    use(pipeline, listed)
    pipeline.receive("-GR-")
    told = pipeline.nightly(expect=30)
    assert f"{listed} line 5: pattern: re2 does not take it" in told
    assert pipeline.verb("fingerprints", "check", expect=1).startswith(f"error: {listed} line 5: ")
    assert "warning" in pipeline.verb("ledger", pipeline.today, expect=1)
    listed.write_text(LIST, encoding="utf-8")
    pipeline.nightly()
    assert dict(blocked(pipeline))["gr.gaming"] == 5


def test_lists_are_absolute_paths(pipeline: Pipeline) -> None:
    use(pipeline, Path("list.csv"))
    assert "[fingerprints] lists: list.csv is no absolute path" in pipeline.verb(
        "fingerprints", "check", expect=1
    )


def test_what_the_table_holds_and_what_it_never_matched(pipeline: Pipeline, listed: Path) -> None:
    told = pipeline.verb("fingerprints", "check")
    assert f"version {SHIPPED}" in told and "26 block pages and 3 vendors" in told and "0 of lists" in told
    use(pipeline, listed)
    told = pipeline.verb("fingerprints", "check")
    assert f"version {load_fingerprints(lists=[listed]).version}" in told
    assert "kind: blockpage 2, vague 1" in told and "for: some countries 1, the whole world 2" in told

    pipeline.receive("-GR-")
    pipeline.nightly()
    never = pipeline.verb("fingerprints", "unmatched").splitlines()
    assert never[-1] == f"{len(never) - 1} of 32 never matched a measurement that is loaded"
    assert "blockpage dk.never" in never and "vendor squid" in never
    assert not {"blockpage gr.gaming", "vague any.html"} & set(never)

    shown = pipeline.verb("fingerprints", "show", "gr.gaming")
    assert "pattern: www.gamingcommission.gov.gr" in shown
    assert f"matched 5 measurements as blockpage, buckets {pipeline.today} to {pipeline.today}" in shown
    assert "matched no measurement" in pipeline.verb("fingerprints", "show", "dk.never")
    assert "is it gr.gaming?" in pipeline.verb("fingerprints", "show", "gr.gamin", expect=1)
    pipeline.verb("fingerprints", "show", expect=2)

    use(pipeline)  # what matched then is explained by the table of then
    shown = pipeline.verb("fingerprints", "show", "gr.gaming")
    assert f"in table {load_fingerprints(lists=[listed]).version}" in shown and "countries" not in shown
    assert "matched 5 measurements" in shown


def test_the_table_can_be_looked_at_without_a_database(pipeline: Pipeline) -> None:
    pipeline.configure(database__url="postgresql:///nowhere?host=/nonexistent")
    assert SHIPPED in pipeline.verb("fingerprints", "check")
    shown = pipeline.verb("fingerprints", "show", "ir_iframe_10_10")
    assert "warning: cannot reach the database" in shown and "countries: IR" in shown
