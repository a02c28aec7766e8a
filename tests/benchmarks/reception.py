"""Receiving: 20,000 entries of 5 KB from 50 connections, a report each, against a bare service on uvicorn.

The bare one (tests/collector/bare.py) appends to one file a report, kept open, and flushes each entry in a
thread (fdatasync) before it answers; it checks and recovers nothing. Both in turn, on the same disk, with the
same client, whose own work counts for both. Of ours everything must be archived, and whole, afterwards.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.collector.load import Acknowledged, assert_complete, send_load
from tests.parts.collector import Collector

ENTRIES, CONNECTIONS, SIZE, ROUNDS, BAR = 20_000, 50, 5000, 5, 0.5


def run() -> None:
    ratios = []
    for _ in range(ROUNDS):
        bare, ours = _bare(), _ours()
        ratios.append(ours / bare)
        print(f"bare {bare:.0f} entries a second; ours {ours:.0f}: {ours / bare:.2f}")
    median = statistics.median(ratios)
    print(f"median {median:.2f}, bar {BAR}: {'ok' if median >= BAR else 'TOO SLOW'}")


def _timed(url: str) -> tuple[float, Acknowledged]:
    begin = time.monotonic()
    told = uvloop.run(send_load(url, connections=CONNECTIONS, entries=ENTRIES, size=SIZE))
    assert told.count == ENTRIES
    return ENTRIES / (time.monotonic() - begin), told


def _bare() -> float:
    with tempfile.TemporaryDirectory(prefix="ooni-bare-") as directory:
        command = [sys.executable, "-m", "tests.collector.bare", directory]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            speed, _ = _timed(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()
            process.communicate()
    return speed


def _ours() -> float:
    with tempfile.TemporaryDirectory(prefix="ooni-collector-") as directory:
        collector = Collector(Path(directory))
        collector.start()
        try:
            speed, told = _timed(collector.url)
        finally:
            collector.kill()  # what was acknowledged is there all the same
        assert_complete(told, collector.layout.archive)
    return speed
