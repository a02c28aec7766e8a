"""Nights over canary reports in which something fails: what was planted is nowhere to be found after them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.leaks.conftest import WatchedPipeline, bad_tables, nothing_leaks
from tests.tasks.conftest import LUIGI

pytestmark = pytest.mark.one_server


def test_a_bad_bridge_table(watched: WatchedPipeline) -> None:
    watched.receive_canaries(50)
    for text in bad_tables(watched).values():
        (watched.root / "bad.json").write_text(text)
        watched.configure(sanitise__bridge_table=str(watched.root / "bad.json"))
        watched.nightly(None, "--log-level", "DEBUG", expect=30)
        assert not watched.layout.bucket(Stage.PUBLISHED, watched.today).exists()
    assert watched.query("SELECT count(*) FROM metrics") == [(0,)]
    nothing_leaks(watched)


def test_a_database_that_is_down(watched: WatchedPipeline) -> None:
    watched.receive_canaries(16)
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
    watched.receive_canaries(16)
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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("paths__public", "{file}/public"),
        ("backup__url", "{file}/backup"),
        ("fetch__collectors", "{archive} {file}/archive"),
        ("database__embedded_bin_dir", "{file}/bin"),
        ("sanitise__headers", "{file}"),
        ("sanitise__probe_city", "show"),
        ("sanitise__max_addresses_beside_hit", "many"),
    ],
)
def test_what_cannot_be_reached_or_read(watched: WatchedPipeline, option: str, value: str) -> None:
    """A mirror, a backup, a collector, a file of settings: whatever is told of it, no report is."""
    watched.receive_canaries(40)
    file = watched.root / "file"
    file.write_bytes(b"\xff" * 10)
    values = {option: value.format(file=file, archive=watched.archive)}
    watched.configure(sanitise__bridge_table=str(watched.bridge_table), **values)
    watched.nightly(None, "--log-level", "DEBUG", expect=None)
    watched.verb("ledger", watched.today, expect=None)
    nothing_leaks(watched)


def test_two_runs_at_once(watched: WatchedPipeline) -> None:
    watched.receive_canaries(40)
    night = (str(LUIGI), "--module", "tasks.nightly", "Nightly", "--bucket-date", str(watched.today))
    runs = [watched.start(*night, "--log-level", "DEBUG") for _ in range(2)]
    watched.printed += [run.communicate(timeout=120)[0] for run in runs]
    assert watched.layout.bucket(Stage.PUBLISHED, watched.today).exists()
    nothing_leaks(watched)


@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_files_that_cannot_grow(watched: WatchedPipeline, blocks: int) -> None:
    """As on a disk that fills while a stage writes: the system refuses to let any file grow further."""
    watched.receive_canaries(16)
    night = f"{LUIGI} --module tasks.nightly Nightly --bucket-date {watched.today} --log-level DEBUG"
    output = watched.run("sh", "-c", f"ulimit -f {blocks}; exec {night}", expect=None)
    watched.printed.append(output)
    assert "File too large" in output
    nothing_leaks(watched)
    watched.nightly()
    nothing_leaks(watched)


@pytest.mark.parametrize("stage", [Stage.NORMALISED, Stage.SANITISED])
def test_a_killed_worker(watched: WatchedPipeline, stage: Stage) -> None:
    """What it leaves is private; and when the night is run again, nothing has slipped through."""
    watched.receive_canaries(16)
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
