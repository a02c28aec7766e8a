from __future__ import annotations

import os
import subprocess
import sys
import time

from ooni_pipeline.bucket.process import command_of, described, running_for, since_boot, spoken


def test_a_process_is_described() -> None:
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "a ) b"])
    try:
        time.sleep(1.2)
        seconds = running_for(process.pid)
        assert seconds is not None
        assert 1 <= seconds <= time.monotonic() - begin + 0.1
        assert command_of(process.pid).endswith("time.sleep(60) a ) b")
        assert f"process {process.pid} (" in described(process.pid)
        assert "which has run for 1 s" in described(process.pid)
    finally:
        process.kill()
        process.wait()
    assert running_for(process.pid) is None
    assert command_of(process.pid) == ""
    assert described(process.pid) == described(None) == "a process that this machine does not show"


def test_ours_is_as_old_as_it_is() -> None:
    assert 0 <= (running_for(os.getpid()) or -1) < 86400


def test_durations_are_spoken() -> None:
    told = {0: "0 s", 59: "59 s", 60: "1 min", 3661: "1 h 1 min", 90000: "1 d 1 h", 86401: "1 d 1 s"}
    assert {seconds: spoken(seconds) for seconds in told} == told


def test_since_boot_only_grows() -> None:
    first = since_boot()
    second = since_boot()
    assert first["boot"] == second["boot"]
    assert 0 < first["seconds"] <= second["seconds"]
