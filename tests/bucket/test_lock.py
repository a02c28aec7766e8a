from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket.lock import one_writer
from tests.conftest import Start


def add_one(lock: Path, number: Path) -> None:
    for _ in range(20):
        with one_writer(lock):
            before = int(number.read_text())
            time.sleep(0.0005)
            number.write_text(str(before + 1))


def hold_for_ever(lock: Path, held: Any) -> None:
    with one_writer(lock):
        held.set()
        time.sleep(600)


def test_one_at_a_time_across_processes(tmp_path: Path, start: Start) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    processes = [start(add_one, tmp_path / "locks" / "a.lock", number) for _ in range(4)]
    for process in processes:
        process.join()
    assert number.read_text() == "80"


def test_kill_frees_it_and_other_buckets_do_not_wait(tmp_path: Path, start: Start) -> None:
    held = multiprocessing.get_context("fork").Event()
    process = start(hold_for_ever, tmp_path / "a.lock", held)
    assert held.wait(10)
    with one_writer(tmp_path / "b.lock"):
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    begun = time.monotonic()
    with one_writer(tmp_path / "a.lock"):
        assert time.monotonic() - begun < 5
    process.join()
