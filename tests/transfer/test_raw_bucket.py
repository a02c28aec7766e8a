from __future__ import annotations

import datetime as dt
import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.bucket.stage import process_bucket
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.content import content_digest
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.transfer.fetch import make_plan
from ooni_pipeline.transfer.raw_bucket import adopt_bucket, prove_bucket
from tests.transfer.conftest import DATE, KEY, NOW, Pipeline, by_report, report_name, written

HISTORICAL: dict[str, str | bytes] = {
    "20121205T071421Z-MM-AS18399-http_invalid_request_line-no_report_id-0.1.0-probe.yaml": "a",
    "http_requests-2013-05-05T120000Z-AS1-probe.yamloo": "b",
    report_name(1): "c",
    report_name(2) + ".gz": gzip.compress(b"d", mtime=0),
}


def lay(pipeline: Pipeline, files: dict[str, str | bytes]) -> None:
    pipeline.raw().mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (pipeline.raw() / name).write_bytes(content.encode() if isinstance(content, str) else content)


def adopt(pipeline: Pipeline) -> Manifest:
    return adopt_bucket(pipeline.layout, DATE, KEY, NOW)


def test_historical_files_keep_their_names_on_disk(pipeline: Pipeline) -> None:
    lay(pipeline, HISTORICAL)
    manifest = adopt(pipeline)
    assert manifest == Manifest.read(pipeline.proof())
    assert pipeline.names() == sorted(HISTORICAL)
    assert {str(record.name): record.report for record in manifest.reports} == {
        "20121205T071421Z-MM-AS18399-http_invalid_request_line-no_report_id-0.1.0-probe.yaml":
            "20121205T071421-http_invalid_request_line-no_report_id-AS18399-MM-probe-0.1.0",
        "http_requests-2013-05-05T120000Z-AS1-probe.yamloo":
            "20130505T120000-http_requests-no_report_id-AS1-ZZ-probe-0.1.0",
        report_name(1): written(1).removesuffix(".json"),
        report_name(2) + ".gz": written(2).removesuffix(".json"),
    }  # fmt: skip
    assert all(record.usable and not record.collector for record in manifest.reports)


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_directory_and_none(pipeline: Pipeline, there: bool) -> None:
    if there:
        pipeline.raw().mkdir(parents=True)
    assert adopt(pipeline).reports == []
    assert pipeline.proof().exists()


def test_rubbish_is_recorded_and_stays(pipeline: Pipeline) -> None:
    lay(pipeline, {"Thumbs.db": "x", ".hidden": "y", os.fsdecode(b"\xff\n"): "z", "x" * 255: "w"})
    (pipeline.raw() / "folder").mkdir()
    (pipeline.raw() / "folder" / "inside").touch()
    (pipeline.raw() / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(pipeline.raw() / "fifo.json")
    before = pipeline.names()
    manifest = adopt(pipeline)
    assert pipeline.names() == before
    assert sorted(record.path for record in manifest.reports) == before
    fates = sorted((record.rejected, record.name is not None) for record in manifest.reports)
    assert fates == [("name_not_understood", True)] * 4 + [("not_a_regular_file", False)] * 3
    assert len({record.report for record in manifest.reports}) == 7
    assert all(record.report.isascii() and record.report.isprintable() for record in manifest.reports)
    shown = pipeline.layout.rejected(Stage.RAW, DATE)
    assert sorted(path.read_text() for path in shown.iterdir()) == ["w", "x", "y", "z"]
    assert Manifest.read(pipeline.proof()) == manifest


def test_two_files_of_one_report_are_two_reports(pipeline: Pipeline) -> None:
    name = report_name(1).removesuffix(".json")
    lay(pipeline, {f"{name}.json": "1", f"{name}.yaml": "2", f"{name}.json.gz": "3", f"{name}.jsonl": "4"})
    manifest = adopt(pipeline)
    assert len(by_report(manifest)) == 4
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    lay(pipeline, {f"{name}.njson": "5"})
    again = adopt(pipeline)
    assert [record for record in again.reports if record.path != f"{name}.njson"] == manifest.reports


def test_a_bucket_that_a_fetch_has_begun_is_not_adopted(pipeline: Pipeline) -> None:
    make_plan(pipeline.layout, DATE, [pipeline.collector.holds(1)], KEY, add=True)
    with pytest.raises(BucketError, match="bucket 2016-08-01 was begun by a fetch; run FetchReports"):
        adopt(pipeline)


def done_downstream(pipeline: Pipeline, date: dt.date = DATE) -> list[str]:
    """The reports that the next stage would take."""
    taken = []

    def work(job: Job) -> Outcome:
        taken.append(job.report)
        job.destination.touch()
        return Outcome(Tally(), digest="x")

    process_bucket(
        pipeline.layout,
        Stage.NORMALISED,
        Stage.RAW,
        date,
        work,
        version="1",
        now=NOW,
        pool=ThreadPoolExecutor,
    )
    return sorted(taken)


def test_the_same_report_twice_in_a_bucket_goes_on_once(pipeline: Pipeline) -> None:
    text = '{"a": 1}\n'
    pipeline.collector.holds(1, 2, text=text)
    packed = gzip.compress(text.encode())
    (pipeline.collector.directory / f"{report_name(3)}.gz").write_bytes(packed)
    (pipeline.collector.directory / f"{report_name(1)}.gz").write_bytes(gzip.compress(text.encode(), 1))
    (pipeline.collector.directory / report_name(4)).write_bytes(
        packed
    )  # gzip, though its name does not say so
    manifest = pipeline.fetch()
    assert len(manifest.reports) == 5
    first, *others = manifest.reports
    assert first.report == written(1).removesuffix(".json")
    assert {record.duplicate_of for record in others} == {f"2016-08-01/{first.report}"}
    assert len({record.content for record in manifest.reports}) == 1
    assert len(pipeline.names()) == 5  # every one is kept
    assert done_downstream(pipeline) == [first.report]


def test_the_same_report_in_a_later_bucket_goes_on_no_more(pipeline: Pipeline) -> None:
    later = DATE + dt.timedelta(days=1)
    pipeline.collector.holds(1)
    first = pipeline.fetch().reports[0]
    pipeline.collector.holds(2)
    manifest = pipeline.fetch(date=later)
    assert [record.duplicate_of for record in manifest.reports] == [f"2016-08-01/{first.report}", ""]
    assert done_downstream(pipeline, later) == [written(2).removesuffix(".json")]
    assert (pipeline.raw(later) / written(1)).exists()


def test_who_was_first_stays_first_when_buckets_are_redone(pipeline: Pipeline) -> None:
    later = DATE + dt.timedelta(days=1)
    pipeline.collector.holds(1)
    pipeline.fetch()
    pipeline.fetch(date=later)
    for date in (DATE, later):
        forget_bucket(pipeline.layout, Stage.RAW, date)
    again = pipeline.fetch(date=later), pipeline.fetch()  # the other way round
    assert [manifest.reports[0].duplicate_of for manifest in again] == [
        f"2016-08-01/{written(1).removesuffix('.json')}", ""
    ]  # fmt: skip


def test_within_a_bucket_too_who_was_first_stays_first(pipeline: Pipeline) -> None:
    lay(pipeline, {report_name(9): '{"number": 1}\n'})
    pipeline.fetch()
    forget_bucket(pipeline.layout, Stage.RAW, DATE)
    pipeline.collector.holds(1)
    fetched, adopted = pipeline.fetch().reports
    assert (fetched.collector, adopted.collector) == ("athens", "")
    assert fetched.duplicate_of == f"2016-08-01/{adopted.report}"
    assert adopted.usable


def test_half_a_report_does_not_pass_for_another(tmp_path: Path) -> None:
    def digest(name: str, content: bytes) -> tuple[str, str]:
        path = tmp_path / name
        path.write_bytes(content)
        return content_digest(path, file_digest(path)), file_digest(path)

    packed = gzip.compress(b"line\n" * 1000)
    plain = digest("a.json", b"line\n" * 1000)
    assert plain[0] == plain[1]
    assert digest("b.json.gz", packed)[0] == plain[0]
    assert digest("c.json", packed + packed)[0] == digest("d.json", b"line\n" * 2000)[0]
    for broken in (packed[:-4], packed[:-1] + b"x", b"\x1f\x8b", b""):
        content, own = digest("e.json.gz", broken)
        assert content == own
    content, own = digest("f.json.gz", b"not gzip")
    assert content == own


def test_a_proof_without_reports_asks_no_index(pipeline: Pipeline) -> None:
    prove_bucket(
        pipeline.layout, Manifest("raw", DATE, "", reports=[ReportRecord("x", rejected="unreadable")])
    )
    assert not pipeline.layout.report_index().exists()
