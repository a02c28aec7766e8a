"""A bridge table that loses a bridge stops sanitising until somebody accepts it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.report.writer import part_of
from tests.tasks.conftest import DEMO, Pipeline

pytestmark = pytest.mark.one_server

ACCEPT = "--accept-smaller-bridge-table"
LINES = json.loads((DEMO / "bridge_table.json").read_bytes())


@pytest.fixture
def table(pipeline: Pipeline) -> Path:
    """The demo's table, where a test may change it, and a report on the collector."""
    pipeline.receive("-GR-", "tcp_connect")
    path = pipeline.root / "bridge_table.json"
    path.write_text(json.dumps(LINES))
    pipeline.configure(sanitise__bridge_table=str(path))
    return path


def without_one(path: Path) -> None:
    path.write_text(json.dumps(dict(list(LINES.items())[1:])))


def sanitise(pipeline: Pipeline, *more: str, expect: int = 0) -> str:
    day = str(pipeline.today)
    return pipeline.luigi(
        "--module", "tasks.sanitise", "SanitiseReports", "--bucket-date", day, *more, expect=expect
    )


def forget(pipeline: Pipeline) -> None:
    pipeline.verb("forget", "sanitise", pipeline.today, pipeline.today)


def sanitised(pipeline: Pipeline) -> bool:
    return pipeline.layout.manifest(Stage.SANITISED, pipeline.today).exists()


@pytest.mark.parametrize("accept", ["the task itself", "from Nightly", "from RangeDaily"])
def test_a_table_that_lost_a_bridge(pipeline: Pipeline, table: Path, accept: str) -> None:
    pipeline.nightly()
    without_one(table)
    forget(pipeline)
    output = pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    assert f"the bridge table {table} lacks 2 of the {2 * len(LINES)} addresses and fingerprints" in output
    assert f"SanitiseReports --bucket-date {pipeline.today} {ACCEPT}" in output
    assert "Traceback" not in output
    for place, line in LINES.items():
        assert place.rpartition(":")[0].strip("[]") not in output
        assert line["fingerprint"].lower() not in output.lower()
    assert not sanitised(pipeline)

    if accept == "the task itself":
        output = sanitise(pipeline, ACCEPT, "--log-level", "WARNING")
    elif accept == "from Nightly":
        output = pipeline.nightly(None, f"--SanitiseReports{ACCEPT[1:]}", "--log-level", "WARNING")
    else:
        output = pipeline.luigi(
            "--module", "tasks.nightly", "RangeDaily", "--of", "Nightly",
            "--start", str(pipeline.today), "--stop", str(pipeline.today + dt.timedelta(days=1)),
            f"--SanitiseReports{ACCEPT[1:]}", "--log-level", "WARNING",
        )  # fmt: skip
    assert f"the bridge table {table} is accepted as it is" in output
    assert sanitised(pipeline)
    pipeline.nightly()
    forget(pipeline)
    pipeline.nightly()  # the memory is that of the accepted table now


def test_a_table_that_grew_needs_nothing(pipeline: Pipeline, table: Path) -> None:
    sanitise(pipeline)
    table.write_text(json.dumps({**LINES, "192.0.2.77:443": {"fingerprint": "ab" * 20}}))
    forget(pipeline)
    sanitise(pipeline)
    table.write_text(json.dumps(LINES))
    forget(pipeline)
    assert "lacks 2 of the" in sanitise(pipeline, "--log-level", "WARNING", expect=30)


def test_a_memory_that_is_gone(pipeline: Pipeline, table: Path) -> None:
    sanitise(pipeline)
    pipeline.layout.known_bridges().unlink()
    day = str(pipeline.today)
    pipeline.verb("forget", "sanitise", day, day, "--country", "GR")
    output = sanitise(pipeline, "--log-level", "WARNING", expect=30)
    assert "known_bridges.json is gone" in output
    sanitise(pipeline, ACCEPT)
    forget(pipeline)
    sanitise(pipeline)


def test_stopped_at_its_proof_it_has_remembered(pipeline: Pipeline, table: Path) -> None:
    """Nothing that was proven may be forgotten; what was not proven may be remembered."""
    sanitise(pipeline)
    table.write_text(json.dumps({**LINES, "192.0.2.77:443": {"fingerprint": "ab" * 20}}))
    forget(pipeline)
    in_the_way = part_of(pipeline.layout.manifest(Stage.SANITISED, pipeline.today))
    in_the_way.mkdir()
    sanitise(pipeline, expect=30)
    in_the_way.rmdir()
    assert not sanitised(pipeline)
    table.write_text(json.dumps(LINES))
    assert "lacks 2 of the" in sanitise(pipeline, "--log-level", "WARNING", expect=30)
