from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.bucket.room import MB, Room, needed
from ooni_pipeline.errors import BucketError

PLAIN = ReportRecord("r1", "r1.yaml", size=1000)
PACKED = ReportRecord("r2", "r2.json.gz", size=1000)


def test_estimates_grow_with_the_sources_and_unpack_them() -> None:
    assert needed(Stage.NORMALISED, []) == 0
    assert needed(Stage.NORMALISED, [PLAIN, PLAIN]) == 2 * needed(Stage.NORMALISED, [PLAIN])
    assert needed(Stage.NORMALISED, [PACKED]) > 2 * needed(Stage.NORMALISED, [PLAIN])
    assert needed(Stage.BACKUP, [PLAIN, PACKED]) == 2000
    assert needed(Stage.PUBLISHED, [PLAIN]) == 100


def free(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def test_more_than_there_is_and_what_is_to_stay_free_is_refused(tmp_path: Path) -> None:
    later = tmp_path / "to" / "be" / "made"
    Room(0).check("bucket 2016-08-01, raw,", later, free(tmp_path) // 2)
    with pytest.raises(BucketError, match=rf"^bucket 2016-08-01, raw, needs about \d+ MB in {later}, where"):
        Room(0).check("bucket 2016-08-01, raw,", later, 2 * free(tmp_path))
    with pytest.raises(BucketError, match="Nothing was begun: make room and run it again"):
        Room(free(tmp_path)).check("bucket 2016-08-01, raw,", later, free(tmp_path) // 2)
    Room(None).check("bucket 2016-08-01, raw,", later, 2 * free(tmp_path))
    assert not later.exists()


def test_what_writes_nothing_needs_no_room(tmp_path: Path) -> None:
    """A night that has nothing to do goes on, on a full disk too."""
    Room(2 * free(tmp_path)).check("bucket 2016-08-01, raw,", tmp_path, 0)
    Room(2 * free(tmp_path)).check("bucket 2016-08-01, raw,", tmp_path, -5)


def test_a_file_system_that_does_not_say_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=0)
    monkeypatch.setattr(os, "statvfs", lambda path: silent)
    Room(0).check("bucket 2016-08-01, raw,", tmp_path, 5 * MB)
