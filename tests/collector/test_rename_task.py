"""RenameReports as cron runs it: what it prints, and when it is done."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.collector.renames import list_path, proof_path
from tasks import config
from tasks.rename import RenameReports
from tests.collector.archives import DATE, NAME, became, json_report, put, there, yaml_report
from tests.conftest import Start
from tests.parts.collector_machine import CollectorMachine

#: One of them is another file system than that of the tests' files, which may be memory.
PLACES = (Path("/dev/shm"), Path("/var/tmp"), Path(__file__).parent)  # noqa: S108


def test_a_night_is_silent_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    machine = CollectorMachine(tmp_path)
    put(machine.layout, "a.json", json_report())
    put(machine.layout, "b.json", json_report(report_id="late"), time.time())
    assert machine.rename(DATE) == ""
    assert there(machine.layout.renamed) == [NAME] and there(machine.layout.archive) == ["b.json"]
    proof = json.loads(proof_path(machine.layout, DATE).read_bytes())
    assert (proof["files"], proof["waiting"], proof["cut_off"]) == ({"renamed": 1}, 1, "2016-08-01T00:30:00Z")
    before = proof_path(machine.layout, DATE).stat().st_mtime_ns
    assert machine.rename(DATE) == ""
    assert proof_path(machine.layout, DATE).stat().st_mtime_ns == before
    assert sorted(there(machine.layout.directory)) == sorted(
        ["archive/b.json", f"renamed/{NAME}", "renames/.lock", "renames/2016-08-01.json",
         "renames/2016-08-01.jsonl"]
    )  # fmt: skip


def test_what_another_account_left_in_tmp_is_in_nobodys_way(tmp_path: Path) -> None:
    machine = CollectorMachine(tmp_path)
    # Luigi's own lock, which root makes who tries it by hand; this one root cannot write to either.
    (tmp_path / "luigi").write_bytes(b"")
    put(machine.layout, "a.json", json_report())
    assert machine.rename(DATE) == ""
    assert there(machine.layout.renamed) == [NAME]


def test_what_was_set_aside_is_told_once_and_names_nothing_of_it(tmp_path: Path) -> None:
    machine = CollectorMachine(tmp_path)
    layout = machine.layout
    put(layout, "\x1b[31mevil\n.json", b"what it says")
    put(layout, "empty.yaml", yaml_report(entries=""))
    put(layout, "get.json", json_report(test_name="test_get"))
    said = machine.rename(DATE)
    (line,) = said.splitlines()
    assert "3 reports were set aside (1 empty, 1 failed, 1 invalid; why: " in line
    assert "1 header_alone" in line and "1 no_nettest" in line
    assert str(layout.errored) in line and str(list_path(layout, DATE)) in line
    assert "evil" not in said and "what it says" not in said
    put(layout, "a.json", json_report())
    assert machine.rename(DATE) == ""


def test_what_nothing_takes_is_told_each_night(tmp_path: Path) -> None:
    machine = CollectorMachine(tmp_path)
    put(machine.layout, "secret.txt", b"")
    for day in range(2):
        (line,) = machine.rename(DATE + dt.timedelta(days=day)).splitlines()
        assert "1 files in" in line and "stay there" in line and "secret" not in line


def test_a_date_may_be_run_before_its_cut_off_and_again(tmp_path: Path) -> None:
    machine = CollectorMachine(tmp_path)
    tomorrow = dt.datetime.now(dt.timezone.utc).date() + dt.timedelta(days=1)
    for number in range(2):
        put(machine.layout, f"{number}.json", json_report(report_id=number), time.time())
        assert machine.rename(tomorrow) == ""
    assert len(became(machine.layout, tomorrow)) == 2
    after = tomorrow + dt.timedelta(days=1)
    assert f"bucket {after} is in the future" in machine.rename(after, expect=30)


def test_what_comes_while_luigi_looks_is_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    """With [worker] check_complete_on_run luigi asks right after the work, while the collector goes on."""
    machine = CollectorMachine(tmp_path)
    monkeypatch.setattr(config, "collector_layout", lambda: machine.layout)
    tomorrow = dt.datetime.now(dt.timezone.utc).date() + dt.timedelta(days=1)
    task: Any = RenameReports(bucket_date=tomorrow)  # type: ignore[no-untyped-call]

    def twice() -> None:
        task.run()
        put(machine.layout, "a.json", json_report(), time.time())
        assert task.complete()
        assert not task.complete()
        task.run()
        assert task.complete() and task.complete()

    child = start(twice)
    child.join()
    assert child.exitcode == 0
    assert len(became(machine.layout, tomorrow)) == 1


def test_what_goes_wrong_is_one_line_and_an_exit_status(tmp_path: Path) -> None:
    machine = CollectorMachine(tmp_path)
    (machine.root / "luigi.cfg").write_text(f"[collector]\ndirectory = {tmp_path}/typo\n")
    said = machine.rename(DATE, expect=30)
    assert "is [collector] directory in luigi.cfg that of the collector?" in said
    assert said.splitlines()[-1].startswith("exit status 30")
    (machine.root / "luigi.cfg").write_text("[collector]\ndirectory = relative\n")
    assert "[collector] directory is no absolute directory" in machine.rename(DATE, expect=35)


def test_directories_on_two_disks_are_refused_before_anything_is_moved(tmp_path: Path) -> None:
    here = tmp_path.stat().st_dev
    other = next((place for place in PLACES if place.is_dir() and place.stat().st_dev != here), None)
    if other is None:
        pytest.skip("no second file system here")
    machine = CollectorMachine(tmp_path)
    put(machine.layout, "a.json", json_report())
    with tempfile.TemporaryDirectory(dir=other) as elsewhere:
        machine.layout.renamed.symlink_to(elsewhere)
        assert "renamed is on another file system" in machine.rename(DATE, expect=30)
        assert Path(elsewhere).stat().st_mode & 0o7777 == 0o700
    assert there(machine.layout.archive) == ["a.json"]
