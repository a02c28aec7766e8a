"""The database's machine vanishes: its connections are not closed, nothing answers any more."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.chaos.night import ROWS, STAGES, ended, is_done, is_whole, received, slow, wait_for_the_middle
from tests.tasks.conftest import Pipeline

full = pytest.mark.full_chaos

_NAMESPACES = ("--net",) if os.geteuid() == 0 else ("--user", "--map-root-user", "--net")


def _can_have_a_network() -> bool:
    try:
        up = ("unshare", *_NAMESPACES, "ip", "link", "set", "lo", "up")
        return subprocess.run(up, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = [
    pytest.mark.one_server,
    pytest.mark.skipif(not _can_have_a_network(), reason="no network namespace here, or no ip (iproute2)"),
]

#: A TCP server that passes everything on to PostgreSQL's socket.
_DOOR = """
import socket, sys, threading
def pass_on(one, other):
    while data := one.recv(65536):
        other.sendall(data)
door = socket.create_server(("127.0.0.1", 5432))
print("open", flush=True)
while True:
    came, _ = door.accept()
    inside = socket.socket(socket.AF_UNIX)
    inside.connect(sys.argv[1])
    for pair in ((came, inside), (inside, came)):
        threading.Thread(target=pass_on, args=pair, daemon=True).start()
"""


@dataclass
class Far(Pipeline):
    """A pipeline in a network of its own, in which the database is reached by TCP."""

    enter: tuple[str, ...] = field(default=())

    def start(self, *command: str) -> subprocess.Popen[str]:
        return super().start(*self.enter, *command)

    def network(self, state: str) -> None:
        subprocess.run((*self.enter, "ip", "link", "set", "lo", state), check=True)


@contextlib.contextmanager
def _far(pipeline: Pipeline) -> Iterator[Far]:
    parts = urlsplit(pipeline.url)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.{parse_qs(parts.query)['port'][0]}"
    script = f'ip link set lo up && exec "{sys.executable}" -c "$0" "$1"'
    door = subprocess.Popen(
        ("unshare", *_NAMESPACES, "sh", "-c", script, _DOOR, socket), stdout=subprocess.PIPE, text=True
    )
    try:
        assert door.stdout is not None
        assert door.stdout.readline() == "open\n"
        target = ("--user", "--preserve-credentials") if len(_NAMESPACES) > 1 else ()
        far = Far(pipeline.root, pipeline.url, ("nsenter", "--target", str(door.pid), *target, "--net"))
        far.configure(
            database__url=f"postgresql://postgres@127.0.0.1{parts.path}"
            "?keepalives_idle=2&keepalives_interval=1&keepalives_count=3&tcp_user_timeout=5000&connect_timeout=3"
        )
        yield far
    finally:
        door.kill()
        door.communicate()


@full
@pytest.mark.parametrize("stage", ["load", "refresh"])
def test_the_databases_machine_vanishes(pipeline: Pipeline, stage: str) -> None:
    """The night ends in bounded time; the next run, when the machine is back, does what is left."""
    pipeline.receive()
    came = received(pipeline)
    with _far(pipeline) as far:
        with slow(pipeline, stage):
            run = far.start_night()
            wait_for_the_middle(pipeline, stage, run)
            far.network("down")
            begin = time.monotonic()
            output = ended(run, 60)
            assert time.monotonic() - begin < 40
        assert run.returncode == 30, output
        assert "cannot reach the database: " in output
        for file_stage in STAGES:
            assert is_done(pipeline, file_stage)
    with _far(pipeline) as far:
        far.nightly()
    pipeline.configure()
    is_whole(pipeline, came, ROWS)
