from __future__ import annotations

import json
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.restore import restore_bucket
from ooni_pipeline.transfer.stores import DirectoryStore
from tests.conftest import Start
from tests.transfer.conftest import DATE, NOW, Pipeline, die, written

RAW = "reports-raw/yaml/2016-08-01"
PROOF = "manifests/raw/2016-08-01.json"
ID_KEY = "keys/id.key"


@pytest.fixture
def saved(pipeline: Pipeline) -> Pipeline:
    """A bucket with a historical name of 255 bytes that is in the backup."""
    pipeline.key()
    pipeline.raw().mkdir(parents=True)
    (pipeline.raw() / ("x" * 255)).write_text("historical")
    pipeline.collector.holds(1, 2)
    pipeline.fetch()
    backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)
    return pipeline


@pytest.fixture
def rebuilt(tmp_path: Path) -> Layout:
    """A new machine."""
    return Layout(private=tmp_path / "new" / "private", public=tmp_path / "new" / "public")


def files(private: Path) -> dict[str, bytes]:
    """What makes a bucket: its reports, its proof, the key."""
    return {
        path.relative_to(private).as_posix(): path.read_bytes()
        for place in ("reports-raw", "manifests/raw", "keys")
        for path in sorted((private / place).rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def test_byte_for_byte_into_an_empty_machine(saved: Pipeline, rebuilt: Layout) -> None:
    steps: list[tuple[int, int]] = []
    assert restore_bucket(rebuilt, DATE, saved.store, lambda *step: steps.append(step))
    assert files(rebuilt.private) == files(saved.layout.private)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert stat.S_IMODE(rebuilt.id_key().stat().st_mode) == 0o400
    assert id_key(rebuilt.id_key()) == id_key(saved.layout.id_key())
    assert restore_bucket(rebuilt, DATE, saved.store)
    assert files(rebuilt.private) == files(saved.layout.private)


def test_what_the_backup_does_not_hold(rebuilt: Layout, tmp_path: Path) -> None:
    assert not restore_bucket(rebuilt, DATE, DirectoryStore(tmp_path / "backup"))
    assert not rebuilt.private.exists()


def test_what_is_right_is_left_alone_and_what_is_wrong_is_set_aside(saved: Pipeline) -> None:
    right, wrong = saved.raw() / written(1), saved.raw() / written(2)
    before = right.stat()
    wrong.write_text("half")
    saved.proof().unlink()
    assert restore_bucket(saved.layout, DATE, saved.store)
    assert right.stat() == before
    assert json.loads(wrong.read_text()) == {"number": 2}
    assert (saved.raw() / f"{written(2)}.aside-1").read_text() == "half"  # who knows what it was


def a_changed_report(backup: Path) -> str:
    (backup / RAW / written(2)).write_text("changed")
    return f"{RAW}/{written(2)} comes back from the backup changed"


def a_lost_report(backup: Path) -> str:
    (backup / RAW / written(2)).unlink()
    return f"cannot read {RAW}/{written(2)}"


def a_proof_that_is_none(backup: Path) -> str:
    (backup / PROOF).write_text("rubbish")
    return f"{PROOF} of the backup is not a manifest"


def the_proof_of_another_bucket(backup: Path) -> str:
    (backup / PROOF).write_text((backup / PROOF).read_text().replace('"2016-08-01"', '"2016-08-02"'))
    return f"{PROOF} of the backup is the manifest of another bucket"


def a_proof_that_leads_elsewhere(backup: Path) -> str:
    text = (backup / PROOF).read_text()
    (backup / PROOF).write_text(text.replace(f'"name": "{written(2)}"', '"name": "../../../outside"'))
    return f"{PROOF} of the backup is not a manifest"


def a_key_that_is_none(backup: Path) -> str:
    (backup / ID_KEY).chmod(0o600)
    (backup / ID_KEY).write_text("rubbish")
    return "is not a key of this pipeline"


@pytest.mark.parametrize(
    "harm",
    [
        a_changed_report,
        a_lost_report,
        a_proof_that_is_none,
        the_proof_of_another_bucket,
        a_proof_that_leads_elsewhere,
        a_key_that_is_none,
    ],
)
def test_a_damaged_backup_gives_no_manifest(
    saved: Pipeline, rebuilt: Layout, harm: Callable[[Path], str]
) -> None:
    message = harm(saved.root / "backup")
    with pytest.raises((TransferError, BucketError), match=message):
        restore_bucket(rebuilt, DATE, saved.store)
    assert not rebuilt.manifest(Stage.RAW, DATE).exists()
    assert not (rebuilt.bucket(Stage.RAW, DATE) / written(2)).exists()
    assert not list(rebuilt.private.rglob("outside"))
    assert not (harm is a_key_that_is_none and rebuilt.id_key().exists())


def test_a_store_that_gives_another_proof_than_it_holds(
    saved: Pipeline, rebuilt: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(source: Path, destination: Path) -> None:
        destination.write_bytes(source.read_bytes()[:-1])

    monkeypatch.setattr("ooni_pipeline.transfer.stores.copy_plain", cut)
    with pytest.raises(TransferError, match=f"{PROOF} does not come back as it lies there"):
        restore_bucket(rebuilt, DATE, saved.store)
    assert not rebuilt.manifest(Stage.RAW, DATE).exists()


def test_another_key_is_refused(saved: Pipeline, rebuilt: Layout) -> None:
    key = id_key(rebuilt.id_key())
    with pytest.raises(TransferError, match=f"the backup holds another id.key than {rebuilt.id_key()}"):
        restore_bucket(rebuilt, DATE, saved.store)
    assert id_key(rebuilt.id_key()) == key
    assert not rebuilt.manifest(Stage.RAW, DATE).exists()


def restore_and_die(layout: Layout, backup: Path, gets: int) -> None:
    class Dying(DirectoryStore):
        count = 0

        def get(self, key: str, path: Path) -> None:
            super().get(key, path)
            self.count += 1
            if self.count > gets:
                path.chmod(0o600)
                path.write_bytes(path.read_bytes()[:-1])
                die()

    restore_bucket(layout, DATE, Dying(backup))


@pytest.mark.parametrize("gets", range(5))  # the manifest, the key, three files
def test_killed_at_any_object_it_goes_on(saved: Pipeline, rebuilt: Layout, start: Start, gets: int) -> None:
    process = start(restore_and_die, rebuilt, saved.root / "backup", gets)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not rebuilt.manifest(Stage.RAW, DATE).exists()
    assert restore_bucket(rebuilt, DATE, saved.store)
    assert files(rebuilt.private) == files(saved.layout.private)


def test_the_disk_is_lost_and_the_bucket_comes_back_as_it_was(saved: Pipeline) -> None:
    before = files(saved.layout.private)
    shutil.rmtree(saved.layout.private)
    assert restore_bucket(saved.layout, DATE, saved.store)
    assert files(saved.layout.private) == before
    manifest = backup_bucket(saved.layout, DATE, saved.store, NOW)
    assert len(manifest.reports) == len(Manifest.read(saved.proof()).reports) == 3
