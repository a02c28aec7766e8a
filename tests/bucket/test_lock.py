from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.lock import hold, one_writer
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


def test_who_waits_is_told_for_whom(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooni_pipeline.bucket.lock.PATIENCE", 0.2)
    held = multiprocessing.get_context("fork").Event()
    process = start(hold_for_ever, tmp_path / "a.lock", held)
    assert held.wait(10)
    told: list[int | None] = []

    def waits(holder: int | None) -> None:
        told.append(holder)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)

    with one_writer(tmp_path / "a.lock", waits):
        assert told == [process.pid]
        assert (tmp_path / "a.lock").read_text() == f"{os.getpid()}\n"
    with one_writer(tmp_path / "a.lock", waits):
        pass
    assert told == [process.pid], "who does not wait is told nothing"
    process.join()


def test_who_waits_a_moment_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooni_pipeline.bucket.lock.PATIENCE", 1.5)
    told: list[int | None] = []
    go = threading.Event()

    def hold() -> None:
        with one_writer(tmp_path / "a.lock"):
            go.set()
            time.sleep(0.5)

    thread = threading.Thread(target=hold)
    thread.start()
    assert go.wait(10)
    with one_writer(tmp_path / "a.lock", told.append):
        time.sleep(1.5)
    thread.join()
    assert told == []


def test_a_full_disk_does_not_keep_from_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with one_writer(tmp_path / "a.lock"):
        pass


def test_who_does_not_wait_is_told_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with hold(lock):
        with pytest.raises(BlockingIOError, match=f"{lock} is held by process {os.getpid()}"):
            hold(lock)
        assert lock.read_bytes() == b"%d\n" % os.getpid()
    hold(lock).close()
    with one_writer(lock), pytest.raises(BlockingIOError):
        hold(lock)
