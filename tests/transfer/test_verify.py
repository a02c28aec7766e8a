from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ooni_pipeline.bucket.cleaned import free_bucket, is_cleaned
from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.raw_bucket import adopt_bucket
from ooni_pipeline.transfer.restore import restore_bucket
from ooni_pipeline.transfer.sent import is_as_known, spread
from ooni_pipeline.transfer.stores import DirectoryStore, Stored
from ooni_pipeline.transfer.verify import backup_problems
from tests.transfer.conftest import DATE, KEY, NOW, Pipeline, written

RAW = "reports-raw/yaml/2016-08-01"
PROOF = "manifests/raw/2016-08-01.json"


@pytest.fixture
def saved(pipeline: Pipeline) -> Pipeline:
    pipeline.key()
    pipeline.collector.holds(1, 2)
    pipeline.fetch()
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)
    return pipeline


def problems(saved: Pipeline, *, read: bool = False) -> list[str]:
    return backup_problems(saved.layout, DATE, saved.store, read=read, connections=2)


@pytest.mark.parametrize("read", [False, True])
def test_a_backup_that_holds_everything(saved: Pipeline, read: bool) -> None:
    assert problems(saved, read=read) == []
    assert not [path for path in saved.layout.sealing().rglob("*") if path.is_file()]


def a_lost_report(saved: Pipeline, backup: Path) -> str:
    (backup / RAW / written(2)).unlink()
    return f"{RAW}/{written(2)}: the backup holds it no more"


def a_changed_report(saved: Pipeline, backup: Path) -> str:
    path = backup / RAW / written(2)
    path.write_bytes(b"x" * path.stat().st_size)
    return f"{RAW}/{written(2)}: it is not what was put there"


def a_lost_manifest(saved: Pipeline, backup: Path) -> str:
    (backup / PROOF).unlink()
    return f"{PROOF}: the backup holds it no more"


def another_manifest(saved: Pipeline, backup: Path) -> str:
    (backup / PROOF).write_text("rubbish")
    return f"{PROOF}: it is not what was put there"


def a_newer_manifest_here(saved: Pipeline, backup: Path) -> str:
    manifest = Manifest.read(saved.proof())
    manifest.made = "2016-08-02T00:00:00Z"
    manifest.write(saved.proof())
    return f"{PROOF}: it is not what was put there"


def a_lost_key(saved: Pipeline, backup: Path) -> str:
    (backup / "keys" / "id.key").unlink()
    return "keys/id.key: the backup does not hold it"


def another_key(saved: Pipeline, backup: Path) -> str:
    (backup / "keys" / "id.key").chmod(0o600)
    (backup / "keys" / "id.key").write_text("another")
    return "the backup holds another id.key than"


def a_report_that_nobody_backed_up(saved: Pipeline, backup: Path) -> str:
    proof = Manifest.read(saved.proof(Stage.BACKUP))
    proof.reports = [record for record in proof.reports if written(2) not in str(record.name)]
    proof.write(saved.proof(Stage.BACKUP))
    return f"{RAW}/{written(2)}: the proof of the backup does not name it"


def a_report_that_was_backed_up_as_another(saved: Pipeline, backup: Path) -> str:
    proof = Manifest.read(saved.proof(Stage.BACKUP))
    proof.reports = [dataclasses.replace(record, source="0" * 64) for record in proof.reports]
    proof.write(saved.proof(Stage.BACKUP))
    return "the proof of the backup does not name it"


@pytest.mark.parametrize(
    "harm",
    [
        a_lost_report, a_changed_report, a_lost_manifest, another_manifest, a_newer_manifest_here, a_lost_key,
        another_key, a_report_that_nobody_backed_up, a_report_that_was_backed_up_as_another,
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(saved: Pipeline, harm: Callable[[Pipeline, Path], str]) -> None:
    message = harm(saved, saved.root / "backup")
    found = problems(saved)
    assert found
    assert message in found[0]


def test_without_a_proof_nothing_verifies(saved: Pipeline) -> None:
    saved.proof(Stage.BACKUP).unlink()
    with pytest.raises(BucketError, match="there is no manifest"):
        problems(saved)


def test_reading_finds_what_a_listing_cannot(saved: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    a_changed_report(saved, saved.root / "backup")
    monkeypatch.setattr("ooni_pipeline.transfer.verify.is_as_known", lambda *arguments: True)
    assert problems(saved) == []
    assert problems(saved, read=True) == [f"{RAW}/{written(2)}: it comes back as something else"]


def test_freed_files_come_back_and_the_mark_goes(saved: Pipeline) -> None:
    before = {path.name: path.read_bytes() for path in saved.raw().iterdir()}
    free_bucket(saved.layout, Manifest.read(saved.proof()), NOW)
    assert saved.names() == []
    assert problems(saved, read=True) == []
    forget_bucket(saved.layout, Stage.BACKUP, DATE)  # the backup can be proven without the files
    assert len(backup_bucket(saved.layout, DATE, saved.store, NOW).reports) == 2
    assert restore_bucket(saved.layout, DATE, saved.store, connections=2)
    assert {path.name: path.read_bytes() for path in saved.raw().iterdir()} == before
    assert not is_cleaned(saved.layout, DATE)


def test_freed_files_that_the_backup_lost_are_told(saved: Pipeline) -> None:
    free_bucket(saved.layout, Manifest.read(saved.proof()), NOW)
    shutil.rmtree(saved.root / "backup" / RAW)
    forget_bucket(saved.layout, Stage.BACKUP, DATE)
    with pytest.raises(
        TransferError, match=r"was freed by tasks.cleanup, and the backup does not hold it any"
    ):
        backup_bucket(saved.layout, DATE, saved.store, NOW)
    with pytest.raises(TransferError, match="cannot read"):
        restore_bucket(saved.layout, DATE, saved.store)
    assert is_cleaned(saved.layout, DATE)


def test_a_freed_bucket_is_not_adopted_as_an_empty_one(saved: Pipeline) -> None:
    free_bucket(saved.layout, Manifest.read(saved.proof()), NOW)
    saved.layout.plan(DATE).unlink()
    forget_bucket(saved.layout, Stage.RAW, DATE)
    with pytest.raises(BucketError, match=r"are in the backup alone: luigi --module tasks.fetch"):
        adopt_bucket(saved.layout, DATE, KEY, NOW)


def test_a_local_manifest_says_what_is_restored(saved: Pipeline) -> None:
    """A second batch of the day that is not in the backup yet is not forgotten by a restore."""
    saved.collector.holds(3)
    forget_bucket(saved.layout, Stage.RAW, DATE)
    saved.fetch()
    (saved.raw() / written(1)).unlink()
    proof = saved.proof().read_bytes()
    assert restore_bucket(saved.layout, DATE, saved.store)
    assert saved.proof().read_bytes() == proof
    assert len(saved.names()) == 3


@pytest.mark.parametrize(
    ("known", "same"),
    [
        (Stored("a", 1, "m", "d"), True),
        (Stored("a", 1, "m"), True),
        (Stored("a", 2, "m", "d"), False),
        (Stored("a", 1, "n", "d"), False),  # never the digest, where marks differ
        (Stored("a", 1, "", "d"), True),
        (Stored("a", 1, "", "e"), False),
        (Stored("a", 1), False),
    ],
)
def test_by_what_an_object_is_known_again(known: Stored, same: bool, tmp_path: Path) -> None:
    class Says(DirectoryStore):
        def digest(self, key: str) -> str | None:
            return "d"

    store = Says(tmp_path)
    assert is_as_known(store, Stored("a", 1, "m"), known) is same
    assert not is_as_known(store, None, known)
    assert not is_as_known(store, Stored("a", 1, "m"), None)


@pytest.mark.parametrize("connections", [1, 3])
def test_after_the_first_error_nothing_more_is_begun(connections: int) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.001)
        if number == 2:
            raise TransferError("two")
        return number * 2

    assert spread(work, [0, 1, 3], connections) == [0, 2, 6]
    begun.clear()
    with pytest.raises(TransferError, match="two"):
        spread(work, list(range(1000)), connections)
    assert len(begun) < 500
