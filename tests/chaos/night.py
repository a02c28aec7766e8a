"""What the faults share: the middle of each stage, one line for the operator, and what must be true once the
next run has healed it all."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.tasks.conftest import Pipeline

#: Rows of the whole demo in ``metrics``.
ROWS = 448

#: What Python says in a process of the pool whose parent was killed while it started it: nothing of ours.
_STILLBORN = re.compile(
    r"Traceback [^\n]*\n  File \"<string>\"[^\n]*\n(?:  .*\n)*EOFError: Ran out of input\n"
)

Seen = Callable[[Pipeline], bool]


def _some_raw(pipeline: Pipeline) -> bool:
    return _files(pipeline.layout.bucket(Stage.RAW, pipeline.today)) > 10


def _some_in_backup(pipeline: Pipeline) -> bool:
    return _files(pipeline.root / "backup" / "reports-raw" / "yaml" / str(pipeline.today)) > 10


def _some_removed(pipeline: Pipeline) -> bool:
    return _files(pipeline.archive) < 60


def _some_normalised(pipeline: Pipeline) -> bool:
    return _files(pipeline.layout.bucket(Stage.NORMALISED, pipeline.today)) > 3


def _some_sanitised(pipeline: Pipeline) -> bool:
    return _files(pipeline.layout.bucket(Stage.SANITISED, pipeline.today)) > 3


def _some_to_publish(pipeline: Pipeline) -> bool:
    return _files(pipeline.layout.public / f".{pipeline.today}.new") > 3


def _files(directory: Path) -> int:
    return len(list(directory.iterdir())) if directory.exists() else 0


def _in_statement(part: str) -> Seen:
    working = f"state = 'active' AND query LIKE '%{part}%' AND pid <> pg_backend_pid()"

    def seen(pipeline: Pipeline) -> bool:
        asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {working}"
        return pipeline.query(asked) != [(0,)]

    return seen


def _refresh_waits(pipeline: Pipeline) -> bool:
    waits = "wait_event_type = 'Lock' AND query LIKE '%REFRESH%'"
    return pipeline.query(f"SELECT count(*) FROM pg_stat_activity WHERE {waits}") != [(0,)]


#: Each stage with what tells that it is in its middle (the whole demo was received).
MIDDLES: dict[str, Seen] = {
    "fetch": _some_raw,
    "backup": _some_in_backup,
    "remove": _some_removed,
    "normalise": _some_normalised,
    "sanitise": _some_sanitised,
    "publish": _some_to_publish,
    "load": _in_statement("COPY metrics"),
    "refresh": _refresh_waits,
}
STAGES = {
    "fetch": Stage.RAW, "backup": Stage.BACKUP, "remove": Stage.REMOVED, "normalise": Stage.NORMALISED,
    "sanitise": Stage.SANITISED, "publish": Stage.PUBLISHED,
}  # fmt: skip


def is_done(pipeline: Pipeline, stage: str) -> bool:
    """Whether the proof of a stage is there."""
    if stage in STAGES:
        return pipeline.layout.manifest(STAGES[stage], pipeline.today).exists()
    table = {"load": "loads", "refresh": "views_contain"}[stage]
    return pipeline.query(f"SELECT count(*) FROM {table}") != [(0,)]


@contextlib.contextmanager
def slow(pipeline: Pipeline, stage: str) -> Iterator[None]:
    """Keep the load in its COPY, the refresh before its last view: no fault can come too late then."""
    if stage == "load":
        pipeline.query(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
            " IF EXISTS (SELECT FROM pg_locks WHERE locktype = ''advisory'' AND objid = 4711) THEN"
            " PERFORM pg_sleep(0.05); END IF; RETURN NEW; END';"
            "CREATE TRIGGER slowly BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION slowly();"
            "COMMIT; SELECT 1"
        )
        other = psycopg2.connect(pipeline.url)
        try:
            other.cursor().execute("SELECT pg_advisory_lock(4711)")
            yield
        finally:  # the lock ends with its session, or with the server: from then on it is as quick as ever
            other.close()
    elif stage == "refresh":
        other = psycopg2.connect(pipeline.url)
        try:
            other.cursor().execute("REFRESH MATERIALIZED VIEW CONCURRENTLY identified_vendors")
            yield
        finally:
            other.close()
    else:
        yield


def wait_for_the_middle(pipeline: Pipeline, stage: str, run: subprocess.Popen[str]) -> None:
    """Return while the stage is in its middle; the test fails where it was over too soon."""
    wait_until(lambda: MIDDLES[stage](pipeline), run)
    assert not is_done(pipeline, stage), f"the {stage} was over before the fault"


def wait_until(seen: Callable[[], bool], run: subprocess.Popen[str], seconds: float = 60) -> None:
    """Return as soon as something is seen while a run goes on; the test fails where it is not."""
    deadline = time.monotonic() + seconds
    while not seen():
        if run.poll() is not None:
            pytest.fail(f"the run was over before the fault:\n{run.communicate()[0]}")
        assert time.monotonic() < deadline, "waited in vain for the moment of the fault"
        time.sleep(0.001)


def ended(run: subprocess.Popen[str], seconds: float = 120) -> str:
    """What a run printed; the test fails where it does not end in this time, or shows a traceback."""
    output, _ = run.communicate(timeout=seconds)
    assert "Traceback" not in _STILLBORN.sub("", output), output
    return output


def lines_with(output: str, text: str) -> list[str]:
    return [line for line in output.splitlines() if text in line]


def received(pipeline: Pipeline) -> list[bytes]:
    """What the collector has, byte by byte."""
    return sorted(path.read_bytes() for path in pipeline.archive.iterdir())


def heals(pipeline: Pipeline, came: list[bytes], rows: int = ROWS, *more: str) -> str:
    """A plain second run does all that is left: nothing is lost, doubled or half done."""
    output = pipeline.nightly(None, *more)
    is_whole(pipeline, came, rows)
    return output


def is_whole(pipeline: Pipeline, came: list[bytes], rows: int = ROWS) -> None:
    assert pipeline.query("SELECT count(*), count(DISTINCT id) FROM metrics") == [(rows, rows)]
    assert pipeline.query("SELECT count(*) FROM loads") == [(1,)]
    for store in (pipeline.layout.bucket(Stage.RAW, pipeline.today),
                  pipeline.root / "backup" / "reports-raw" / "yaml" / str(pipeline.today)):  # fmt: skip
        assert sorted(path.read_bytes() for path in store.iterdir()) == came
    nothing_half_done(pipeline)
    pipeline.verb("ledger", pipeline.today)


def nothing_half_done(pipeline: Pipeline) -> None:
    left = list(pipeline.root.rglob("*.part")) + list(pipeline.layout.public.glob(".*"))
    assert left == [], "what a broken run left is gone"
    for stage in (Stage.NORMALISED, Stage.SANITISED):
        named = {record.name for record in pipeline.manifest(stage).reports if record.name}
        assert {path.name for path in pipeline.layout.bucket(stage, pipeline.today).iterdir()} == named
    with contextlib.suppress(FileNotFoundError):  # of a night that rejected nothing
        for path in pipeline.layout.rejected(Stage.NORMALISED, pipeline.today).iterdir():
            assert path.stat().st_size or path.suffix != ".jsonl"
