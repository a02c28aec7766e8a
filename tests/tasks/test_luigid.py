"""The page of luigid: the graph, how far each bucket is, and why a task failed."""

from __future__ import annotations

import configparser
import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Browse
from tests.tasks.conftest import LUIGI, TOP, Pipeline

pytestmark = pytest.mark.one_server


@contextlib.contextmanager
def luigid(pipeline: Pipeline, **more: str) -> Iterator[str]:
    """A real luigid on loopback, on a free port; its URL. ``more`` are further options of luigi.cfg."""
    with luigid_process(pipeline, **more) as (url, _):
        yield url


@contextlib.contextmanager
def luigid_process(pipeline: Pipeline, **more: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same, with its process, which may be killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    pipeline.configure(
        core__local_scheduler="false",
        core__scheduler_host="127.0.0.1",
        core__scheduler_port=port,
        **more,
    )
    log = pipeline.root / "luigid"
    log.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [str(LUIGI.with_name("luigid")), "--address", "127.0.0.1", "--port", port, "--logdir", str(log),
         "--state-path", str(log / "state")],
        cwd=log,
        env=pipeline.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url).close()
                break
            time.sleep(0.1)
        yield url, process
    finally:
        process.terminate()
        process.wait(timeout=20)


def ask(url: str, call: str, **data: object) -> Any:
    query = urllib.parse.urlencode({"data": json.dumps(data)})
    with urllib.request.urlopen(f"{url}/api/{call}?{query}") as answer:  # noqa: S310  # on loopback
        return json.load(answer)["response"]


def test_a_browser_shows_the_graph(pipeline: Pipeline, browse: Browse) -> None:
    pipeline.receive("-GR-")
    with luigid(pipeline) as url:
        pipeline.nightly()
        (nightly,) = (task for task in ask(url, "task_list", status="DONE", upstream_status="")
                      if task.startswith("Nightly"))  # fmt: skip
        page = browse(f"{url}/static/visualiser/index.html#tab=graph&taskId={nightly}")
    drawn = page[page.index("<svg") :]
    for task in ("FetchReports", "BackupReports", "NormaliseReports", "LoadMeasurements", "RefreshViews"):
        assert f">{task}<" in drawn


def test_the_page_shows_the_graph_with_progress(pipeline: Pipeline) -> None:
    pipeline.receive()
    with luigid(pipeline) as url:
        pipeline.nightly()
        done = ask(url, "task_list", status="DONE", upstream_status="")
        assert {task["name"] for task in done.values()} == {
            "Nightly", "FetchReports", "BackupReports", "NormaliseReports", "SanitiseReports",
            "PublishReports", "LoadMeasurements", "RefreshViews", "PublishSite", "RemoveFetchedReports",
            "EveryCollectorReached",
        }  # fmt: skip
        messages = {task["name"]: task["status_message"] for task in done.values()}
        for name in ("NormaliseReports", "SanitiseReports", "PublishReports", "LoadMeasurements"):
            assert re.fullmatch(rf"bucket {pipeline.today}: (\d+) of \1 reports", messages[name])
        nightly = next(task for task, told in done.items() if told["name"] == "Nightly")
        graph = ask(url, "dep_graph", task_id=nightly, include_done=True)
        assert len(graph) == 11

        pipeline.nightly(pipeline.today.replace(year=2016), expect=30)
        failed = ask(url, "task_list", status="FAILED", upstream_status="")
        (task,) = failed
        error = ask(url, "fetch_error", task_id=task)["error"]
        assert "was never fetched and is not in the backup" in error
        assert "Traceback" not in error


def test_what_failed_is_done_by_the_next_run_with_luigid(pipeline: Pipeline) -> None:
    """Luigid remembers what failed at 04:00, and must let the 06:00 run try it again."""
    pipeline.receive("-GR-")
    shipped = configparser.ConfigParser(interpolation=None)
    shipped.read(TOP / "luigi.cfg", encoding="utf-8")
    options = {f"scheduler__{option}": value for option, value in shipped["scheduler"].items()}
    with luigid(pipeline, database__url="postgresql:///nowhere?host=/nonexistent", **options) as url:
        pipeline.nightly(None, expect=30)
        pipeline.configure(
            core__local_scheduler="false", core__scheduler_host="127.0.0.1",
            core__scheduler_port=url.rpartition(":")[2],
        )  # fmt: skip
        pipeline.nightly()
    pipeline.verb("ledger", pipeline.today)
