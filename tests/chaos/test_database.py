"""The database goes in the middle of a load or a refresh, is not there, takes nobody in, or refuses a row."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator

import psycopg2
import pytest

from tests.chaos.conftest import OwnServer
from tests.chaos.night import (
    STAGES,
    ended,
    heals,
    is_done,
    is_whole,
    lines_with,
    received,
    slow,
    wait_for_the_middle,
)
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server
full = pytest.mark.full_chaos


def the_rest_was_done(pipeline: Pipeline) -> None:
    """What needs no database goes on without it."""
    for stage in STAGES:
        assert is_done(pipeline, stage), stage


def _postmaster(pipeline: OwnServer) -> int:
    return int((pipeline.layout.database() / "postmaster.pid").read_text().split()[0])


def _kill_the_server(pipeline: OwnServer) -> None:
    os.kill(_postmaster(pipeline), signal.SIGKILL)


def _stop_the_server(pipeline: OwnServer) -> None:
    os.kill(_postmaster(pipeline), signal.SIGQUIT)  # what pg_ctl calls immediate


def _shut_down(pipeline: OwnServer) -> None:
    pipeline.verb("database", "stop")


def _kill_our_backend(pipeline: OwnServer) -> None:
    """The server ends all sessions then, and recovers."""
    ours = "application_name = 'ooni-pipeline' AND state = 'active'"
    for (pid,) in pipeline.query(f"SELECT pid FROM pg_stat_activity WHERE {ours}"):
        os.kill(pid, signal.SIGKILL)


def _end_our_session(pipeline: OwnServer) -> None:
    ours = "application_name = 'ooni-pipeline' AND state = 'active'"
    pipeline.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")


#: What the operator reads.
LOST = (
    "cannot reach the database: server closed the connection unexpectedly"
    "|cannot reach the database: the connection was closed from the other side"
    "|the database answers 57P01: terminating connection due to "
)
BLOWS = {
    "server killed": _kill_the_server,
    "server stopped at once": _stop_the_server,
    "server shut down": _shut_down,
    "backend killed": _kill_our_backend,
    "session ended": _end_our_session,
}


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=full)])
@pytest.mark.parametrize("stage", ["load", pytest.param("refresh", marks=full)])
@pytest.mark.parametrize(
    "blow", [pytest.param(b, marks=[] if b in ("server killed", "backend killed") else full) for b in BLOWS]
)
def test_the_database_goes_in_the_middle(own_server: OwnServer, blow: str, stage: str, workers: str) -> None:
    own_server.receive()
    came = received(own_server)
    with slow(own_server, stage):
        run = own_server.start_night("--workers", workers)
        wait_for_the_middle(own_server, stage, run)
        BLOWS[blow](own_server)
        output = ended(run, 60)
    assert run.returncode == 30, output
    task = {"load": "LoadMeasurements", "refresh": "RefreshViews"}[stage]
    told = lines_with(output, f"failed    {task}(bucket_date={own_server.today}): ")
    assert told and re.search(LOST, told[0]), output
    the_rest_was_done(own_server)
    heals(own_server, came)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=full)])
def test_the_database_is_down(pipeline: Pipeline, workers: str) -> None:
    pipeline.receive("-GR-")
    came, url = received(pipeline), pipeline.url
    pipeline.configure(database__url="postgresql:///nowhere?host=/nonexistent")
    output = pipeline.nightly(None, "--workers", workers, "--log-level", "WARNING", expect=30)
    assert output.count("cannot reach the database") == 2, "one warning, one failed task"
    the_rest_was_done(pipeline)
    assert "DOES NOT ADD UP" in pipeline.verb("ledger", pipeline.today, expect=1)
    pipeline.configure(database__url=url)
    heals(pipeline, came, _loaded(pipeline))


def _loaded(pipeline: Pipeline) -> int:
    """What there is to load."""
    return pipeline.manifest(STAGES["sanitise"]).tally().out


@contextlib.contextmanager
def _all_connections_taken(pipeline: OwnServer) -> Iterator[None]:
    connection = psycopg2.connect(pipeline.url)
    connection.autocommit = True
    connection.cursor().execute("ALTER SYSTEM SET max_connections = 5")
    connection.close()
    pipeline.verb("database", "stop")
    pipeline.verb("database", "start")
    taken = [psycopg2.connect(pipeline.url) for _ in range(5)]
    try:
        yield
    finally:
        for connection in taken:
            connection.close()


def test_no_connection_is_left(own_server: OwnServer) -> None:
    own_server.receive("-GR-")
    came = received(own_server)
    with _all_connections_taken(own_server):
        output = own_server.nightly(expect=30)
    assert lines_with(output, "cannot reach the database")
    assert lines_with(output, "too many clients already")
    assert "Traceback" not in output
    the_rest_was_done(own_server)
    heals(own_server, came, _loaded(own_server))


def test_a_row_that_the_database_refuses_costs_that_row(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-", "-IR-")
    came = received(pipeline)
    check = "CHECK (probe_cc <> 'GR' OR input NOT LIKE '%free%')"
    pipeline.query(f"ALTER TABLE metrics ADD CONSTRAINT ours {check}; COMMIT; SELECT 1")
    pipeline.nightly()
    refused = [
        json.loads(line)
        for path in pipeline.layout.rejected_rows(pipeline.today).iterdir()
        for line in path.read_bytes().splitlines()
    ]
    assert refused
    assert {(one["reason"], one["detail"]) for one in refused} == {("refused_by_database", "SQLSTATE 23514")}
    is_whole(pipeline, came, _loaded(pipeline) - len(refused))
    assert f"{len(refused)} rejected" in pipeline.verb("ledger", pipeline.today)
    pipeline.query("ALTER TABLE metrics DROP CONSTRAINT ours; COMMIT; SELECT 1")
    pipeline.verb("forget", "load", pipeline.today, pipeline.today)
    heals(pipeline, came, _loaded(pipeline))
    assert list(pipeline.layout.rejected_rows(pipeline.today).iterdir()) == []
