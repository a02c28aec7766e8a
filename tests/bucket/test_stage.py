from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.bucket.pool import process_pool
from ooni_pipeline.bucket.room import Room
from ooni_pipeline.bucket.stage import keep_report, process_bucket
from ooni_pipeline.errors import BucketError, UnforeseenError
from ooni_pipeline.report.work import Job, Outcome
from tests.bucket.work import DATE, NOW, must_not_run, raw_bucket, sha256, upper


def run(layout: Layout, work: Callable[[Job], Outcome] = upper, **options: Any) -> Manifest:
    return process_bucket(
        layout,
        options.pop("stage", Stage.NORMALISED),
        options.pop("above", Stage.RAW),
        DATE,
        work,
        **{"version": "1", "now": NOW, "workers": 2, "pool": ThreadPoolExecutor, **options},
    )


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def test_reports_go_through_and_everything_is_counted(layout: Layout) -> None:
    raw = raw_bucket(layout, {"a.json": "x\ny\n", "b.yaml": "bad\nz\nbad\n", "c.json": "bad\n", "d.json": ""})
    raw.reports.append(ReportRecord("e", "e.json", duplicate_of="2016-07-31/e"))
    raw.reports.append(ReportRecord("f", rejected="unreadable"))
    raw.write(layout.manifest(Stage.RAW, DATE))
    steps = []
    manifest = run(layout, facts={"table": "t"}, progress=lambda *step: steps.append(step))
    assert manifest == Manifest.read(layout.manifest(Stage.NORMALISED, DATE))
    assert (manifest.version, manifest.facts) == ("1", {"table": "t"})
    by_report = {record.report: record for record in manifest.reports}
    assert list(by_report) == ["a", "b", "c", "d"]
    directory = layout.bucket(Stage.NORMALISED, DATE)
    assert (directory / "a.json").read_text() == "X\nY\n"
    assert (by_report["a"].size, by_report["a"].digest) == (4, sha256("X\nY\n"))
    assert by_report["a"].source == sha256("x\ny\n")
    assert by_report["b"].counts.as_dict() == {"taken": 3, "out": 1, "rejected": {"not_json": 2}}
    assert (by_report["c"].name, by_report["d"].name) == (None, None)
    assert manifest.tally().as_dict() == {"taken": 6, "out": 3, "rejected": {"not_json": 3}}
    assert manifest.tally().missing() == 0
    assert names(directory) == ["a.json", "b.json"]
    assert names(layout.rejected(Stage.NORMALISED, DATE)) == ["b.jsonl", "c.jsonl"]
    assert steps == [(done, 4) for done in range(5)]


def test_a_report_rejected_as_a_whole_is_kept_whole(layout: Layout) -> None:
    raw_bucket(layout, {"a.yaml": "rubbish", "b.json": "killer", "c.yaml.gz": "rubbish", "d.json": "fine\n"})
    manifest = run(layout, pool=process_pool)
    fates = {record.report: (record.rejected, record.detail, record.name) for record in manifest.reports}
    assert fates == {
        "a": ("bad_header", "it says so", None),
        "b": ("killed_its_worker", "", None),
        "c": ("bad_header", "it says so", None),
        "d": ("", "", "d.json"),
    }
    rejected, raw = layout.rejected(Stage.NORMALISED, DATE), layout.bucket(Stage.RAW, DATE)
    assert names(rejected) == ["a.yaml", "b.json", "c.yaml.gz"]
    assert all((rejected / name).samefile(raw / name) for name in names(rejected))
    assert names(layout.bucket(Stage.NORMALISED, DATE)) == ["d.json"]


def test_what_is_kept_is_never_called_like_rejected_entries_of_another_report(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "same.jsonl"
    source.touch()
    assert keep_report(tmp_path, "same_0123abcd", source) == "same_0123abcd.jsonl"
    text = source.rename(source.with_name("x.txt"))
    assert keep_report(tmp_path, "unnamed_x.txt", text) == "unnamed_x.txt"


def test_files_of_an_earlier_run_go(layout: Layout) -> None:
    raw_bucket(layout, {"a.json": "x\n"})
    for directory in (layout.bucket(Stage.NORMALISED, DATE), layout.rejected(Stage.NORMALISED, DATE)):
        (directory / "folder").mkdir(parents=True)
        for name in ("gone.json", ".0123456789abcdef.part", "a.jsonl", "a.json"):
            (directory / name).write_text("stale")
    run(layout)
    assert names(layout.bucket(Stage.NORMALISED, DATE)) == ["a.json"]
    assert names(layout.rejected(Stage.NORMALISED, DATE)) == []


def test_an_empty_bucket_is_a_proof_of_nothing(layout: Layout) -> None:
    raw_bucket(layout, {})
    assert run(layout, must_not_run).reports == []
    assert run(layout, must_not_run, stage=Stage.SANITISED, above=Stage.NORMALISED).reports == []


def test_a_second_run_gives_the_same(layout: Layout) -> None:
    raw_bucket(layout, {f"{number:02}.json": f"line {number}\n" * number for number in range(20)})
    run(layout)
    proof = layout.manifest(Stage.NORMALISED, DATE)
    files = {path: path.read_bytes() for path in (proof, *layout.bucket(Stage.NORMALISED, DATE).iterdir())}
    forget_bucket(layout, Stage.NORMALISED, DATE)
    run(layout, workers=1, pool=process_pool)
    assert {path: path.read_bytes() for path in files} == files
    assert len(names(layout.bucket(Stage.NORMALISED, DATE))) == len(files) - 1


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text("x"), "has 1 bytes, its manifest says 4"),
        (lambda path: (path.unlink(), path.mkdir()), "is no file"),
        (lambda path: (path.rename(f"{path}2"), path.symlink_to(f"{path}2")), "is no file"),
    ],
)
def test_a_source_that_is_not_as_proven_stops_the_stage(
    layout: Layout, break_it: Callable[[Path], Any], message: str
) -> None:
    raw_bucket(layout, {"a.json": "x\ny\n"})
    path = layout.bucket(Stage.RAW, DATE) / "a.json"
    break_it(path)
    with pytest.raises(BucketError, match=f"{path}.*{message}"):
        run(layout)
    assert not layout.manifest(Stage.NORMALISED, DATE).exists()


def test_without_the_proof_above_nothing_is_done(layout: Layout) -> None:
    with pytest.raises(BucketError, match="there is no manifest"):
        run(layout)
    assert not layout.bucket(Stage.NORMALISED, DATE).exists()


def test_a_proof_that_goes_meanwhile_leaves_nothing_called_done(layout: Layout) -> None:
    raw_bucket(layout, {"a.json": "x\n"})
    with pytest.raises(
        BucketError, match="was forgotten or made anew meanwhile; run bucket 2016-08-01 again"
    ):
        run(layout, finish=lambda outcomes: forget_bucket(layout, Stage.RAW, DATE) and None)
    assert not layout.manifest(Stage.NORMALISED, DATE).exists()


def test_what_the_work_raises_leaves_no_proof(layout: Layout) -> None:
    raw_bucket(layout, {"a.json": "x\n"})
    with pytest.raises(UnforeseenError, match="AssertionError"):
        run(layout, must_not_run)
    assert not layout.manifest(Stage.NORMALISED, DATE).exists()


def test_finish_sees_reports_in_order_and_may_change_them(layout: Layout) -> None:
    raw_bucket(layout, {f"{name}.json": "x\n" * (1 + len(name)) for name in ("b", "aaa", "cc")})

    def finish(outcomes: list[tuple[Job, Outcome]]) -> None:
        assert [job.report for job, _ in outcomes] == ["aaa", "b", "cc"]
        job, outcome = outcomes[1]
        job.destination.unlink()
        outcome.size, outcome.digest = 0, ""
        outcome.counts.out, outcome.counts.duplicate = 0, 2

    manifest = run(layout, finish=finish)
    assert manifest.tally().as_dict() == {"taken": 9, "out": 7, "duplicate": 2}
    assert names(layout.bucket(Stage.NORMALISED, DATE)) == ["aaa.json", "cc.json"]


def only_new(*allowed: str) -> Callable[[Job], Outcome]:
    def work(job: Job) -> Outcome:
        assert job.report in allowed
        return upper(job)

    return work


def test_after_more_was_fetched_only_that_is_done(layout: Layout) -> None:
    first = {"a.json": "x\nbad\n", "b.json": "rubbish", "c.json": "bad\n"}
    raw_bucket(layout, first)
    before = run(layout)
    forget_bucket(layout, Stage.RAW, DATE)
    raw_bucket(layout, {**first, "d.json": "new\n"})
    after = run(layout, only_new("d"))
    assert after.reports[:3] == before.reports
    assert after.reports[3].report == "d"
    assert not layout.forgotten(Stage.NORMALISED, DATE).exists()
    assert names(layout.bucket(Stage.NORMALISED, DATE)) == ["a.json", "d.json"]
    assert names(layout.rejected(Stage.NORMALISED, DATE)) == ["a.jsonl", "b.json", "c.jsonl"]


def test_what_changed_is_done_again(layout: Layout) -> None:
    reports = {"a.json": "x\n", "b.json": "y\n", "c.json": "z\n", "d.json": "killer", "e.json": "twice\n"}
    raw_bucket(layout, reports)

    def twice(outcomes: list[tuple[Job, Outcome]]) -> None:
        outcomes[4][1].counts.duplicate = 1

    run(layout, pool=process_pool, finish=twice)
    forget_bucket(layout, Stage.RAW, DATE)
    reports.update({"a.json": "X\n", "d.json": "lived\n"})
    raw_bucket(layout, {name: text for name, text in reports.items() if name != "c.json"})
    (layout.bucket(Stage.NORMALISED, DATE) / "b.json").write_text("half")
    done = []

    def work(job: Job) -> Outcome:
        done.append(job.report)
        return upper(job)

    run(layout, work)
    assert sorted(done) == ["a", "b", "d", "e"]
    assert names(layout.bucket(Stage.NORMALISED, DATE)) == ["a.json", "b.json", "d.json", "e.json"]
    assert names(layout.rejected(Stage.NORMALISED, DATE)) == []


def test_another_version_does_all_again_and_cannot_be_mixed_up_later(layout: Layout) -> None:
    raw_bucket(layout, {"a.json": "x\n", "b.json": "y\n"})
    run(layout)
    forget_bucket(layout, Stage.RAW, DATE)
    raw_bucket(layout, {"a.json": "x\n", "b.json": "y\n"})
    with pytest.raises(UnforeseenError):  # dies in the middle, with files of version 2 written
        run(layout, only_new("a"), version="2", pool=lambda workers: ThreadPoolExecutor(1))
    with pytest.raises(UnforeseenError):  # so version 1 may carry nothing over any more
        run(layout, must_not_run)
    assert [record.report for record in run(layout).reports] == ["a", "b"]


def test_a_forgotten_manifest_that_is_none_costs_time_only(layout: Layout) -> None:
    raw_bucket(layout, {"a.json": "x\n"})
    layout.manifests(Stage.NORMALISED).mkdir(parents=True)
    layout.forgotten(Stage.NORMALISED, DATE).write_text("rubbish")
    assert len(run(layout).reports) == 1
    assert not layout.forgotten(Stage.NORMALISED, DATE).exists()


def test_the_proof_holds_nothing_of_what_reports_say(layout: Layout) -> None:
    raw_bucket(layout, {"a.json": "10.1.2.3\nbad\n"})
    run(layout)
    assert "10.1.2.3" not in layout.manifest(Stage.NORMALISED, DATE).read_text()
    kept = json.loads((layout.rejected(Stage.NORMALISED, DATE) / "a.jsonl").read_text())
    assert (kept["source"], kept["reason"], kept["digest"]) == ("a.json", "not_json", sha256("bad"))


def test_room_is_wanted_for_what_is_to_be_made_alone(layout: Layout) -> None:
    class Asked(Room):
        def check(self, what: str, directory: Path, needs: int) -> None:
            asked.append((what, directory, needs))

    asked: list[tuple[str, Path, int]] = []
    raw_bucket(layout, {"a.json": "x" * 999 + "\n", "b.json": "y" * 999 + "\n"})
    run(layout, room=Asked())
    what, directory = "bucket 2016-08-01, normalised,", layout.bucket(Stage.NORMALISED, DATE)
    assert asked == [(what, directory, 1700)]
    forget_bucket(layout, Stage.NORMALISED, DATE)
    run(layout, room=Asked(), version="2")
    assert asked[1:] == [(what, directory, 1700 - 2000)], "the files that it replaces are there already"


def test_without_room_nothing_is_begun(layout: Layout) -> None:
    raw_bucket(layout, {"a.json": "x\n"})
    with pytest.raises(BucketError, match="Nothing was begun"):
        run(layout, must_not_run, room=Room(10**18))
    assert names(layout.bucket(Stage.NORMALISED, DATE)) == []
