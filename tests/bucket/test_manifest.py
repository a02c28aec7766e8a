from __future__ import annotations

import datetime as dt
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import FORMAT, Manifest, ReportRecord, read_proof
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.tally import Tally

DATE = dt.date(2016, 8, 1)
HEAD: dict[str, Any] = {
    "format": FORMAT, "stage": "raw", "bucket_date": "2016-08-01", "made": "", "version": "", "facts": {},
    "reports": [],
}  # fmt: skip


def manifest(*reports: ReportRecord) -> Manifest:
    return Manifest("raw", DATE, "2016-08-01T04:00:00Z", "v", {"unreachable": {"a": "b"}}, list(reports))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    hostile = os.fsdecode(b"a\xff\n\"\\'../\xe2\x80\xa8.json")
    counts = Tally(5, 2, 1, rejected=Counter(not_json=2), notes=Counter(nonfinite=7))
    records = [
        ReportRecord("one", "one.json", 12, "d" * 64, "s" * 64, counts),
        ReportRecord("two", rejected="unreadable", detail="EIO", path=hostile, collector="c"),
        ReportRecord("three", hostile.replace("../", ""), 0, "e", content="f", duplicate_of="2016-07-31/x"),
    ]
    path = tmp_path / "below" / "2016-08-01.json"
    manifest(*records).write(path)
    assert Manifest.read(path) == manifest(*records)
    assert path.read_bytes().isascii()
    assert len(path.read_text().splitlines()) == 3 + len(records) - 1  # one report a line
    assert json.loads(path.read_bytes())["entries"] == counts.as_dict()


def test_usable_is_what_has_a_file_and_is_neither_rejected_nor_a_duplicate() -> None:
    records = [
        ReportRecord("a", "a.json"),
        ReportRecord("b"),
        ReportRecord("c", "c.json", rejected="bad_gzip"),
        ReportRecord("d", "d.json", duplicate_of="2016-08-01/a"),
    ]
    assert manifest(*records).usable() == {"a": records[0]}
    with pytest.raises(BucketError, match="raw manifest of bucket 2016-08-01 names a report twice"):
        manifest(records[0], records[0]).usable()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"hello": "world"}',
        json.dumps({**HEAD, "bucket_date": "yesterday"}).encode(),
        json.dumps({**HEAD, "facts": 1}).encode(),
        json.dumps({**HEAD, "reports": {"a": 1}}).encode(),
        json.dumps({**HEAD, "reports": [{}]}).encode(),
        json.dumps({**HEAD, "reports": [{"report": "a", "later": 1}]}).encode(),
        json.dumps({**HEAD, "reports": [{"report": "a", "counts": []}]}).encode(),
        json.dumps({**HEAD, "reports": [{"report": "a", "size": "1"}]}).encode(),
        json.dumps({**HEAD, "reports": [{"report": "a", "name": 5}]}).encode(),
        json.dumps({**HEAD, "reports": [{"report": "a", "name": "../../etc/passwd"}]}).encode(),
        json.dumps({**HEAD, "reports": [{"report": "a", "name": "/etc/passwd"}]}).encode(),
        json.dumps({**HEAD, "reports": [{"report": "a", "name": ""}]}).encode(),
    ],
)
def test_what_is_no_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "2016-08-01.json"
    path.write_bytes(content)
    with pytest.raises(BucketError, match=f"{path} is not a manifest"):
        Manifest.read(path)


def test_a_manifest_of_other_code_a_missing_one_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "2016-08-01.json"
    with pytest.raises(BucketError, match=f"there is no manifest {path}"):
        Manifest.read(path)
    path.write_text(json.dumps({**HEAD, "format": 99}))
    with pytest.raises(BucketError, match=f"{path} has format 99"):
        Manifest.read(path)
    with pytest.raises(BucketError, match=f"the manifest {tmp_path} cannot be read: Is a directory"):
        Manifest.read(tmp_path)


def test_the_manifest_of_another_bucket_proves_nothing(layout: Layout) -> None:
    manifest().write(layout.manifest(Stage.RAW, DATE))
    assert read_proof(layout, Stage.RAW, DATE) == manifest()
    later = DATE + dt.timedelta(days=1)
    for stage, date in ((Stage.RAW, later), (Stage.NORMALISED, DATE)):
        manifest().write(layout.manifest(stage, date))
        with pytest.raises(BucketError, match="is the manifest of raw 2016-08-01"):
            read_proof(layout, stage, date)
