"""Backup and restore against a real S3 server, in the clear and encrypted."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.room import Room
from ooni_pipeline.errors import BucketError, ConfigurationError, TransferError
from ooni_pipeline.remote import age
from ooni_pipeline.remote.s3 import Bucket
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.backup import PUT_AGAIN, backup_bucket
from ooni_pipeline.transfer.object_store import ObjectStore
from ooni_pipeline.transfer.restore import restore_bucket
from ooni_pipeline.transfer.sealed import Seal, SealedStore
from ooni_pipeline.transfer.stores import DirectoryStore, Erased, Store
from ooni_pipeline.transfer.verify import backup_problems
from tests.conftest import Start
from tests.parts.s3 import S3Server
from tests.parts.s3_proxy import Answer, S3Proxy, always, s3_proxy
from tests.transfer.conftest import DATE, NOW, Pipeline, die, written

RAW = "reports-raw/yaml/2016-08-01"
PROOF = "manifests/raw/2016-08-01.json"
PREFIX = "ooni/private/"


@pytest.fixture(autouse=True)
def keys(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's pauses


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[S3Proxy]:
    with s3_proxy(s3.endpoint_url) as made:
        yield made


@pytest.fixture
def name(s3: S3Server) -> str:
    return s3.bucket()


def object_store(url: str, name: str, **more: Any) -> ObjectStore:
    client = Bucket(name, endpoint_url=url, **{"attempts": 2, "timeout": 20, **more})
    return ObjectStore(client, PREFIX, "keys/id.key")


@pytest.fixture
def store(proxy: S3Proxy, name: str) -> ObjectStore:
    return object_store(proxy.url, name)


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "identity"
    subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
    return path


def public(identity: Path) -> str:
    ran = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def sealed(store: Store, scratch: Path, *recipients: Path, identity: Path | None = None) -> SealedStore:
    to = tuple(map(public, recipients))
    return SealedStore(
        store,
        Seal(
            partial(age.encrypt, keys=to) if to else None,
            partial(age.decrypt, identity=identity) if identity else None,
        ),
        scratch,
    )


@pytest.fixture
def fetched(pipeline: Pipeline) -> Pipeline:
    pipeline.key()
    pipeline.collector.holds(1, 2, 3)
    pipeline.fetch()
    return pipeline


def back_up(pipeline: Pipeline, store: Store, connections: int = 4) -> Manifest:
    return backup_bucket(pipeline.layout, DATE, store, NOW, connections=connections)


def puts(proxy: S3Proxy) -> list[str]:
    """The keys that were put since it was asked last."""
    found = [r.partition(PREFIX)[2].partition("?")[0] for r in proxy.requests if r.startswith("PUT ")]
    proxy.requests.clear()
    return found


def files(private: Path) -> dict[str, bytes]:
    return {
        path.relative_to(private).as_posix(): path.read_bytes()
        for place in ("reports-raw", "manifests/raw", "keys")
        for path in sorted((private / place).rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def again(pipeline: Pipeline) -> None:
    forget_bucket(pipeline.layout, Stage.BACKUP, DATE)


def test_only_what_is_missing_goes_and_a_listing_says_so(
    fetched: Pipeline, store: ObjectStore, proxy: S3Proxy
) -> None:
    manifest = back_up(fetched, store)
    put = puts(proxy)
    assert sorted(put[:3]) == [f"{RAW}/{written(number)}" for number in (1, 2, 3)]
    assert put[3:] == ["keys/id.key", PROOF]
    for record in manifest.reports:
        assert record.source == record.digest == file_digest(fetched.layout.private / str(record.name))
        assert record.mark
    again(fetched)
    assert back_up(fetched, store).reports == manifest.reports
    assert not [r for r in proxy.requests if r.startswith("PUT ") or (r.startswith("HEAD ") and RAW in r)]
    again(fetched)
    layout = fetched.layout
    layout.forgotten(Stage.BACKUP, DATE).unlink()  # then the objects say themselves what they are
    assert back_up(fetched, store).reports == manifest.reports
    assert puts(proxy) == []


def test_an_object_that_was_changed_behind_our_back_is_put_again(
    fetched: Pipeline, store: ObjectStore, proxy: S3Proxy, s3: S3Server, name: str
) -> None:
    back_up(fetched, store)
    key = f"{RAW}/{written(2)}"
    original = (fetched.raw() / written(2)).read_bytes()
    digest = file_digest(fetched.raw() / written(2))
    changed = b"x" * len(original)
    s3.client.put_object(Bucket=name, Key=PREFIX + key, Body=changed, Metadata={"sha256": digest})
    again(fetched)
    puts(proxy)
    assert back_up(fetched, store).facts[PUT_AGAIN] == 1
    assert puts(proxy) == [key]
    assert s3.client.get_object(Bucket=name, Key=PREFIX + key)["Body"].read() == original
    again(fetched)
    assert PUT_AGAIN not in back_up(fetched, store).facts


def test_there_and_back_byte_for_byte(fetched: Pipeline, store: ObjectStore, tmp_path: Path) -> None:
    back_up(fetched, store)
    rebuilt = Layout(tmp_path / "new" / "private", tmp_path / "new" / "public")
    assert restore_bucket(rebuilt, DATE, store, connections=4)
    assert files(rebuilt.private) == files(fetched.layout.private)
    assert not restore_bucket(rebuilt, DATE + dt.timedelta(1), store)


def test_an_object_that_was_changed_does_not_come_back(
    fetched: Pipeline, store: ObjectStore, s3: S3Server, name: str, tmp_path: Path
) -> None:
    back_up(fetched, store)
    s3.client.put_object(Bucket=name, Key=f"{PREFIX}{RAW}/{written(2)}", Body=b"another report\n")
    rebuilt = Layout(tmp_path / "new" / "private", tmp_path / "new" / "public")
    with pytest.raises(TransferError, match=f"{RAW}/{written(2)} comes back from the backup changed"):
        restore_bucket(rebuilt, DATE, store)
    assert not rebuilt.manifest(Stage.RAW, DATE).exists()


def test_a_server_that_is_down_costs_nothing_and_the_next_night_heals(
    fetched: Pipeline, store: ObjectStore, proxy: S3Proxy
) -> None:
    proxy.fault = always(lambda: Answer(503, "ServiceUnavailable"))
    with pytest.raises(TransferError, match="overloaded or down; nothing is lost, the next run goes on"):
        back_up(fetched, store)
    assert not fetched.proof(Stage.BACKUP).exists()
    proxy.fault = lambda method, path, body: body
    assert len(back_up(fetched, store).reports) == 3


def test_it_breaks_off_at_one_file_and_goes_on_there(
    fetched: Pipeline, store: ObjectStore, proxy: S3Proxy, name: str
) -> None:
    proxy.fault = always(lambda: Answer(500, "InternalError"), f"PUT /{name}/{PREFIX}{RAW}/{written(3)}")
    with pytest.raises(TransferError, match=f"cannot store {PREFIX}{RAW}/{written(3)}"):
        back_up(fetched, store, connections=1)
    proxy.fault = lambda method, path, body: body
    puts(proxy)
    assert len(back_up(fetched, store).reports) == 3
    assert puts(proxy) == [f"{RAW}/{written(3)}", "keys/id.key", PROOF]


def test_a_server_that_is_killed_in_the_middle(
    pipeline: Pipeline, own_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.key()
    pipeline.collector.holds(*range(20))
    pipeline.fetch()
    for option, value in own_s3.environment.items():
        monkeypatch.setenv(option, value)
    with s3_proxy(own_s3.endpoint_url) as proxy:
        store = object_store(proxy.url, own_s3.bucket())

        def kill(method: str, path: str, body: bytes) -> bytes:
            if method == "PUT" and proxy.count("PUT ") == 10:
                own_s3.kill()
            return body

        proxy.fault = kill
        with pytest.raises(TransferError, match="nothing is lost, the next run goes on"):
            back_up(pipeline, store)
        assert not pipeline.proof(Stage.BACKUP).exists()
        proxy.fault = lambda method, path, body: body
        own_s3.start()
        puts(proxy)
        assert len(back_up(pipeline, store).reports) == 20
        assert len(puts(proxy)) < 20  # what it had answered for it has kept
        assert backup_problems(pipeline.layout, DATE, store, read=True, connections=4) == []


def test_a_listing_that_leaves_out_what_was_put_proves_nothing(
    fetched: Pipeline, store: ObjectStore, proxy: S3Proxy
) -> None:
    hidden = written(2).encode()

    def hide(method: str, path: str, body: bytes) -> tuple[bytes, int]:
        if method == "GET" and "list-type" in path:
            body = body.replace(hidden, b"another-name")
        return body, len(body)

    proxy.after = hide
    with pytest.raises(TransferError, match=f"does not show 1 of 3 objects below {RAW}/ as they were put"):
        back_up(fetched, store)
    assert not fetched.proof(Stage.BACKUP).exists()


def test_a_public_bucket_is_refused_before_anything_goes(
    fetched: Pipeline, store: ObjectStore, proxy: S3Proxy, s3: S3Server, name: str
) -> None:
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
        f'"Action": "s3:*", "Resource": ["arn:aws:s3:::{name}", "arn:aws:s3:::{name}/*"]}}]}}'
    )
    s3.client.put_bucket_policy(Bucket=name, Policy=policy)
    with pytest.raises(TransferError, match=f"the backup's bucket {name} is not private: "):
        back_up(fetched, store)
    assert puts(proxy) == []


def test_it_looks_once_whether_it_is_private_and_tells_what_nobody_says(
    fetched: Pipeline, s3: S3Server, name: str
) -> None:
    told: list[str] = []
    store = ObjectStore(Bucket(name, endpoint_url=s3.endpoint_url), PREFIX, "keys/id.key", told.append)
    back_up(fetched, store)
    assert len(told) <= 1


def test_objects_are_erased_with_all_their_versions(s3: S3Server, tmp_path: Path) -> None:
    store = object_store(s3.endpoint_url, s3.bucket(lock=True))
    (tmp_path / "file").write_text("text")
    for _ in range(3):
        store.put("a/1", tmp_path / "file")
    store.put("a/10", tmp_path / "file")
    assert store.erase("a/1") == Erased("a/1", 3)
    assert [stored.key for stored in store.list("")] == ["a/10"]
    for key in ("../1", "/1", ""):
        with pytest.raises(TransferError, match="refusing the path"):
            store.erase(key)


def test_what_retention_keeps_is_told_with_its_end(s3: S3Server, tmp_path: Path) -> None:
    name = s3.bucket(lock=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}
    s3.client.put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    store = object_store(s3.endpoint_url, name)
    (tmp_path / "file").write_text("text")
    store.put("a/1", tmp_path / "file")
    erased = store.erase("a/1")
    assert erased.kept
    until = dt.datetime.strptime(erased.kept_until, "%Y-%m-%dT%H:%M:%SZ")
    assert abs(
        until - dt.datetime.now(dt.timezone.utc).replace(tzinfo=None) - dt.timedelta(2)
    ) < dt.timedelta(hours=1)
    store.put("a/1", tmp_path / "file")  # a new version of it


# encrypted


@pytest.fixture(params=["s3", "directory"])
def inner(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "backup")
    made: Store = request.getfixturevalue("store")
    return made


def lying_there(store: Store) -> list[str]:
    return [stored.key for stored in store.list("")]


def test_what_lies_there_is_encrypted_and_this_machine_cannot_read_it(
    fetched: Pipeline, inner: Store, identity: Path, tmp_path: Path
) -> None:
    store = sealed(inner, fetched.layout.sealing(), identity)
    manifest = back_up(fetched, store)
    there = lying_there(inner)
    assert len(there) == 6  # three reports, their manifest, the key, and its mark
    assert all(key.endswith(".age") for key in there)
    for key in there:
        inner.get(key, tmp_path / "object")
        data = (tmp_path / "object").read_bytes()
        assert data.startswith(b"age-encryption.org/v1\n")
        ran = subprocess.run(["age", "-d", "-i", identity], input=data, check=True, capture_output=True)
        name = key.removesuffix(".age")
        name = "keys/id.key" if name.startswith("keys/") else name
        assert ran.stdout == (fetched.layout.private / name).read_bytes()
        with pytest.raises(TransferError, match=r"this machine has no private key: let \[backup\] identity"):
            store.get(key.removesuffix(".age"), tmp_path / "plain")
        assert not (tmp_path / "plain").exists()
    for record in manifest.reports:
        assert record.source == file_digest(fetched.layout.private / str(record.name)) != record.digest
    assert not [path for path in fetched.layout.sealing().rglob("*") if path.is_file()]


def test_an_encrypted_backup_knows_what_it_holds_without_reading(
    fetched: Pipeline, inner: Store, identity: Path
) -> None:
    store = sealed(inner, fetched.layout.sealing(), identity)
    manifest = back_up(fetched, store)
    before = list(inner.list(""))
    again(fetched)
    assert back_up(fetched, store).reports == manifest.reports
    fetched.collector.holds(4)
    forget_bucket(fetched.layout, Stage.RAW, DATE)
    fetched.fetch()
    assert len(back_up(fetched, store).reports) == 4
    kept = [one for one in before if not one.key.startswith(PROOF)]
    assert set(kept) <= set(inner.list(""))  # each as it was put the first time


def test_what_an_encrypted_backup_holds_is_never_replaced_by_less(
    fetched: Pipeline, inner: Store, identity: Path
) -> None:
    store = sealed(inner, fetched.layout.sealing(), identity)
    back_up(fetched, store)
    proof = fetched.proof().read_bytes()
    Manifest("raw", DATE, "").write(fetched.proof())
    with pytest.raises(TransferError, match="holds 3 files that the bucket here has no more"):
        back_up(fetched, store)
    fetched.proof(Stage.BACKUP).unlink()  # the disk was lost: nothing here knows what lies there
    with pytest.raises(TransferError, match="already, encrypted, and nothing here tells what is in it"):
        back_up(fetched, store)
    fetched.proof().write_bytes(proof)
    with pytest.raises(TransferError, match="already, encrypted, and nothing here tells what is in it"):
        back_up(fetched, store)
    reading = sealed(inner, fetched.layout.sealing(), identity, identity=identity)
    assert len(back_up(fetched, reading).reports) == 3


def test_restored_with_the_private_key_and_backed_up_without(
    fetched: Pipeline, inner: Store, identity: Path, tmp_path: Path
) -> None:
    back_up(fetched, sealed(inner, fetched.layout.sealing(), identity))
    before, there = files(fetched.layout.private), list(inner.list(""))
    shutil.rmtree(fetched.layout.private)
    store = sealed(inner, fetched.layout.sealing(), identity)
    with pytest.raises(TransferError, match="no private key"):
        restore_bucket(fetched.layout, DATE, store)
    other = tmp_path / "other"
    subprocess.run(["age-keygen", "-o", other], check=True, capture_output=True)
    wrong = sealed(inner, fetched.layout.sealing(), identity, identity=other)
    with pytest.raises(TransferError, match=f"cannot be opened: no key in {other} opens it"):
        restore_bucket(fetched.layout, DATE, wrong)
    assert not fetched.proof().exists()
    reading = sealed(inner, fetched.layout.sealing(), identity, identity=identity)
    assert restore_bucket(fetched.layout, DATE, reading, connections=3)
    assert files(fetched.layout.private) == before
    back_up(fetched, store)  # knows what came back, and puts none of it again
    assert list(inner.list("")) == there


def test_another_key_is_refused_by_an_encrypted_backup_too(
    fetched: Pipeline, inner: Store, identity: Path
) -> None:
    store = sealed(inner, fetched.layout.sealing(), identity)
    back_up(fetched, store)
    again(fetched)
    path = fetched.layout.id_key()
    path.chmod(0o600)
    path.write_text("00" * 32)
    with pytest.raises(TransferError, match=f"the backup holds another id.key than {path}"):
        back_up(fetched, store)


def test_what_was_stored_before_there_was_a_key_to_encrypt_to_is_read_and_erased(
    fetched: Pipeline, inner: Store, identity: Path, tmp_path: Path
) -> None:
    back_up(fetched, inner)
    store = sealed(inner, fetched.layout.sealing(), identity)
    rebuilt = Layout(tmp_path / "new" / "private", tmp_path / "new" / "public")
    assert restore_bucket(rebuilt, DATE, store)
    key = f"{RAW}/{written(1)}"
    store.put(key, fetched.raw() / written(1))
    assert [one.key for one in store.list(key)] == [key]
    assert store.erase(key).versions == 2
    assert not list(inner.list(key))


def test_what_lies_there_encrypted_is_not_hidden_by_something_plain(
    fetched: Pipeline, inner: Store, identity: Path
) -> None:
    """With [backup] encrypt_to empty again: of the two a restore takes the encrypted one, which is older."""
    store = sealed(inner, fetched.layout.sealing(), identity)
    back_up(fetched, store)
    fetched.collector.holds(4)
    fetched.proof().unlink()
    fetched.fetch()
    plain = sealed(inner, fetched.layout.sealing(), identity=identity)
    with pytest.raises(TransferError, match=r"is encrypted in the backup.*\[backup\] encrypt_to"):
        back_up(fetched, plain)
    assert restore_bucket(fetched.layout, DATE, plain)
    back_up(fetched, store)
    rebuilt = Layout(fetched.layout.private.parent / "new", fetched.layout.public)
    assert restore_bucket(rebuilt, DATE, plain)
    assert len(list(rebuilt.bucket(Stage.RAW, DATE).iterdir())) == 4


def put_sealed_and_die(pipeline: Pipeline, backup: Path, identity: Path, number: int) -> None:
    class Dying(DirectoryStore):
        def put(self, key: str, path: Path) -> Any:
            if len(list(self.list(""))) == number:
                die()
            stored = super().put(key, path)
            if len(list(self.list(""))) == -number:  # it lies there, and nobody has noted it
                die()
            return stored

    back_up(pipeline, sealed(Dying(backup), pipeline.layout.sealing(), identity), connections=1)


@pytest.mark.parametrize("number", [*range(6), -6])
def test_killed_at_any_encrypted_object_it_goes_on(
    fetched: Pipeline, identity: Path, tmp_path: Path, start: Start, number: int
) -> None:
    process = start(put_sealed_and_die, fetched, tmp_path / "backup", identity, number)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    inner = DirectoryStore(tmp_path / "backup")
    assert len(list(inner.list(""))) == abs(number)
    left = part_of(fetched.layout.sealing() / RAW / "of a file that has another name now")
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("half")
    there = {one.key: inner.digest(one.key) for one in inner.list(RAW)}
    back_up(fetched, sealed(inner, fetched.layout.sealing(), identity))
    assert there.items() <= {one.key: inner.digest(one.key) for one in inner.list("")}.items()
    assert not [path for path in fetched.layout.sealing().rglob("*") if path.is_file()]


def test_either_of_two_keys_opens_it(fetched: Pipeline, inner: Store, identity: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["age-keygen", "-o", other], check=True, capture_output=True)
    stored = sealed(inner, fetched.layout.sealing(), identity, other).put("a/1", fetched.raw() / written(1))
    assert stored.source == file_digest(fetched.raw() / written(1))
    for key in (identity, other):
        sealed(inner, tmp_path, identity=key).get("a/1", tmp_path / "plain")
        assert file_digest(tmp_path / "plain") == stored.source


def test_keys_that_are_none_are_named_and_not_shown(tmp_path: Path, identity: Path) -> None:
    secret = next(line for line in identity.read_text().splitlines() if line.startswith("AGE-SECRET"))
    assert age.recipients(f"{public(identity)}, {public(identity)}") == (public(identity),) * 2
    for text, message in (
        (f"{public(identity)} {secret}", "number 2 is a private key"),
        ("age1nothing", "number 1 is no public key"),
    ):
        with pytest.raises(ConfigurationError, match=message) as caught:
            age.recipients(text)
        assert secret not in str(caught.value)
    (tmp_path / "none").write_text("rubbish")
    for name, message in (("none", "is no identity of age"), ("missing", "cannot be read: No such file")):
        with pytest.raises(ConfigurationError, match=message):
            age.decrypt(tmp_path / "file", tmp_path / "plain", tmp_path / name)


def test_room_is_wanted_before_a_restore_begins(
    fetched: Pipeline, store: ObjectStore, tmp_path: Path
) -> None:
    class Asked(Room):
        def check(self, what: str, directory: Path, needs: int) -> None:
            asked.append((directory, needs))
            raise BucketError(what)

    asked: list[tuple[Path, int]] = []
    back_up(fetched, store)
    sizes = {path.name: path.stat().st_size for path in fetched.raw().iterdir()}
    (fetched.raw() / written(2)).unlink()
    with pytest.raises(BucketError, match="bucket 2016-08-01, restored from the backup,"):
        restore_bucket(fetched.layout, DATE, store, room=Asked())
    assert asked == [(fetched.raw(), sizes[written(2)])]
    assert not (fetched.raw() / written(2)).exists()


def test_whether_it_is_encrypted_is_not_asked_for_each_object(
    fetched: Pipeline, store: ObjectStore, proxy: S3Proxy, tmp_path: Path
) -> None:
    """Where nothing is encrypted a put is one request, a get the two that any has; listings are few."""
    plain = sealed(store, tmp_path / "sealing")
    back_up(fetched, plain)
    assert [r for r in proxy.requests if r.startswith("HEAD ") and ".age" in r] == []
    proxy.requests.clear()
    for number in (1, 2, 3):
        plain.get(f"{RAW}/{written(number)}", tmp_path / str(number))
    assert (proxy.count("HEAD "), len(proxy.requests)) == (3, 6)
