"""What was withdrawn leaves the raw bucket and the backup, and does not come back to them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.ledger import bucket_ledger
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.withdraw_queue import BACKUP, COLLECTOR, Target, waiting
from ooni_pipeline.bucket.withdrawn import Marks, Withdrawal, record_withdrawal, tombstones
from ooni_pipeline.errors import BucketError, RejectReason, TransferError
from ooni_pipeline.report.measurement_id import measurement_id
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.plan import Plan
from ooni_pipeline.transfer.restore import restore_bucket
from ooni_pipeline.transfer.sent import known_objects
from ooni_pipeline.transfer.tombstone_copies import store_records
from ooni_pipeline.transfer.withdraw import erase_from_backup, take_out_of_raw
from tests.transfer.conftest import DATE, NOW, Pipeline, by_report, report_name, written

CANARY = "canary-8c2d"
SECRET = f'{{"secret": "{CANARY}"}}\n'
OTHERS = '{"one": 1}\n{"two": 2}\n'


def fetched(pipeline: Pipeline) -> None:
    """A report that is to go, one of which an entry is to go, and one that stays; and their backup."""
    pipeline.key()
    for number, text in enumerate((SECRET, f'{{"one": 1}}\n{SECRET}{{"two": 2}}\n', '{"stays": 1}\n')):
        pipeline.collector.holds(number, text=text)
    pipeline.fetch()
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)


def targets(pipeline: Pipeline) -> tuple[Target, ...]:
    records = by_report(Manifest.read(pipeline.proof()))
    return tuple(
        Target(
            DATE.isoformat(), record.report, whole, record.name, record.digest, record.content,
            record.collector, record.path,
        )
        for record, whole in ((records[written(0)[:-5]], True), (records[written(1)[:-5]], False))
    )  # fmt: skip


def bury(pipeline: Pipeline, meant: tuple[Target, ...]) -> None:
    """The tombstones, here and in the backup."""
    key = pipeline.key()
    marks = Marks(key)
    number = measurement_id(key, b"", SECRET.strip().encode())
    act = Withdrawal(
        "20261126T120000Z-00000001", "2026-11-26T12:00:00Z", "ada", "asked", {DATE: (1, 2)},
        frozenset(marks.report(one.content) for one in meant if one.whole),
        frozenset(marks.report(one.content) for one in meant if not one.whole),
        frozenset([marks.entry(number)]),
    )  # fmt: skip
    record_withdrawal(pipeline.layout, act, key)
    store_records(pipeline.layout, pipeline.store)


def withdraw(pipeline: Pipeline, meant: tuple[Target, ...]) -> None:
    stones = tombstones(pipeline.layout, pipeline.key())
    take_out_of_raw(pipeline.layout, DATE, meant, stones)
    erase_from_backup(pipeline.layout, DATE, meant, pipeline.store)
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)


def traces(*places: Path) -> list[str]:
    found = []
    for place in places:
        for path in sorted(place.rglob("*")):
            data = path.read_bytes() if path.is_file() else b""
            if CANARY.encode() in data or b"-id0-" in data or "-id0-" in path.name:
                found.append(str(path.relative_to(place)))
    return found


def texts(pipeline: Pipeline) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(pipeline.raw().iterdir())}


def test_what_is_meant_goes_and_the_rest_stays(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    withdraw(pipeline, meant)
    assert texts(pipeline) == {written(1): OTHERS, written(2): '{"stays": 1}\n'}
    assert traces(pipeline.layout.private, pipeline.root / "backup") == []
    proof = Manifest.read(pipeline.proof())
    assert proof.facts["withdrawn"] == [1, 2]
    (cut,) = [record for record in proof.reports if record.report == written(1)[:-5]]
    assert cut.size == len(OTHERS)
    (planned,) = [one for one in Plan.read(pipeline.layout.plan(DATE)).files if one.report == cut.report]
    assert (planned.digest, planned.size) == (cut.digest, cut.size)
    digests = [one.digest for one in meant]
    for path in pipeline.layout.private.rglob("*"):  # the index of reports too
        if path.is_file():
            assert not [one for one in digests if one.encode() in path.read_bytes()], path
    ledger = bucket_ledger(pipeline.layout, DATE, None)
    assert any(line.startswith("reports    3 received = 2 to process") for line in ledger.lines)
    assert any(line == "withdrawn  1 reports, 2 measurements" for line in ledger.lines)
    assert not [problem for problem in ledger.problems if "received" in problem or "withdrawn" in problem]


def test_what_is_erased_and_what_is_still_known_of_the_backup(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    layout = pipeline.layout
    layout.sent(DATE).write_text(f"{written(0)}\n")
    erased = erase_from_backup(layout, DATE, meant, pipeline.store)
    keys = {f"reports-raw/yaml/{DATE}/{written(number)}" for number in (0, 1)} | {
        f"manifests/raw/{DATE}.json"
    }
    assert {one.key for one in erased} == keys
    assert {one.versions for one in erased} == {1}
    known = known_objects(layout, DATE)
    assert not keys & known.keys()
    assert f"reports-raw/yaml/{DATE}/{written(2)}" in known, "it need not be put again"
    assert not pipeline.proof(Stage.BACKUP).exists()
    assert not layout.sent(DATE).exists()


def test_the_ledger_notices_that_a_record_is_lost(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    ledger = bucket_ledger(pipeline.layout, DATE, None)
    assert any("recorded as withdrawn" in problem and "--due" in problem for problem in ledger.problems)
    withdraw(pipeline, meant)
    (record,) = pipeline.layout.withdrawn().iterdir()
    record.unlink()
    ledger = bucket_ledger(pipeline.layout, DATE, None)
    assert any("0 reports and 0 measurements are recorded" in problem for problem in ledger.problems)


@pytest.mark.parametrize("which", [0, 1], ids=["file", "other bytes"])
def test_a_file_that_is_not_what_was_fetched_is_not_cut(pipeline: Pipeline, which: int) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    path = pipeline.raw() / written(1)
    if which:
        path.write_text(path.read_text().replace("one", "owe"))
    else:
        path.unlink()
    before = texts(pipeline)
    with pytest.raises(BucketError, match=r"not here|no longer what was fetched"):
        take_out_of_raw(pipeline.layout, DATE, meant[1:], tombstones(pipeline.layout, pipeline.key()))
    assert texts(pipeline) == before


def test_a_report_of_which_nothing_would_be_left_is_not_cut(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    partly = (dataclasses.replace(meant[0], whole=False),)
    with pytest.raises(BucketError, match="no entry left"):
        take_out_of_raw(pipeline.layout, DATE, partly, tombstones(pipeline.layout, pipeline.key()))
    assert (pipeline.raw() / written(0)).read_text() == SECRET


@pytest.mark.parametrize("date", [DATE, DATE.replace(day=2)], ids=["same day", "next day"])
def test_what_comes_again_from_a_collector_is_refused(pipeline: Pipeline, date: Any) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    withdraw(pipeline, meant)
    again = pipeline.other.holds(0, text=SECRET)
    (again.directory / report_name(7)).write_text(f'{{"one": 1}}\n{SECRET}{{"two": 2}}\n')
    if date == DATE:
        pipeline.proof().replace(pipeline.layout.forgotten(Stage.RAW, DATE))
    proof = pipeline.fetch(pipeline.other, date=date)
    refused = [record for record in proof.reports if record.rejected == RejectReason.WITHDRAWN.value]
    assert [(one.name, one.path, one.digest, one.content) for one in refused] == [(None, "", "", "")]
    assert refused[0].report.startswith("withdrawn_")
    (cut,) = [record for record in proof.reports if record.report == written(7)[:-5]]
    assert cut.duplicate_of.endswith(written(1)[:-5]), "it is the one that is here already"
    assert CANARY not in "".join(path.read_text() for path in pipeline.raw(date).iterdir())
    left = {(item.kind, item.where, item.what) for item in waiting(pipeline.layout)}
    paths = {report_name(0), report_name(7)}
    assert left == {(COLLECTOR, pipeline.other.name, path) for path in paths}
    (pipeline.layout.withdrawing() / "queue.json").unlink()
    assert traces(pipeline.layout.private) == [], "neither its name"
    pipeline.proof(date=date).replace(pipeline.layout.forgotten(Stage.RAW, date))
    for machine in (pipeline.other, pipeline.collector):
        for path in machine.directory.iterdir():
            path.unlink()
    once_more = pipeline.fetch(pipeline.other, date=date)
    assert by_report(once_more) == by_report(proof), "what was said of it stays"
    ledger = bucket_ledger(pipeline.layout, date, None)
    assert "1 withdrawn" in ledger.lines[0] if date != DATE else "2 withdrawn" in ledger.lines[0]


def test_a_restore_brings_the_tombstones_and_obeys_them(pipeline: Pipeline) -> None:
    """An old state of the backup, and a machine on which there is nothing."""
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    pipeline.layout.private.rename(pipeline.root / "lost")
    assert restore_bucket(pipeline.layout, DATE, pipeline.store)
    assert texts(pipeline) == {written(1): OTHERS, written(2): '{"stays": 1}\n'}
    queue = waiting(pipeline.layout)
    assert {item.kind for item in queue} == {BACKUP}
    assert {Path(item.what).name for item in queue} == {written(0), written(1), f"{DATE}.json"}
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)


def test_a_backup_never_forgets_anything_else(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    proof = Manifest.read(pipeline.proof())
    proof.reports = [record for record in proof.reports if record.report == meant[0].report]
    proof.write(pipeline.proof())
    pipeline.proof(Stage.BACKUP).unlink()
    with pytest.raises(TransferError, match="holds 1 files that the bucket here has no more"):
        backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)


def killed_before(change: int, work: Callable[[], None]) -> int:
    """Do the work in a process that is killed before so many changes of files. Returns its exit status."""
    child = os.fork()
    if not child:
        left = change

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in ("os.rename", "os.remove", "os.link"):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def test_killed_at_any_change_the_next_run_finishes_it(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    for change in range(1, 200):
        status = killed_before(change, lambda: withdraw(pipeline, meant))
        if status == 0:
            break
        assert status == signal.SIGKILL, change
    assert change > 10
    assert texts(pipeline) == {written(1): OTHERS, written(2): '{"stays": 1}\n'}
    assert traces(pipeline.layout.private, pipeline.root / "backup") == []
    ledger = bucket_ledger(pipeline.layout, DATE, None)
    assert not [one for one in ledger.problems if "not done" not in one and "not loaded" not in one]


class Flaky:
    """A store of which one call, counted over all of them, fails."""

    def __init__(self, pipeline: Pipeline, fails: int) -> None:
        self._store, self._left = pipeline.store, fails

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._failing(found) if callable(found) else found

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._left -= 1
            if not self._left:
                raise TransferError("503 SlowDown")
            return call(*arguments)

        return counted


def test_whatever_call_of_the_backup_fails_the_next_run_finishes_it(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    store = pipeline.store
    for fails in range(1, 200):
        pipeline.store = Flaky(pipeline, fails)  # type: ignore[assignment]
        try:
            withdraw(pipeline, meant)
            break
        except TransferError as error:
            assert "503" in str(error)
        finally:
            pipeline.store = store
    assert fails > 10
    assert texts(pipeline) == {written(1): OTHERS, written(2): '{"stays": 1}\n'}
    assert traces(pipeline.layout.private, pipeline.root / "backup") == []
    assert restore_bucket(pipeline.layout, DATE, store)


def test_the_records_of_another_pipeline_are_not_taken(pipeline: Pipeline) -> None:
    fetched(pipeline)
    meant = targets(pipeline)
    bury(pipeline, meant)
    (record,) = (pipeline.root / "backup" / "withdrawn").iterdir()
    value = json.loads(record.read_text())
    value["entries"] = []
    record.write_text(json.dumps(value))
    pipeline.layout.private.rename(pipeline.root / "lost")
    with pytest.raises(TransferError, match=r"withdrawn/.* is damaged, or was made with another id\.key"):
        restore_bucket(pipeline.layout, DATE, pipeline.store)
    assert not pipeline.proof().exists()
