"""RenameReports killed at any moment, two at once, and over a large archive."""

from __future__ import annotations

import datetime as dt
import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket import files
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.rename import is_done
from ooni_pipeline.collector.renames import RenamesProof, list_path, proof_path
from tests.collector.archives import (
    DATE,
    NOW,
    became,
    json_report,
    put,
    rename,
    there,
    yaml_report,
)
from tests.conftest import Start
from tests.parts.collector_machine import CollectorMachine

#: All that changes something on the disk.
OPERATIONS = (
    "mkdir",
    "chmod",
    "fchmod",
    "fchown",
    "write",
    "ftruncate",
    "link",
    "unlink",
    "replace",
    "fsync",
)


def archive(layout: CollectorLayout) -> set[bytes]:
    """Reports that are renamed (two clash), and one of each kind that is not. Returns their contents."""
    reports = {
        "a.json": json_report(),
        "FR/b.json": json_report(input="another"),
        "c.yamloo": yaml_report(report_id="c"),
        "d.json": b"",
        "e.json": json_report(test_name="summary"),
        "f.json": b"rubbish",
        "g/f.json": b"more rubbish",
    }
    for name, content in reports.items():
        put(layout, name, content)
    return set(reports.values())


def must_be_there_once(layout: CollectorLayout, contents: set[bytes], date: dt.date = DATE) -> None:
    """Every report has one place, which the list tells, and its bytes."""
    assert not there(layout.archive)
    found = [*(layout.renamed / name for name in there(layout.renamed)),
             *(layout.errored / name for name in there(layout.errored))]  # fmt: skip
    assert len(found) == len(contents) and {path.read_bytes() for path in found} == contents
    told = [to for day in {DATE, date} for to in became(layout, day).values()]
    assert sorted(told) == sorted(path.relative_to(layout.directory).as_posix() for path in found)
    proof = RenamesProof.read(proof_path(layout, date))
    assert proof and sum(proof.files.values()) == len(became(layout, date))
    assert proof.recorded == list_path(layout, date).stat().st_size
    assert not [name for name in there(layout.renames) if name.endswith(".part")]


def killed_at(number: int, layout: CollectorLayout, atomic: bool) -> None:
    """Rename, and be killed right before the N-th operation that changes something."""
    left = number

    def counted(operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **options)

    for name in OPERATIONS:
        setattr(os, name, functools.partial(counted, getattr(os, name)))
    atomically: Any = files._LIBC.renameat2
    files._LIBC.renameat2 = functools.partial(counted, atomically) if atomic else None  # type: ignore[attr-defined]
    rename(layout)


@pytest.mark.parametrize("again", [DATE, DATE + dt.timedelta(days=1)], ids=["again", "next-night"])
@pytest.mark.parametrize("atomic", [True, False], ids=["renameat2", "link-and-unlink"])
def test_killed_at_each_operation(tmp_path: Path, start: Start, atomic: bool, again: dt.date) -> None:
    for number in range(1, 200):
        layout = CollectorLayout(tmp_path / f"{number}")
        contents = archive(layout)
        child = start(killed_at, number, layout, atomic)
        child.join()
        if not child.exitcode:
            break
        assert child.exitcode == -signal.SIGKILL
        assert is_done(layout, DATE, NOW) == proof_path(layout, DATE).exists()
        rename(layout, again)
        must_be_there_once(layout, contents, again)
    assert 20 < number < 199  # it ran to its end at last, and there was much to kill
    must_be_there_once(layout, contents)


def test_half_a_line_of_a_run_that_died_is_no_line(tmp_path: Path) -> None:
    layout = CollectorLayout(tmp_path)
    contents = archive(layout)
    layout.renames.mkdir()
    list_path(layout, DATE).write_bytes(b'{"kind": "renamed", "from": "a.js')
    rename(layout)
    must_be_there_once(layout, contents)


def test_what_a_proof_covers_is_not_taken_back(tmp_path: Path) -> None:
    """A report that was set aside and that somebody put back into the archive was set aside all the same."""
    layout = CollectorLayout(tmp_path)
    put(layout, "a.json", b"rubbish")
    rename(layout)
    (layout.errored_for("failed") / "a.json").unlink()
    put(layout, "a.json", json_report())
    assert rename(layout).proof.files == {"failed": 1, "renamed": 1}


def test_ten_thousand_reports_in_bounded_memory(tmp_path: Path, start: Start) -> None:
    layout = CollectorLayout(tmp_path)
    for number in range(10_000):
        put(layout, f"{number % 7}/{number}.json", json_report(report_id=number))

    def peak() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

    def within_bounds() -> None:
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        rename(layout)
        assert peak() - before < 16 * 1024, f"{peak() - before} kB more"

    child = start(within_bounds)
    child.join()
    assert child.exitcode == 0
    assert len(there(layout.renamed)) == 10_000 == len(became(layout))


def test_two_at_once_and_one_that_is_killed(tmp_path: Path) -> None:
    """The real command line: whoever comes second waits, and does what the first did not."""
    machine = CollectorMachine(tmp_path)
    for number in range(3000):
        put(machine.layout, f"{number}.json", json_report(report_id=number))
    first, second = machine.start_rename(DATE, "--no-lock"), machine.start_rename(DATE, "--no-lock")
    begun = time.monotonic()
    while not list_path(machine.layout, DATE).exists() and time.monotonic() < begun + 60:
        time.sleep(0.01)
    holder = int((machine.layout.renames / ".lock").read_text())
    os.kill(holder, signal.SIGKILL)
    for process in (first, second):
        process.communicate(timeout=120)
    assert sorted((first.returncode, second.returncode)) == [0, 128 + signal.SIGKILL]
    assert len(there(machine.layout.renamed)) == 3000 == len(set(became(machine.layout).values()))
    assert not there(machine.layout.archive)
