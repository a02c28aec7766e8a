"""[notify] webhook and luigi's [email]: who is told of a night that failed, and of what never."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ooni_pipeline.bucket.lock import one_writer
from tasks.notify import PATIENCE
from tests.tasks.conftest import Pipeline
from tests.tasks.test_inside import Mailbox, mailbox, mailing

__all__ = ["mailbox"]

pytestmark = pytest.mark.one_server

SECRET = "T0PS3CRET"
#: A database that nobody can reach: the load fails, and nothing else.
DOWN = {"database__url": "postgresql:///nowhere?host=/nonexistent"}


class Hook(http.server.ThreadingHTTPServer):
    """A webhook on loopback: keeps what is POSTed in ``facts`` and answers ``status``."""

    daemon_threads = True

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.status = status
        self.facts: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/services/{SECRET}"


class _Receiver(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        assert self.path == f"/services/{SECRET}"
        assert self.headers["Content-Type"] == "application/json"
        self.server.facts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_failed_night_is_posted_once(pipeline: Pipeline, hook: Hook, workers: str) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(notify__webhook=hook.url, **DOWN)
    output = pipeline.nightly(None, "--workers", workers, expect=30)
    (told,) = hook.facts
    assert {"task": told["task"], "bucket": told["bucket"], "host": told["host"]} == {
        "task": "LoadMeasurements", "bucket": str(pipeline.today), "host": socket.gethostname(),
    }  # fmt: skip
    assert told["fault"].startswith("cannot reach the database")
    assert told["text"] == (
        f"{socket.gethostname()}: LoadMeasurements of bucket {pipeline.today}: {told['fault']}"
    )
    assert SECRET not in output
    pipeline.configure(notify__webhook=hook.url)
    pipeline.nightly()
    assert len(hook.facts) == 1, "a night that goes well tells nobody"


def test_a_task_that_cannot_be_asked_is_posted(pipeline: Pipeline, hook: Hook) -> None:
    pipeline.configure(notify__webhook=hook.url, paths__private="relative")
    pipeline.nightly(expect=None)
    assert {told["fault"] for told in hook.facts} >= {"nobody can tell whether it is done: see the log"}


def test_a_task_that_is_ended_is_posted_and_mailed(pipeline: Pipeline, hook: Hook, mailbox: Mailbox) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(notify__webhook=hook.url, **mailing(mailbox))
    with one_writer(pipeline.layout.lock("LoadMeasurements", pipeline.today)):
        pipeline.nightly(None, "--worker-timeout", "3", expect=30)
    (told,) = hook.facts
    assert told["task"] == "LoadMeasurements" and "timed out after 3 seconds" in told["fault"]
    (mail,) = mailbox.mails
    assert "LoadMeasurements" in mail and "timed out after 3 seconds" in mail


def test_what_check_finds_is_posted(pipeline: Pipeline, hook: Hook) -> None:
    pipeline.configure(notify__webhook=hook.url, check__free_percent="0")
    output = pipeline.verb("check", expect=1)
    (told,) = hook.facts
    assert told["task"] == "check" and told["bucket"] == ""
    assert [f"PROBLEM    {fault}" for fault in told["fault"]] == output.splitlines()
    assert all(fault in told["text"] for fault in told["fault"])


@pytest.mark.parametrize("status", [404, 500])
def test_a_webhook_that_refuses_is_a_warning(pipeline: Pipeline, hook: Hook, status: int) -> None:
    hook.status = status
    pipeline.configure(notify__webhook=hook.url, check__free_percent="0")
    output = pipeline.verb("check", expect=1)
    assert f"[notify] webhook took no notice of a fault: it answers {status}" in output
    assert SECRET not in output and "127.0.0.1" not in output and "Traceback" not in output


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"http://127.0.0.1:1/{SECRET}", "took no notice of a fault: Connection refused"),
        (f"http://nowhere.invalid/{SECRET}", "took no notice of a fault: "),
        (f"http://127.0.0.1:port/{SECRET}", "took no notice of a fault: "),
        (f"file:///etc/{SECRET}", "luigi.cfg: [notify] webhook is no https:// URL"),
        (f"hooks.example/{SECRET}", "luigi.cfg: [notify] webhook is no https:// URL"),
    ],
)
def test_a_webhook_that_is_none(pipeline: Pipeline, url: str, says: str) -> None:
    pipeline.configure(notify__webhook=url, check__free_percent="0")
    output = pipeline.verb("check", expect=1)
    assert says in output
    assert SECRET not in output and "Traceback" not in output


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_a_webhook_that_hangs_does_not_hold_up_the_night(pipeline: Pipeline, answer: bytes) -> None:
    """It takes the connection and says nothing, or never comes to an end."""
    pipeline.receive("-GR-")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        threading.Thread(target=_drip, args=(server, answer), daemon=True).start()
        pipeline.configure(notify__webhook=f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}", **DOWN)
        begin = time.monotonic()
        output = pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    assert "[notify] webhook took no notice of a fault: " in output
    assert "cannot reach the database" in output, "what failed is told all the same"
    assert SECRET not in output
    assert PATIENCE < time.monotonic() - begin < PATIENCE + 30


def _drip(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(answer)
        for _ in range(600):
            try:
                if answer:
                    connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.1)


def test_a_mail_server_that_is_down_is_no_fault_of_the_night(pipeline: Pipeline, mailbox: Mailbox) -> None:
    pipeline.receive("-GR-")
    options = {**mailing(mailbox), "smtp__port": "1"}
    pipeline.configure(**options, **DOWN)
    output = pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    assert "Not able to connect to smtp server" in output and "Traceback" not in output
    pipeline.configure(**options)
    pipeline.nightly()


def test_a_failed_night_is_one_mail(pipeline: Pipeline, mailbox: Mailbox) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(**mailing(mailbox), **DOWN)
    pipeline.nightly(None, "--log-level", "WARNING", expect=30)
    (mail,) = mailbox.mails
    assert f"LoadMeasurements(bucket_date={pipeline.today})" in mail
    assert "cannot reach the database" in mail
