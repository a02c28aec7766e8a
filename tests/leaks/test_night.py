"""Nights over canary reports, good ones and bad ones: what was planted is nowhere to be found."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.leaks.conftest import WatchedPipeline
from tests.tasks.conftest import DEMO, LUIGI
from tests.tasks.test_luigid import luigid

pytestmark = pytest.mark.one_server


def nothing_leaks(watched: WatchedPipeline) -> None:
    if leaks := watched.leaks():
        pytest.fail(f"leaks:\n{leaks}", pytrace=False)


def test_a_night(watched: WatchedPipeline) -> None:
    watched.receive()
    watched.receive_canaries()
    watched.nightly(None, "--log-level", "DEBUG")
    watched.verb("ledger", watched.today)
    assert watched.query("SELECT count(*) > 3000 FROM metrics") == [(True,)]
    assert len(list(watched.layout.public.rglob("*.json.gz"))) > 200
    assert list((watched.root / "tmp").rglob("*")) == [], "temporary files outside the private directory"
    nothing_leaks(watched)


def test_the_search_of_a_night_is_not_blind(watched: WatchedPipeline) -> None:
    """The same search finds what somebody puts there by hand: in the mirror, a row, a log, a manifest."""
    watched.receive_canaries(50)
    watched.nightly()
    nothing_leaks(watched)
    text, quoted = next(iter(watched.planted.texts)), next(iter(watched.planted.quoted))
    address = next(iter(watched.planted.own))
    watched.query(f"UPDATE metrics SET input = 'http://{address}/'; COMMIT; SELECT 1")
    assert "own: " in watched.leaks() or watched.planted.own[address] in watched.leaks()
    watched.query("UPDATE metrics SET input = NULL; COMMIT; SELECT 1")
    page = watched.layout.public / "index.html"
    page.write_text(f"{page.read_text() if page.exists() else ''}{text}")
    assert watched.planted.texts[text] in watched.leaks()
    page.write_text(quoted)
    nothing_leaks(watched)
    watched.printed.append(quoted)
    assert watched.planted.quoted[quoted] in watched.leaks()


def test_a_night_with_luigid(watched: WatchedPipeline) -> None:
    """Its state, which keeps why a task failed, and its logs know nothing of what reports hold."""
    watched.receive_canaries(6)
    configuration = watched.root / "luigi.cfg"
    with luigid(watched):  # which configures the pipeline anew, with the demo's table
        text = configuration.read_text()
        configuration.write_text(text.replace(str(DEMO / "bridge_table.json"), str(watched.bridge_table)))
        watched.nightly()
        yesterday = watched.today - dt.timedelta(days=1)
        watched.planted.write(watched.layout.bucket(Stage.RAW, yesterday), 50)
        watched.verb("adopt", yesterday, yesterday)
        broken = watched.root / "broken.json"
        broken.write_text(_bad_tables(watched)["no fingerprint"])
        configuration.write_text(text.replace(str(DEMO / "bridge_table.json"), str(broken)))
        watched.nightly(yesterday, expect=30)
    state = (watched.root / "luigid" / "state").read_bytes()
    assert b"broken.json" in state, "why it failed"
    nothing_leaks(watched)


def _bad_tables(watched: WatchedPipeline) -> dict[str, str]:
    place, bridge = next(iter(watched.planted.known.items()))
    return {
        "cut": f'{{"{place}": {{"fingerprint": "{bridge["fingerprint"]}", "dis',
        "no fingerprint": f'{{"{place}": {{"fingerprint": "{bridge["fingerprint"][:-1]}canary00000z"}}}}',
        "no address": f'{{"{place} canary00000z": {{"fingerprint": "{bridge["fingerprint"]}"}}}}',
        "empty": "{}",
        "no JSON": f"{place} {bridge['fingerprint']}",
    }


def test_a_bad_bridge_table(watched: WatchedPipeline) -> None:
    watched.receive_canaries(12)
    for text in _bad_tables(watched).values():
        (watched.root / "bad.json").write_text(text)
        watched.configure(sanitise__bridge_table=str(watched.root / "bad.json"))
        watched.nightly(None, "--log-level", "DEBUG", expect=30)
        assert not watched.layout.bucket(Stage.PUBLISHED, watched.today).exists()
    assert watched.query("SELECT count(*) FROM metrics") == [(0,)]
    nothing_leaks(watched)


def test_a_database_that_is_down(watched: WatchedPipeline) -> None:
    watched.receive_canaries(8)
    table = str(watched.bridge_table)
    watched.configure(database__url="postgresql:///x?host=/nonexistent", sanitise__bridge_table=table)
    watched.nightly(None, "--log-level", "DEBUG", expect=30)
    assert watched.layout.bucket(Stage.PUBLISHED, watched.today).exists()
    nothing_leaks(watched)


@pytest.mark.parametrize(
    "refusal",
    [
        "ADD CONSTRAINT ours CHECK (probe_cc <> 'GR')",
        "ADD CONSTRAINT ours CHECK (pg_column_size(test_keys) < 300)",
        "ALTER test_version TYPE double precision USING NULL",
    ],
    ids=["every row", "some rows", "a column of another type"],
)
def test_rows_that_postgresql_refuses(watched: WatchedPipeline, refusal: str) -> None:
    """Its DETAIL and CONTEXT quote the row: neither leaves the database, not even for the server's log."""
    watched.receive_canaries(8)
    watched.query(f"ALTER TABLE metrics {refusal}; COMMIT; SELECT 1")
    watched.nightly(None, "--log-level", "DEBUG", expect=None)
    assert (
        list(watched.layout.rejected_rows(watched.today).iterdir()) or "failed" in watched.printed[-1].lower()
    )
    nothing_leaks(watched)


def test_rubbish(watched: WatchedPipeline) -> None:
    """Reports that are refused as a whole, in every format and under every kind of name."""
    planted = watched.planted
    said = " ".join(
        [*list(planted.texts)[:5], *list(planted.own)[:5], *planted.quoted, *list(planted.known)[:3]]
    )
    texts = (
        "{}", "\x1f\x8b{}", "\0\0\0\0\0{}", "[{}", "--- {}\n...\n", "%YAML {}\n---\n", "!!python/name:{}",
        "a: &a [{}]\nb: *{}\n", "\xff\xfe{}", "\xed\xa0\x80{}", "- {}\n- ? [{}]: {{\n",
    )  # fmt: skip
    for number, text in enumerate(texts):
        content = text.replace("{}", said).encode("latin-1")
        for extension in ("json", "yaml", "yaml.gz", "json.gz"):
            name = f"20160801T12{number:02d}00Z-http_requests-rubbish-AS1-GR-probe-0.2.0.{extension}"
            (watched.archive / name).write_bytes(content)
        (watched.archive / f"rubbish {number}.json").write_bytes(content)
    watched.nightly(None, "--log-level", "DEBUG")
    watched.verb("ledger", watched.today)
    nothing_leaks(watched)


@pytest.mark.parametrize("stage", [Stage.NORMALISED, Stage.SANITISED])
def test_a_killed_worker(watched: WatchedPipeline, stage: Stage) -> None:
    """What it leaves is private; and when the night is run again, nothing has slipped through."""
    watched.receive_canaries(4)
    bucket: Path = watched.layout.bucket(stage, watched.today)
    run = watched.start(
        str(LUIGI), "--module", "tasks.nightly", "Nightly", "--bucket-date", str(watched.today)
    )
    deadline = time.monotonic() + 60
    while run.poll() is None and time.monotonic() < deadline:
        if bucket.exists() and len(list(bucket.iterdir())) > 3:
            break
        time.sleep(0.001)
    os.kill(run.pid, signal.SIGKILL)
    watched.printed.append(run.communicate(timeout=60)[0])
    assert run.returncode == -signal.SIGKILL
    nothing_leaks(watched)
    watched.nightly()
    nothing_leaks(watched)
