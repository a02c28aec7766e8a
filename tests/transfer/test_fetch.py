from __future__ import annotations

import datetime as dt
import os
import re
import time
from pathlib import Path

import pytest

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.transfer import bring
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan
from ooni_pipeline.transfer.plan import Plan
from tests.transfer.conftest import DATE, KEY, NOW, Machine, Pipeline, by_report, report_name, written


def test_what_a_collector_has_is_copied_verified_and_proven(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1, 2)
    (pipeline.collector.directory / "notes.txt").write_text("no report")
    manifest = pipeline.fetch()
    assert manifest == Manifest.read(pipeline.proof())
    one, two, notes = manifest.reports
    source = pipeline.collector.directory / report_name(1)
    assert (pipeline.raw() / written(1)).read_bytes() == source.read_bytes()
    assert (one.name, one.collector, one.path) == (written(1), "athens", report_name(1))
    assert one.digest == one.content == file_digest(source)
    assert (one.size, one.fetched) == (source.stat().st_size, "2016-08-01T04:00:00Z")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.modified)
    assert one.usable
    assert two.usable
    assert (notes.rejected, notes.usable) == ("name_not_understood", False)
    assert notes.name is not None
    assert (pipeline.layout.rejected(Stage.RAW, DATE) / notes.name).samefile(pipeline.raw() / notes.name)
    assert pipeline.names() == sorted([written(1), written(2), notes.name])
    assert source.exists()
    assert manifest.facts == {}


def test_a_day_without_reports_is_a_proof_of_nothing(pipeline: Pipeline) -> None:
    assert pipeline.fetch().reports == []
    assert pipeline.names() == []


def test_progress_counts_files(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring, "MOST_FILES", 1)
    pipeline.collector.holds(1, 2)
    steps: list[tuple[int, int]] = []
    plan = make_plan(pipeline.layout, DATE, [pipeline.collector], KEY, add=True)
    fetch_bucket(pipeline.layout, plan, [pipeline.collector], KEY, NOW, lambda *step: steps.append(step))
    assert steps == [(0, 2), (1, 2), (2, 2)]


def test_two_collectors_with_reports_of_one_name(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1, text="athens\n")
    pipeline.other.holds(1, text="berlin\n")
    reports = pipeline.fetch(pipeline.collector, pipeline.other).reports
    assert [record.collector for record in reports] == ["athens", "berlin"]
    assert [(pipeline.raw() / str(record.name)).read_text() for record in reports] == ["athens\n", "berlin\n"]


def test_a_second_batch_of_the_day_adds_what_is_new(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1)
    first = pipeline.fetch()
    before = (pipeline.raw() / written(1)).stat()
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    pipeline.collector.holds(2)
    second = pipeline.fetch(now=NOW + dt.timedelta(hours=6))
    assert pipeline.collector.copies == 2
    assert second.reports[0] == first.reports[0]  # when it was fetched is no news
    assert second.reports[1].fetched == "2016-08-01T10:00:00Z"
    assert (pipeline.raw() / written(1)).stat() == before


def test_a_past_bucket_is_finished_from_its_plan_and_takes_nothing_new(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1)
    make_plan(pipeline.layout, DATE, [pipeline.collector], KEY, add=True)
    pipeline.collector.holds(2)
    manifest = pipeline.fetch(add=False, now=NOW + dt.timedelta(days=3))
    assert [record.name for record in manifest.reports] == [written(1)]


def test_a_past_bucket_without_plan_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(BucketError, match="bucket 2016-08-01 has no plan"):
        make_plan(pipeline.layout, DATE, [pipeline.collector.holds(1)], KEY, add=False)
    assert not pipeline.layout.plan(DATE).exists()


def test_a_report_that_changes_before_the_copy_comes_in_a_later_bucket(pipeline: Pipeline) -> None:
    collector = pipeline.collector.holds(1, 2, 3)

    def change(number: int, path: str) -> None:
        if path == report_name(1):
            collector.holds(1, text="changed\n")
        if path == report_name(2):
            (collector.directory / path).unlink()

    collector.before_copy = change
    manifest = pipeline.fetch()
    fates = [(record.rejected, record.name) for record in manifest.reports]
    assert fates == [("changed_while_copied", None), ("changed_while_copied", None), ("", written(3))]
    assert pipeline.names() == [written(3)]
    tomorrow = pipeline.fetch(date=DATE + dt.timedelta(days=1))
    assert [record.name for record in tomorrow.reports if record.usable] == [written(1)]


def test_a_report_that_grows_while_it_is_copied(pipeline: Pipeline) -> None:
    def grow(number: int, path: str, copy: Path) -> None:
        with (pipeline.collector.directory / path).open("a") as file:
            file.write("more\n")
        copy.write_text(copy.read_text() + "mo")

    pipeline.collector.holds(1).after_copy = grow
    assert [record.rejected for record in pipeline.fetch().reports] == ["changed_while_copied"]
    assert pipeline.names() == []


def test_a_report_that_grows_after_the_copy_is_what_was_planned(pipeline: Pipeline) -> None:
    def grow(number: int, path: str, copy: Path) -> None:
        with (pipeline.collector.directory / path).open("a") as file:
            file.write("more\n")

    pipeline.collector.holds(1, text="one\n").after_copy = grow
    pipeline.fetch()
    assert (pipeline.raw() / written(1)).read_text() == "one\n"
    pipeline.collector.after_copy = lambda *_: None
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    again = [record for record in pipeline.fetch().reports if record.usable]
    assert [(pipeline.raw() / str(record.name)).read_text() for record in again] == ["one\n", "one\nmore\n"]


def test_a_copy_that_does_not_arrive_as_sent_is_no_report(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1).after_copy = lambda number, path, copy: os.truncate(copy, 3)
    pipeline.other.holds(2)
    manifest = pipeline.fetch(pipeline.collector, pipeline.other)
    why = f"1 of 1 files did not come: '{report_name(1)}' of collector athens did not arrive as it was sent"
    assert manifest.facts == {"unreachable": {"athens": why}}
    assert pipeline.names() == [written(2)]
    assert pipeline.collector.copies == 2, "it is tried twice"
    pipeline.collector.after_copy = lambda *_: None
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    assert {record.name for record in pipeline.fetch().reports} == {written(1), written(2)}


def test_one_collector_that_cannot_be_reached_does_not_stop_the_other(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1).down = True
    pipeline.other.holds(2)
    manifest = pipeline.fetch(pipeline.collector, pipeline.other)
    assert [record.name for record in manifest.reports] == [written(2)]
    assert manifest.facts == {"unreachable": {"athens": "collector athens: no route to host"}}
    pipeline.collector.down = False
    later = pipeline.fetch(pipeline.collector, pipeline.other, date=DATE + dt.timedelta(days=1))
    assert [record.name for record in later.reports if record.usable] == [written(1)]
    assert later.facts == {}


def test_no_collector_can_be_reached(pipeline: Pipeline) -> None:
    pipeline.collector.down = pipeline.other.down = True
    with pytest.raises(
        TransferError, match=r"no collector can be reached: collector athens.*; collector berlin"
    ):
        pipeline.fetch(pipeline.collector, pipeline.other)
    assert not pipeline.layout.plan(DATE).exists()


def test_a_collector_that_dies_between_plan_and_copy(pipeline: Pipeline) -> None:
    machines = [pipeline.collector.holds(1, 3), pipeline.other.holds(2)]

    def crash(number: int, path: str) -> None:
        if number == 1:
            pipeline.collector.down = True
            raise TransferError("collector athens: connection reset")

    pipeline.collector.before_copy = crash
    manifest = pipeline.fetch(*machines)
    assert pipeline.names() == [written(1), written(2)]  # what can be had is had
    assert sorted(str(record.name) for record in manifest.reports) == [written(1), written(2)]
    assert manifest.facts == {
        "unreachable": {"athens": "1 of 2 files did not come: collector athens: connection reset"}
    }
    assert [planned.path for planned in Plan.read(pipeline.layout.plan(DATE)).files] == [
        report_name(1),
        report_name(2),
    ]
    pipeline.collector.down = False
    pipeline.collector.before_copy = lambda *_: None
    later = pipeline.fetch(*machines, date=DATE + dt.timedelta(days=1))
    assert [record.name for record in later.reports if record.usable] == [written(3)]


def test_a_collector_that_breaks_off_is_tried_again_on_the_same_day(pipeline: Pipeline) -> None:
    def crash(number: int, path: str) -> None:
        if number == 1:
            raise TransferError("collector athens: connection reset")

    pipeline.collector.holds(1, 2, 3).before_copy = crash
    assert [record.name for record in pipeline.fetch().reports] == [written(1)]
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    pipeline.collector.before_copy = lambda *_: None
    manifest = pipeline.fetch()
    assert [record.name for record in manifest.reports] == [written(1), written(2), written(3)]
    assert manifest.facts == {}
    assert pipeline.collector.copies == 3


def test_nothing_from_any_collector_is_no_empty_bucket(pipeline: Pipeline) -> None:
    def crash(number: int, path: str) -> None:
        raise TransferError("collector athens: connection reset")

    pipeline.collector.holds(1).before_copy = crash
    for add in (True, False):
        with pytest.raises(TransferError, match=r"no collector can be reached: 1 of 1 files did not come: "):
            pipeline.fetch(add=add)
        assert not pipeline.proof().exists()
    pipeline.collector.before_copy = lambda *_: None
    assert len(pipeline.fetch(add=False).reports) == 1  # the plan holds it still


def test_a_disk_of_ours_that_is_full_is_no_fault_of_a_collector(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the collector's copying says of it: nothing is dropped, the stage fails."""

    def crash(number: int, path: str) -> None:
        if number == 1:
            raise TransferError("collector athens: rsync ended with exit status 11")

    pipeline.collector.holds(1, 2).before_copy = crash
    real = os.statvfs(pipeline.root)
    full = os.statvfs_result((*tuple(real)[:3], 0, 0, *tuple(real)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(OSError, match="No space left on device"):
        pipeline.fetch()
    assert not pipeline.proof().exists()
    assert len(Plan.read(pipeline.layout.plan(DATE)).files) == 2


def test_one_path_that_was_planned_twice_is_copied_once(pipeline: Pipeline) -> None:
    """It changed between two batches of one day, and neither was copied yet."""
    pipeline.collector.holds(1, text="one\n")
    make_plan(pipeline.layout, DATE, [pipeline.collector], KEY, add=True)
    pipeline.collector.holds(1, text="two\n")
    manifest = pipeline.fetch()
    assert [record.rejected for record in manifest.reports] == ["changed_while_copied", ""]
    assert (pipeline.raw() / str(manifest.reports[1].name)).read_text() == "two\n"
    assert pipeline.collector.copies == 1


def test_what_somebody_still_writes_comes_later_and_the_proof_says_so(pipeline: Pipeline) -> None:
    machine = Machine(pipeline.root / "athens", clock=time.time)
    machine.holds(1, 2)
    plan = make_plan(pipeline.layout, DATE, [machine], KEY, add=True, settle_seconds=60)
    manifest = fetch_bucket(pipeline.layout, plan, [machine], KEY, NOW)
    assert (manifest.reports, manifest.facts) == ([], {"unsettled": {"athens": 2}})
    assert len(pipeline.fetch(machine, date=DATE + dt.timedelta(days=1)).reports) == 2


def test_a_collector_that_is_not_configured_any_more(pipeline: Pipeline) -> None:
    make_plan(pipeline.layout, DATE, [pipeline.collector.holds(1)], KEY, add=True)
    with pytest.raises(
        TransferError, match=r"collector athens, which is not in \[fetch\].*tasks\.adopt 2016-08-01"
    ):
        pipeline.fetch(pipeline.other.holds(2))
    assert not pipeline.proof().exists()
    assert pipeline.names() == [written(2)]
    assert len(pipeline.fetch(pipeline.collector, pipeline.other).reports) == 2
    pipeline.proof().unlink()
    assert len(pipeline.fetch(pipeline.other).reports) == 2  # all is here: nobody needs it


def test_odd_files_are_recorded_and_stay_on_the_collector(pipeline: Pipeline) -> None:
    directory = pipeline.collector.holds(1).directory
    (directory / report_name(2)).symlink_to(report_name(1))
    os.mkfifo(directory / report_name(3))
    (directory / os.fsdecode(b"\xff\n.json")).write_text("odd")
    reports = pipeline.fetch().reports
    no_file = ("not_a_regular_file", True)
    assert sorted((record.rejected, record.name is None) for record in reports) == [
        ("", False), ("name_not_understood", False), no_file, no_file,
    ]  # fmt: skip
    paths = {record.path for record in Manifest.read(pipeline.proof()).reports}
    assert paths == {path.name for path in directory.iterdir()}
    assert len(pipeline.names()) == 2


def test_a_foreign_file_under_a_planned_name_is_neither_lost_nor_taken_for_ours(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1, 2)
    plan = make_plan(pipeline.layout, DATE, [pipeline.collector], KEY, add=True)
    pipeline.raw().mkdir(parents=True)
    (pipeline.raw() / written(1)).write_text("put here by hand\n")
    (pipeline.raw() / written(2)).symlink_to("nowhere")
    for _ in range(2):
        manifest = fetch_bucket(pipeline.layout, plan, [pipeline.collector], KEY, NOW)
        fetched = [record for record in manifest.reports if record.collector]
        assert {record.path for record in fetched if record.usable} == {report_name(1), report_name(2)}
        for record in fetched:
            assert (pipeline.raw() / str(record.name)).read_bytes() == (
                pipeline.collector.directory / record.path
            ).read_bytes()
        link, foreign = sorted((r for r in manifest.reports if not r.collector), key=lambda r: r.usable)
        assert (link.path, link.rejected) == (written(2), "not_a_regular_file")
        assert (foreign.name, foreign.usable) == (written(1), True)
        assert (pipeline.raw() / written(1)).read_text() == "put here by hand\n"
        assert len({record.report for record in manifest.reports}) == 4
    assert pipeline.collector.copies == 2


def test_files_that_somebody_else_put_there_are_adopted_under_a_steady_name(pipeline: Pipeline) -> None:
    pipeline.raw().mkdir(parents=True)
    old = "20160731T000001Z-GR-AS1-http_host-id1-0.2.0-probe.json"
    (pipeline.raw() / old).write_text("mine\n")
    (pipeline.raw() / ".notes").write_text("hidden\n")
    first = pipeline.fetch()
    assert [(r.report, r.name, r.rejected) for r in first.reports if r.usable] == [
        (written(1).removesuffix(".json"), old, "")
    ]
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    pipeline.collector.holds(1)  # would have that very name
    second = pipeline.fetch(now=NOW + dt.timedelta(hours=1))
    assert (
        by_report(second)[written(1).removesuffix(".json")]
        == by_report(first)[written(1).removesuffix(".json")]
    )
    assert len([record for record in second.reports if record.usable]) == 2
    assert {".notes", old} < set(pipeline.names())


def test_a_fetched_report_that_is_gone_everywhere_is_not_quietly_rejected(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1, 2)
    pipeline.fetch()
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    for directory, name in ((pipeline.raw(), written(1)), (pipeline.collector.directory, report_name(1))):
        (directory / name).unlink()
    with pytest.raises(
        BucketError, match=f"{written(1)} was fetched and is gone, here and on collector athens"
    ):
        pipeline.fetch()
    assert not pipeline.proof().exists()
    (pipeline.raw() / written(2)).unlink()
    pipeline.collector.holds(1)
    assert len(pipeline.fetch().reports) == 2


def test_a_fetched_report_that_is_gone_is_missed_though_its_collector_is_not_reached(
    pipeline: Pipeline,
) -> None:
    pipeline.collector.holds(1)
    pipeline.other.holds(2)
    pipeline.fetch(pipeline.collector, pipeline.other)
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    (pipeline.raw() / written(1)).unlink()
    pipeline.collector.down = True
    with pytest.raises(BucketError, match=f"{written(1)} was fetched and is gone"):
        pipeline.fetch(pipeline.collector, pipeline.other)
    assert not pipeline.proof().exists()


def test_the_plan_holds_no_half_truth(pipeline: Pipeline) -> None:
    pipeline.collector.holds(1)
    pipeline.fetch()
    plan = Plan.read(pipeline.layout.plan(DATE))
    assert [(planned.collector, planned.path) for planned in plan.files] == [("athens", report_name(1))]
