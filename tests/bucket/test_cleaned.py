from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from ooni_pipeline.bucket.cleaned import Freed, free_bucket, freeable, is_cleaned, lacks_files, refuse_cleaned
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.ledger import bucket_ledger
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.errors import BucketError

DATE = dt.date(2016, 8, 1)
NOW = dt.datetime(2017, 8, 1)


@pytest.fixture
def raw(layout: Layout) -> Manifest:
    """Three files of 1, 2 and 3 bytes, and a report of which there is none."""
    directory = layout.bucket(Stage.RAW, DATE)
    directory.mkdir(parents=True)
    records = [ReportRecord("none", rejected="unreadable")]
    for size in (1, 2, 3):
        (directory / f"{size}.json").write_text("x" * size)
        records.append(ReportRecord(str(size), f"{size}.json", size, "d" * 64))
    manifest = Manifest("raw", DATE, "2016-08-01T04:00:00Z", reports=records)
    manifest.write(layout.manifest(Stage.RAW, DATE))
    return manifest


def there(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.bucket(Stage.RAW, DATE).iterdir())


def test_what_the_manifest_names_goes_and_nothing_else(layout: Layout, raw: Manifest) -> None:
    directory = layout.bucket(Stage.RAW, DATE)
    (directory / "stranger").write_text("nobody counts it")
    (directory / "2.json").write_text("it has changed")
    os.link(directory / "3.json", layout.private / "rejected")
    assert not is_cleaned(layout, DATE)
    assert freeable(layout, raw) == Freed(files=2, freed=1, kept=3)
    assert not is_cleaned(layout, DATE)
    assert free_bucket(layout, raw, NOW) == Freed(files=2, freed=1, kept=3, changed=1)
    assert there(layout) == ["2.json", "stranger"]
    assert is_cleaned(layout, DATE)
    mark = layout.cleaned(DATE).read_text()
    assert '"files": 2' in mark
    assert ".json" not in mark  # a mark names no report
    assert (layout.private / "rejected").read_text() == "xxx"


def test_a_link_in_the_place_of_a_file_stays(layout: Layout, raw: Manifest, tmp_path: Path) -> None:
    path = layout.bucket(Stage.RAW, DATE) / "1.json"
    path.unlink()
    (tmp_path / "elsewhere").write_text("x")
    path.symlink_to(tmp_path / "elsewhere")
    assert free_bucket(layout, raw, NOW).changed == 1
    assert path.is_symlink()


def test_the_mark_is_there_before_anything_goes(
    layout: Layout, raw: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".json" and self.parent == layout.bucket(Stage.RAW, DATE):
            assert is_cleaned(layout, DATE)
            raise KeyboardInterrupt
        real(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        free_bucket(layout, raw, NOW)
    monkeypatch.undo()
    assert not lacks_files(layout, raw)
    refuse_cleaned(layout, raw)  # all of it is here: nothing has to be brought back
    assert free_bucket(layout, raw, NOW).files == 3
    assert lacks_files(layout, raw)
    with pytest.raises(BucketError, match="RestoreReports --bucket-date 2016-08-01"):
        refuse_cleaned(layout, raw)


def test_files_that_are_missing_without_a_mark_are_missing(layout: Layout, raw: Manifest) -> None:
    (layout.bucket(Stage.RAW, DATE) / "1.json").unlink()
    refuse_cleaned(layout, raw)  # not freed: another error tells
    ledger = bucket_ledger(layout, DATE, None)
    assert any("1.json is in the manifest of its bucket but is missing" in line for line in ledger.problems)
    free_bucket(layout, raw, NOW)
    ledger = bucket_ledger(layout, DATE, None)
    assert not any("is missing" in line for line in ledger.problems)
    assert "raw        3 of 3 files are in the backup alone" in ledger.lines
    assert "raw files are in the backup alone, and nothing proves the backup" in ledger.problems
