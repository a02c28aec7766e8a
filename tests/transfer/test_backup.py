from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.room import Room
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan
from ooni_pipeline.transfer.stores import DirectoryStore, Erased, Stored
from tests.conftest import Start
from tests.transfer.conftest import DATE, KEY, NOW, Pipeline, die, report_name, written

RAW = "reports-raw/yaml/2016-08-01"
PROOF = "manifests/raw/2016-08-01.json"
ID_KEY = "keys/id.key"


class Counting(DirectoryStore):
    """A store that remembers what was put, in order."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.puts: list[str] = []

    def put(self, key: str, path: Path) -> Stored:
        self.puts.append(key)
        return super().put(key, path)


class Lying(DirectoryStore):
    """A store that takes what it is given and says that it has something else under one key."""

    def __init__(self, directory: Path, key: str) -> None:
        super().__init__(directory)
        self.key = key

    def digest(self, key: str) -> str | None:
        return "0" * 64 if key == self.key and super().digest(key) else super().digest(key)


@pytest.fixture
def fetched(pipeline: Pipeline) -> Pipeline:
    """A bucket of three files, one of them no report, ready for the backup."""
    pipeline.key()
    pipeline.collector.holds(1, 2)
    (pipeline.collector.directory / "rubbish").write_text("rubbish")
    pipeline.fetch()
    return pipeline


def back_up(pipeline: Pipeline, store: DirectoryStore | None = None) -> Manifest:
    return backup_bucket(pipeline.layout, DATE, store or pipeline.store, NOW)


def test_everything_of_the_bucket_and_its_proof_last(fetched: Pipeline) -> None:
    store = Counting(fetched.root / "backup")
    manifest = back_up(fetched, store)
    assert manifest == Manifest.read(fetched.proof(Stage.BACKUP))
    assert store.puts[-2:] == [ID_KEY, PROOF]
    assert sorted(store.puts[:-2]) == [f"{RAW}/{name}" for name in fetched.names()]
    assert sorted(str(record.name) for record in manifest.reports) == sorted(store.puts[:-2])
    for key in store.puts:
        ours = fetched.layout.private / key
        assert store.digest(key) == file_digest(ours)
        assert (fetched.root / "backup" / key).stat().st_mode & 0o777 == 0o600


def test_only_what_is_missing_is_stored(fetched: Pipeline) -> None:
    back_up(fetched)
    store = Counting(fetched.root / "backup")
    back_up(fetched, store)
    assert store.puts == []
    fetched.collector.holds(3)
    forget_bucket(fetched.layout, Stage.RAW, DATE)
    fetched.fetch()
    (fetched.root / "backup" / RAW / written(1)).unlink()
    back_up(fetched, store)
    assert sorted(store.puts) == sorted([f"{RAW}/{written(1)}", f"{RAW}/{written(3)}", PROOF])
    assert store.puts[-1] == PROOF


@pytest.mark.parametrize("key", [f"{RAW}/{written(1)}", ID_KEY, PROOF])
def test_a_store_that_holds_something_else_is_no_backup(fetched: Pipeline, key: str) -> None:
    with pytest.raises(TransferError, match=f"the backup does not hold {key} as it was sent"):
        back_up(fetched, Lying(fetched.root / "backup", key))
    assert not fetched.proof(Stage.BACKUP).exists()
    if key != PROOF:
        assert fetched.store.digest(PROOF) is None
    back_up(fetched)


def test_an_object_that_was_stored_wrongly_is_stored_again(fetched: Pipeline) -> None:
    place = fetched.root / "backup" / RAW / written(1)
    place.parent.mkdir(parents=True)
    place.write_text("half")
    back_up(fetched)
    assert place.read_bytes() == (fetched.raw() / written(1)).read_bytes()


def test_a_report_of_ours_that_has_changed_does_not_go_into_the_backup(fetched: Pipeline) -> None:
    path = fetched.raw() / written(1)
    size = path.stat().st_size
    for text, message in (("x" * size, "is no longer what was fetched"), ("x", "has 1 bytes, its manifest")):
        path.write_text(text)
        with pytest.raises(BucketError, match=f"{path} {message}"):
            back_up(fetched)
        assert fetched.store.digest(f"{RAW}/{written(1)}") is None


def test_what_the_backup_holds_is_never_replaced_by_less(fetched: Pipeline) -> None:
    back_up(fetched)
    held = (fetched.root / "backup" / PROOF).read_bytes()
    Manifest("raw", DATE, "").write(fetched.proof())  # as tasks.adopt --empty would, after the disk was lost
    with pytest.raises(
        TransferError, match=f"holds 3 files that the bucket here has no more.*delete {PROOF}"
    ):
        back_up(fetched)
    assert (fetched.root / "backup" / PROOF).read_bytes() == held
    (fetched.root / "backup" / PROOF).unlink()
    assert back_up(fetched).reports == []


def test_other_bytes_under_a_name_that_the_backup_proves_are_refused(fetched: Pipeline) -> None:
    back_up(fetched)
    before = (fetched.root / "backup" / RAW / written(1)).read_bytes()
    forget_bucket(fetched.layout, Stage.RAW, DATE)
    fetched.layout.forgotten(Stage.RAW, DATE).unlink()
    fetched.layout.plan(DATE).unlink()
    (fetched.raw() / written(1)).unlink()
    fetched.collector.holds(1, text="another report of that name\n")
    fetched.fetch()
    with pytest.raises(TransferError, match="holds 1 files that the bucket here has no more"):
        back_up(fetched)
    assert (fetched.root / "backup" / RAW / written(1)).read_bytes() == before


def test_another_key_is_refused(fetched: Pipeline) -> None:
    back_up(fetched)
    path = fetched.layout.id_key()
    path.unlink()
    with pytest.raises(BucketError, match=f"{path} is gone: copy keys/id.key back"):
        back_up(fetched)
    path.write_text("00" * 32)
    with pytest.raises(TransferError, match=f"the backup holds another id.key than {path}"):
        back_up(fetched)


def test_an_empty_bucket_is_backed_up_too(pipeline: Pipeline) -> None:
    pipeline.key()
    pipeline.fetch()
    assert back_up(pipeline).reports == []
    assert pipeline.store.digest(PROOF) is not None


def test_a_proof_that_is_forgotten_meanwhile_is_not_called_backed_up(fetched: Pipeline) -> None:
    class Forgetting(DirectoryStore):
        def put(self, key: str, path: Path) -> Stored:
            stored = super().put(key, path)
            if key == PROOF:
                forget_bucket(fetched.layout, Stage.RAW, DATE)
            return stored

    with pytest.raises(BucketError, match="was forgotten or made anew meanwhile"):
        back_up(fetched, Forgetting(fetched.root / "backup"))
    assert not fetched.proof(Stage.BACKUP).exists()


def back_up_and_die(pipeline: Pipeline, puts: int) -> None:
    class Dying(Counting):
        def put(self, key: str, path: Path) -> Stored:
            if len(self.puts) == puts:
                die()
            return super().put(key, path)

    back_up(pipeline, Dying(pipeline.root / "backup"))


@pytest.mark.parametrize("puts", range(5))
def test_killed_at_any_object_it_goes_on(fetched: Pipeline, start: Start, puts: int) -> None:
    process = start(back_up_and_die, fetched, puts)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert fetched.store.digest(PROOF) is None
    store = Counting(fetched.root / "backup")
    back_up(fetched, store)
    assert len(store.puts) == 5 - puts


def test_a_store_refuses_paths_that_lead_out_of_it(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    (tmp_path / "file").write_text("x")
    for key in ("../file", "/etc/passwd", "a/../../file", ""):
        for act in (
            lambda key: store.put(key, tmp_path / "file"),
            lambda key: store.get(key, tmp_path / "copy"),
            store.digest,
        ):
            with pytest.raises(TransferError, match="refusing the path"):
                act(key)


def test_what_a_store_cannot_do_is_told_in_one_line(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert store.digest("nothing") is None
    for key in ("folder", "link"):
        with pytest.raises(TransferError, match=f"backup {tmp_path}: cannot read {key}"):
            store.digest(key)
        with pytest.raises(TransferError, match=f"backup {tmp_path}: cannot read {key}"):
            store.get(key, tmp_path / "copy")
    with pytest.raises(TransferError, match=f"backup {tmp_path}: cannot store link/below"):
        store.put("link/below", tmp_path / "link")
    with pytest.raises(TransferError, match=f"backup {tmp_path}: cannot store folder"):
        store.put("folder", tmp_path / report_name())
    assert not os.path.lexists(tmp_path / "copy")


def test_room_is_wanted_for_what_is_missing_alone(fetched: Pipeline) -> None:
    class Asked(Room):
        def check(self, what: str, directory: Path, needs: int) -> None:
            asked.append((directory, needs))

    asked: list[tuple[Path, int]] = []
    sizes = {record.name: record.size for record in Manifest.read(fetched.proof()).reports}
    backup_bucket(fetched.layout, DATE, fetched.store, NOW, room=Asked())
    name = fetched.names()[0]
    (fetched.root / "backup" / RAW / name).unlink()
    backup_bucket(fetched.layout, DATE, fetched.store, NOW, room=Asked())
    place = fetched.root / "backup"
    assert asked == [(place, sum(sizes.values())), (place, sizes[name])]


def test_room_for_a_fetch_is_wanted_for_what_is_not_here(fetched: Pipeline) -> None:
    class Asked(Room):
        def check(self, what: str, directory: Path, needs: int) -> None:
            asked.append(needs)

    asked: list[int] = []
    machines = (fetched.collector,)
    plan = make_plan(fetched.layout, DATE, machines, KEY, add=True)
    path = fetched.raw() / fetched.names()[0]
    size = path.stat().st_size
    path.unlink()
    fetch_bucket(fetched.layout, plan, machines, KEY, NOW, room=Asked())
    assert asked == [size]


def test_a_store_lists_what_begins_with_a_prefix(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    (tmp_path / "file").write_text("text")
    assert list(store.list("")) == list(store.list("a/b")) == []
    for key in ("a/b/2", "a/b/1", "a/bc", "b/1", "a.b"):
        store.put(key, tmp_path / "file")
    (tmp_path / "store" / "a" / "b" / ".0123456789abcdef.part").write_text("half")
    assert [stored.key for stored in store.list("")] == ["a.b", "a/b/1", "a/b/2", "a/bc", "b/1"]
    assert list(store.list("a/b/")) == [Stored("a/b/1", 4), Stored("a/b/2", 4)]
    assert [stored.key for stored in store.list("a/b")] == ["a/b/1", "a/b/2", "a/bc"]
    with pytest.raises(TransferError, match="refusing the path"):
        list(store.list("../"))


def test_a_put_says_what_lies_there(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    (tmp_path / "file").write_text("text")
    digest = file_digest(tmp_path / "file")
    assert store.put("a/1", tmp_path / "file") == Stored("a/1", 4, digest=digest, source=digest)


def test_an_object_is_erased_by_its_name(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    (tmp_path / "file").write_text("text")
    for key in ("a/1", "a/10", "a/*"):
        store.put(key, tmp_path / "file")
    assert store.erase("a/1") == Erased("a/1", 1)
    assert store.erase("a/*") == Erased("a/*", 1)
    assert store.erase("a/1") == Erased("a/1", 0)
    assert [stored.key for stored in store.list("")] == ["a/10"]
    for key in ("../file", "a"):
        with pytest.raises(TransferError):
            store.erase(key)
    assert (tmp_path / "file").exists()
