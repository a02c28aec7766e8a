"""What doing buckets again would change, foretold: and then it comes just so."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from tests.tasks.conftest import DEMO, Pipeline
from tests.tasks.test_held import REPORT, receive_a_question

pytestmark = pytest.mark.one_server

Rows = dict[str, dict[str, Any]]
Lines = list[dict[str, Any]]


def rows_of(pipeline: Pipeline) -> Rows:
    return {row[0]["id"]: row[0] for row in pipeline.query("SELECT to_jsonb(metrics) FROM metrics")}


def changed(before: Rows, after: Rows) -> tuple[int, int, int, Counter[str]]:
    """What really changed, as PostgreSQL sees it: rows added, gone, altered, and in which column."""
    columns: Counter[str] = Counter()
    altered = 0
    for key in before.keys() & after.keys():
        then, now = flat(before[key]), flat(after[key])
        differing = {name for name in then.keys() | now.keys() if then.get(name) != now.get(name)}
        columns.update(differing)
        altered += bool(differing)
    return len(after.keys() - before.keys()), len(before.keys() - after.keys()), altered, columns


def flat(row: dict[str, Any]) -> dict[str, Any]:
    columns = {name: value for name, value in row.items() if name not in ("test_keys", "extra")}
    for outer in ("test_keys", "extra"):
        columns |= {f"{outer}.{name}": value for name, value in (row[outer] or {}).items()}
    return columns


def foretold(output: str) -> tuple[int, int, int, Counter[str]]:
    (line,) = re.findall(r"(?:would change|as it is): (.*)", output)
    numbers = re.search(r"rows: (\d+) added, (\d+) gone, (\d+) altered", line)
    columns = dict(re.findall(r"^    ([a-z_]+(?:\.\w+)?) (\d+)$", output, re.MULTILINE))
    added, gone, altered = map(int, numbers.groups()) if numbers else (0, 0, 0)
    return added, gone, altered, Counter({name: int(number) for name, number in columns.items()})


def tamper(pipeline: Pipeline, part: str, change: Callable[[Lines], Lines]) -> None:
    """Rewrite sanitised reports as if they had been made from what older code normalised, and load them."""
    day, layout = pipeline.today, pipeline.layout
    normalised, manifest = pipeline.manifest(Stage.NORMALISED), pipeline.manifest(Stage.SANITISED)
    for record in normalised.reports:
        if part in record.report:
            record.digest = "0" * 64
    normalised.write(layout.manifest(Stage.NORMALISED, day))
    for record in manifest.reports:
        if part in record.report and record.name:
            record.source = "0" * 64
            path = layout.bucket(Stage.SANITISED, day) / record.name
            lines = change([json.loads(line) for line in path.read_bytes().splitlines()])
            text = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
            path.write_bytes(text)
            record.size, record.digest = len(text), hashlib.sha256(text).hexdigest()
            record.counts.taken = record.counts.out = len(lines)
    manifest.write(layout.manifest(Stage.SANITISED, day))
    pipeline.verb("forget", "load", day, day)
    pipeline.nightly()


def older(lines: Lines) -> Lines:
    """One entry more, one less, one with other values, one in another order, one that was blocked."""
    extra = {**lines[0], "id": "00000000-0000-4000-8000-000000000000"}
    lines[1] |= {"probe_cc": "XX", "test_keys": {**lines[1]["test_keys"], "agent": "x", "older": 1}}
    lines[2] = {"id": lines[2]["id"], **dict(reversed(lines[2].items()))}
    return [*lines[:-1], extra]


def test_a_bucket_that_comes_out_as_it_is(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-", "-IR-")
    pipeline.nightly()
    day = pipeline.today
    before = pipeline.everything()
    reports = len(pipeline.manifest(Stage.SANITISED).reports)
    for filters in ((), ("--country", "gr")):
        output = pipeline.verb("preview", day, day, *filters)
        assert f"{day}  as it is: {reports} reports" in output
        assert pipeline.everything() == before
        assert not pipeline.layout.scratch().private.exists()
    output = pipeline.verb("preview", day - dt.timedelta(days=1), day, expect=1)
    assert f"error: {day - dt.timedelta(days=1)}: its raw reports are not here" in output
    assert "2 buckets, 0 would change, 1 cannot be told" in output


def test_it_comes_just_as_foretold(pipeline: Pipeline) -> None:
    table = json.loads((DEMO / "bridge_table.json").read_bytes())
    lines = dict(list(table.items())[1:])
    path = pipeline.root / "table.json"
    path.write_text(json.dumps(lines))
    older_settings = {"sanitise__options": "keep", "sanitise__input_urls": "keep", "sanitise__headers": ""}
    pipeline.configure(sanitise__bridge_table=str(path), **older_settings)
    pipeline.receive("-GR-", "-IR-", "-CN-", "-TR-", "tcp_connect", "vanilla_tor")
    pipeline.nightly()
    tamper(pipeline, "-GR-", older)
    rows, day = rows_of(pipeline), pipeline.today

    path.write_text(json.dumps(table))  # it grew, and the settings are stricter
    pipeline.configure(sanitise__bridge_table=str(path), sanitise__annotations="platform")
    before = pipeline.everything()
    output = pipeline.verb("preview", "--columns", day, day, expect=1)
    assert pipeline.everything() == before
    assert not pipeline.layout.scratch().private.exists()
    told = foretold(output)
    assert told[:2] == (1, 1)
    assert {"probe_cc", "test_keys.agent", "test_keys.older", "extra.sanitised"} <= told[3].keys()
    assert "1 of which only the bytes on the mirror change" in output
    short = pipeline.verb("preview", day, day, expect=1)
    assert "test_keys" not in short
    assert "1 added, 1 gone" in short

    pipeline.verb("forget", "normalise", day, day)
    pipeline.nightly()
    assert changed(rows, rows_of(pipeline)) == told
    assert "as it is" in pipeline.verb("preview", "--columns", day, day)


def test_a_filter_foretells_those_reports_alone(pipeline: Pipeline) -> None:
    pipeline.receive("_EcrTlF", "-TR-")
    pipeline.nightly()
    tamper(pipeline, "-IR-", older)
    tamper(pipeline, "_AS9121_oPgV", lambda lines: lines[1:])
    rows, day = rows_of(pipeline), pipeline.today
    told = foretold(pipeline.verb("preview", "--columns", day, day, "--country", "tr", expect=1))
    assert told == (1, 0, 0, Counter())
    assert foretold(pipeline.verb("preview", day, day, expect=1))[:2] == (2, 1)
    assert "as it is" in pipeline.verb("preview", day, day, "--asn", "AS1")
    pipeline.verb("forget", "normalise", day, day, "--country", "tr")
    pipeline.nightly()
    assert changed(rows, rows_of(pipeline)) == told


def test_what_is_held_and_what_was_decided(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    pipeline.nightly()
    day = pipeline.today
    assert "as it is" in pipeline.verb("preview", day, day)
    lines = json.loads((DEMO / "bridge_table.json").read_bytes())
    path = pipeline.root / "table.json"
    path.write_text(json.dumps(dict(list(lines.items())[1:])))
    pipeline.configure(sanitise__bridge_table=str(path))
    assert "lacks 2 of the" in pipeline.verb("preview", day, day, expect=1)
    before = pipeline.everything()
    output = pipeline.verb("preview", day, day, "--accept-smaller-bridge-table", expect=1)
    assert "3 added, 0 gone" in output
    assert "    held bridge_elsewhere 3 -> 0" in output
    assert pipeline.everything() == before
    assert "lacks 2 of the" in pipeline.verb("preview", day, day, expect=1), "nothing was accepted for good"
    pipeline.configure()
    pipeline.verb("held", "drop", day, REPORT)
    assert "as it is" in pipeline.verb("preview", day, day)


def test_raw_reports_that_are_not_here_are_named_with_the_command(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.nightly()
    day = pipeline.today
    for path in pipeline.layout.bucket(Stage.RAW, day).iterdir():
        path.unlink()
    output = pipeline.verb("preview", day, day, expect=1)
    commands = re.search(r"is missing: python -m tasks\.(.*), then luigi (.*) brings it back", output)
    assert commands is not None
    pipeline.layout.plan(day).unlink()  # as on a later day, when tonight's reports are others
    pipeline.verb(*commands[1].split())
    pipeline.luigi(*commands[2].split())
    assert "as it is" in pipeline.verb("preview", day, day)
    pipeline.nightly()
    pipeline.verb("forget", "sanitise", day, day, "--country", "GR")
    assert "is not sanitised now" in pipeline.verb("preview", day, day, expect=1)


def test_what_a_killed_run_left_goes(pipeline: Pipeline) -> None:
    pipeline.receive()
    pipeline.nightly()
    day, scratch = pipeline.today, pipeline.layout.scratch()
    before = pipeline.everything()
    running = pipeline.start("python", "-m", "tasks.preview", str(day), str(day))
    while not scratch.bucket(Stage.SANITISED, day).exists():
        assert running.poll() is None
        time.sleep(0.01)
    assert stat.S_IMODE(scratch.private.stat().st_mode) == 0o700
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    assert scratch.private.exists()
    assert "as it is" in pipeline.verb("preview", day, day)
    assert not scratch.private.exists()
    assert pipeline.everything() == before
    assert Manifest.read(pipeline.layout.manifest(Stage.RAW, day)).reports
