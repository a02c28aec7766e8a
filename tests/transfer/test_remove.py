from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.remove import remove_fetched
from tests.conftest import Start
from tests.transfer.conftest import DATE, NOW, Machine, Pipeline, die, report_name, written


@pytest.fixture
def saved(pipeline: Pipeline) -> Pipeline:
    """Two collectors of which everything is fetched and in the backup."""
    pipeline.key()
    pipeline.collector.holds(1, 2)
    pipeline.other.holds(3)
    pipeline.fetch(pipeline.collector, pipeline.other)
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)
    return pipeline


def remove(pipeline: Pipeline, *collectors: Machine) -> dict[str, str]:
    """What became of each file."""
    machines = collectors or (pipeline.collector, pipeline.other)
    manifest = remove_fetched(pipeline.layout, DATE, machines, NOW)
    assert manifest == Manifest.read(pipeline.proof(Stage.REMOVED))
    return {record.path: record.detail for record in manifest.reports}


def there(*machines: Machine) -> list[str]:
    return sorted(path.name for machine in machines for path in machine.directory.iterdir())


def test_what_is_verified_and_in_the_backup_goes_and_nothing_else(saved: Pipeline) -> None:
    saved.collector.holds(4)  # came since
    assert remove(saved) == {report_name(number): "removed" for number in (1, 2, 3)}
    assert there(saved.collector, saved.other) == [report_name(4)]
    assert saved.names() == [written(1), written(2), written(3)]


def test_a_second_run_harms_nothing(saved: Pipeline) -> None:
    remove(saved)
    forget_bucket(saved.layout, Stage.REMOVED, DATE)
    saved.collector.holds(1, text="another report of that name\n")
    kept = "kept: it has changed since it was fetched"
    assert remove(saved) == {report_name(1): kept, report_name(2): "gone", report_name(3): "gone"}
    assert there(saved.collector) == [report_name(1)]


def test_what_the_backup_does_not_hold_stays(saved: Pipeline) -> None:
    path = saved.proof(Stage.BACKUP)
    backup = Manifest.read(path)
    del backup.reports[0]
    backup.reports[0].source = "0" * 64
    backup.write(path)
    kept = "kept: the backup does not hold it"
    assert remove(saved) == {report_name(1): kept, report_name(2): kept, report_name(3): "removed"}
    assert there(saved.collector) == [report_name(1), report_name(2)]


def test_without_the_proof_of_the_backup_nothing_goes(saved: Pipeline) -> None:
    forget_bucket(saved.layout, Stage.BACKUP, DATE)
    with pytest.raises(BucketError, match="there is no manifest"):
        remove(saved)
    assert len(there(saved.collector, saved.other)) == 3


def test_a_collector_that_is_not_configured_keeps_its_files(saved: Pipeline) -> None:
    assert remove(saved, saved.collector)[report_name(3)] == "kept: its collector is not configured"
    assert there(saved.collector, saved.other) == [report_name(3)]


@pytest.mark.parametrize("number", [1, 3])
def test_a_copy_of_ours_that_is_damaged_stops_all_removal(saved: Pipeline, number: int) -> None:
    path = saved.raw() / written(number)
    for text, message in (("x" * path.stat().st_size, "is no longer what was fetched"), ("x", "has 1 bytes")):
        path.write_text(text)
        with pytest.raises(BucketError, match=f"{path} {message}"):
            remove(saved)
    path.unlink()
    with pytest.raises(BucketError, match="is missing"):
        remove(saved)
    assert there(saved.collector, saved.other) == [report_name(number) for number in (1, 2, 3)]
    assert not saved.proof(Stage.REMOVED).exists()


def test_a_collector_that_cannot_be_reached_does_not_keep_the_others_full(saved: Pipeline) -> None:
    saved.collector.down = True
    with pytest.raises(TransferError, match="collector athens: no route to host"):
        remove(saved)
    assert there(saved.collector, saved.other) == [report_name(1), report_name(2)]
    assert not saved.proof(Stage.REMOVED).exists()
    saved.collector.down = False
    # what the first run removed is not taken for gone
    assert remove(saved) == {report_name(number): "removed" for number in (1, 2, 3)}
    assert not saved.layout.forgotten(Stage.REMOVED, DATE).exists()


def test_a_collector_that_does_not_let_files_go_is_told_and_tried_again(
    saved: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def read_only(path: Path, missing_ok: bool = False) -> None:
        if path.name == report_name(2):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(
        TransferError, match=r"athens does not let 1 of its files go \(Read-only file system\)"
    ):
        remove(saved)
    monkeypatch.undo()
    assert there(saved.collector, saved.other) == [report_name(2)]
    assert not saved.proof(Stage.REMOVED).exists()
    assert remove(saved) == {report_name(number): "removed" for number in (1, 2, 3)}


def test_one_report_on_two_collectors_goes_from_each_where_it_is_verified(pipeline: Pipeline) -> None:
    pipeline.key()
    machines = [pipeline.collector.holds(1, text="same\n"), pipeline.other.holds(1, text="same\n")]
    manifest = pipeline.fetch(*machines)
    assert [bool(record.duplicate_of) for record in manifest.reports] == [False, True]
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)
    path = pipeline.proof(Stage.BACKUP)
    backup = Manifest.read(path)
    second = backup.reports.pop()
    backup.write(path)
    remove(pipeline)
    assert there(*machines) == [report_name(1)], "the copy that the backup lacks stays"
    backup.reports.append(second)
    backup.write(path)
    forget_bucket(pipeline.layout, Stage.REMOVED, DATE)
    remove(pipeline)
    assert there(*machines) == []


def test_adopted_files_and_duplicates(pipeline: Pipeline) -> None:
    pipeline.key()
    pipeline.raw().mkdir(parents=True)
    (pipeline.raw() / report_name(9)).write_text("adopted\n")
    pipeline.collector.holds(1, 2, text="the same\n")
    (pipeline.collector.directory / "rubbish").write_text("rubbish")
    pipeline.fetch()
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)
    assert remove(pipeline) == {report_name(1): "removed", report_name(2): "removed", "rubbish": "removed"}
    assert len(pipeline.names()) == 4


def remove_and_die(pipeline: Pipeline) -> None:
    unlink = Path.unlink

    def unlink_and_die(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path.is_relative_to(pipeline.collector.directory):
            die()

    pytest.MonkeyPatch().setattr(Path, "unlink", unlink_and_die)
    remove(pipeline)


def test_killed_in_the_middle_it_goes_on(saved: Pipeline, start: Start) -> None:
    process = start(remove_and_die, saved)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert there(saved.collector, saved.other) == [report_name(2), report_name(3)]
    fates = remove(saved)
    assert fates == {report_name(1): "gone", report_name(2): "removed", report_name(3): "removed"}
