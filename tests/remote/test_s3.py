from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.auth
import pytest

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote.s3 import Bucket
from tests.conftest import Start
from tests.parts.s3 import S3Server
from tests.parts.s3_proxy import Answer, Cut, S3Proxy, always, first, s3_proxy

PART = 5 * 1024 * 1024


@pytest.fixture
def keys(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's pauses


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[S3Proxy]:
    with s3_proxy(s3.endpoint_url) as made:
        yield made


@pytest.fixture
def bucket(s3: S3Server, keys: None) -> Bucket:
    return client(s3.endpoint_url, s3.bucket())


@pytest.fixture
def faulty(s3: S3Server, proxy: S3Proxy, keys: None) -> Bucket:
    return client(proxy.url, s3.bucket())


def client(url: str, name: str, **options: Any) -> Bucket:
    return Bucket(name, endpoint_url=url, **{"part_size": PART, "attempts": 3, "timeout": 20, **options})


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_text("what a report says\n")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large"
    path.write_bytes(os.urandom(2 * PART + 12_345))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def uploads(s3: S3Server, bucket: Bucket) -> int:
    return len(s3.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", ()))


@pytest.mark.parametrize("which", ["small", "large", "empty"])
def test_there_and_back(
    request: pytest.FixtureRequest, s3: S3Server, bucket: Bucket, tmp_path: Path, which: str
) -> None:
    path = tmp_path / "empty"
    path.touch()
    path = path if which == "empty" else request.getfixturevalue(which)
    assert bucket.head("a/b") is None
    put = bucket.put("a/b", path)
    assert put == bucket.head("a/b")
    assert (put.size, put.sha256) == (path.stat().st_size, sha256(path))
    listed = list(bucket.list("a/"))
    assert [(one.key, one.size, one.etag) for one in listed] == [("a/b", put.size, put.etag)]
    bucket.get("a/b", tmp_path / "back")
    assert sha256(tmp_path / "back") == put.sha256
    said = s3.client.head_object(Bucket=bucket.name, Key="a/b", ChecksumMode="ENABLED")
    assert said["ServerSideEncryption"] == "AES256"
    assert said["ChecksumSHA256"].endswith("-3" if which == "large" else "=")
    assert uploads(s3, bucket) == 0


def test_encryption_and_storage_class_are_asked_for(
    s3: S3Server, keys: None, proxy: S3Proxy, small: Path
) -> None:
    plain = client(s3.endpoint_url, s3.bucket(), encryption="", storage_class="STANDARD_IA")
    plain.put("key", small)
    said = s3.client.head_object(Bucket=plain.name, Key="key")
    assert "ServerSideEncryption" not in said
    assert said["StorageClass"] == "STANDARD_IA"


@pytest.mark.parametrize(
    "fault",
    [lambda: Answer(500, "InternalError"), lambda: Answer(503, "SlowDown"), Cut],
    ids=["500", "503", "cut"],
)
def test_what_fails_for_a_while_is_tried_again(
    faulty: Bucket, proxy: S3Proxy, small: Path, fault: Any
) -> None:
    proxy.fault = first(2, fault)
    put = faulty.put("key", small)
    assert proxy.count("PUT ") == 3
    assert put.sha256 == sha256(small)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda: Answer(500, "InternalError"), "it answers InternalError (500): it is overloaded or down"),
        (lambda: Answer(503, "SlowDown"), "it answers SlowDown (503): it asks to be asked less: lower"),
        (Cut, "it does not answer, or closed the connection"),
    ],
    ids=["500", "503", "cut"],
)
def test_what_fails_for_long_is_told_in_one_line(
    faulty: Bucket, proxy: S3Proxy, small: Path, s3: S3Server, fault: Any, message: str
) -> None:
    proxy.fault = always(fault)
    with pytest.raises(TransferError) as caught:
        faulty.put("a/key", small)
    text = str(caught.value)
    assert text.startswith(f"backup {proxy.url}, bucket {faulty.name}: cannot store a/key: {message}")
    assert "secret" not in text
    assert s3.secret_key not in text
    assert "\n" not in text
    assert proxy.count("PUT ") == 3


def test_a_byte_that_changes_on_the_way_is_refused_by_the_server(
    faulty: Bucket, proxy: S3Proxy, small: Path, large: Path, s3: S3Server
) -> None:
    def flip(method: str, path: str, body: bytes) -> bytes:
        return body[:-1] + bytes([body[-1] ^ 1]) if method == "PUT" and body else body

    proxy.fault = flip
    for path in (small, large):
        with pytest.raises(
            TransferError, match=r"cannot store key: it answers .*: what arrived is not what was"
        ):
            faulty.put("key", path)
        assert faulty.head("key") is None
    assert uploads(s3, faulty) == 0


def test_a_byte_that_changes_on_the_way_back_is_seen(
    faulty: Bucket, proxy: S3Proxy, small: Path, tmp_path: Path
) -> None:
    faulty.put("key", small)
    proxy.after = lambda method, path, body: (body[:-1] + b"x" if method == "GET" else body, len(body))
    with pytest.raises(TransferError, match="key does not come back as it was stored"):
        faulty.get("key", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_connection_that_breaks_in_the_middle_goes_on_from_there(
    faulty: Bucket, proxy: S3Proxy, large: Path, tmp_path: Path
) -> None:
    faulty.put("key", large)
    cuts = [3_000_000, 4_000_000]
    proxy.requests.clear()
    proxy.after = lambda method, path, body: (body, cuts.pop() if method == "GET" and cuts else len(body))
    faulty.get("key", tmp_path / "back")
    assert sha256(tmp_path / "back") == sha256(large)
    assert proxy.count("GET ") == 3
    proxy.after = lambda method, path, body: (body, 1000 if method == "GET" else len(body))
    with pytest.raises(TransferError, match="cannot read key"):
        faulty.get("key", tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_an_object_that_is_replaced_while_it_is_read_is_no_mixture(
    faulty: Bucket, proxy: S3Proxy, large: Path, tmp_path: Path, s3: S3Server
) -> None:
    faulty.put("key", large)

    def replace(method: str, path: str, body: bytes) -> tuple[bytes, int]:
        if method != "GET":
            return body, len(body)
        s3.client.put_object(Bucket=faulty.name, Key="key", Body=b"z" * large.stat().st_size)
        return body, 1_000_000

    proxy.after = replace
    with pytest.raises(TransferError, match=r"cannot read key: it answers PreconditionFailed \(412\)"):
        faulty.get("key", tmp_path / "back")


def test_a_listing_goes_on_to_its_end(s3: S3Server, bucket: Bucket, faulty: Bucket, proxy: S3Proxy) -> None:
    name = faulty.name
    names = [f"a/{number:04}" for number in range(1003)]
    putting = s3.client
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: putting.put_object(Bucket=name, Key=key, Body=b""), [*names, "b/1"]))
    assert [one.key for one in faulty.list("a/")] == names
    assert proxy.count("GET ") == 2
    for cut, message in (
        (lambda body: body.replace(b"NextContinuationToken", b"Nothing"), "stops in its middle"),
        (lambda body: body[: len(body) // 2], "cannot list a/: it answers 500"),
    ):
        proxy.after = lambda method, path, body, cut=cut: (cut(body), len(cut(body)))  # type: ignore[misc]
        with pytest.raises(TransferError, match=message):
            list(faulty.list("a/"))


def test_a_listing_that_turns_in_circles_ends(s3: S3Server, faulty: Bucket, proxy: S3Proxy) -> None:
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    )
    page += b"<Contents><Key>a/1</Key><Size>1</Size></Contents></ListBucketResult>"
    proxy.after = lambda method, path, body: (page, len(page))
    with pytest.raises(TransferError, match="the listing of a/ stops in its middle"):
        list(faulty.list("a/"))
    assert proxy.count("GET ") == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch (403): the secret key is wrong"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId (403): it does not know the access key"),
    ],
    ids=str,
)
def test_wrong_credentials_are_told(
    s3: S3Server,
    bucket: Bucket,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    message: str,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    other = client(s3.endpoint_url, bucket.name)
    for doing in (lambda: other.put("key", small), lambda: list(other.list(""))):
        with pytest.raises(TransferError) as caught:
            doing()
        assert message in str(caught.value)
        assert s3.secret_key not in str(caught.value)
        assert "wrong/" not in str(caught.value)
    with pytest.raises(TransferError, match="it refuses the access key"):
        other.head("key")


def test_no_credentials_are_told(
    s3: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in s3.environment:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(TransferError, match="there are no credentials: AWS_ACCESS_KEY_ID and"):
        list(client(s3.endpoint_url, bucket.name).list(""))


def test_a_bucket_that_is_not_there_and_a_server_that_is_not(s3: S3Server, keys: None) -> None:
    with pytest.raises(TransferError, match="there is no such bucket: make it, or mend"):
        list(client(s3.endpoint_url, "no-such-bucket").list(""))
    with pytest.raises(TransferError, match=r"it cannot be reached: look at \[backup\] endpoint_url"):
        list(client("http://127.0.0.1:9", "bucket").list(""))


def test_a_clock_that_is_wrong_is_told(
    s3: S3Server, bucket: Bucket, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = botocore.auth.get_current_datetime

    def hours_ago(*arguments: Any, **more: Any) -> Any:
        return behind(*arguments, **more) - dt.timedelta(hours=1)

    monkeypatch.setattr("botocore.auth.get_current_datetime", hours_ago)
    with pytest.raises(
        TransferError, match=r"RequestTimeTooSkewed.*: the clock here differs from the endpoint's"
    ):
        bucket.put("key", small)


def test_parts_that_fail_leave_nothing(s3: S3Server, faulty: Bucket, proxy: S3Proxy, large: Path) -> None:
    proxy.fault = always(lambda: Answer(500, "InternalError"), f"PUT /{faulty.name}/key?partNumber=2")
    with pytest.raises(TransferError, match="cannot store key: it answers InternalError"):
        faulty.put("key", large)
    assert uploads(s3, faulty) == 0
    assert faulty.head("key") is None


def put_and_die(url: str, name: str, path: Path) -> None:
    client(url, name).put("a/key", path)


def test_killed_in_the_middle_of_an_upload_in_parts(
    s3: S3Server, faulty: Bucket, proxy: S3Proxy, large: Path, start: Start
) -> None:
    asked: list[int] = []

    def kill(method: str, path: str, body: bytes) -> bytes:
        if "partNumber=2" in path and not asked:
            asked.append(1)
            os.kill(int(process.pid or 0), signal.SIGKILL)
            raise Cut
        return body

    proxy.fault = kill
    process = start(put_and_die, proxy.url, faulty.name, large)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert uploads(s3, faulty) == 1
    assert faulty.sweep("b/") == 0
    assert faulty.sweep("a/") == 1
    assert uploads(s3, faulty) == 0
    assert faulty.put("a/key", large).sha256 == sha256(large)


def test_an_object_that_somebody_else_stored_does_not_pass_for_ours(s3: S3Server, bucket: Bucket) -> None:
    def head(**more: Any) -> str:
        s3.client.put_object(Bucket=bucket.name, Key="key", Body=b"other", **more)
        found = bucket.head("key")
        assert found is not None
        return found.sha256

    ours = hashlib.sha256(b"ours").hexdigest()
    other = hashlib.sha256(b"other")
    assert head() in ("", other.hexdigest())
    assert head(Metadata={"sha256": ours}, ChecksumSHA256=base64.b64encode(other.digest()).decode()) == ""


def test_every_version_goes_and_no_other_object(s3: S3Server, keys: None, small: Path) -> None:
    bucket = client(s3.endpoint_url, s3.versioned_bucket())
    for key in ("a/1", "a/1", "a/10", "a/1.age"):
        bucket.put(key, small)
    s3.client.delete_object(Bucket=bucket.name, Key="a/1")
    bucket.put("a/1", small)
    gone = bucket.erase("a/1")
    assert (gone.versions, gone.kept, gone.kept_until) == (4, 0, None)  # three versions and a marker
    assert sorted(one.key for one in bucket.list("")) == ["a/1.age", "a/10"]
    left = s3.client.list_object_versions(Bucket=bucket.name)
    assert sorted(one["Key"] for one in left["Versions"]) == ["a/1.age", "a/10"]
    assert "DeleteMarkers" not in left
    assert bucket.erase("a/1").versions == 0


def test_what_has_no_versions_goes_too(bucket: Bucket, small: Path) -> None:
    bucket.put("a/1", small)
    assert bucket.erase("a/1").versions == 1
    assert bucket.head("a/1") is None


def test_retention_is_told_and_not_bypassed(s3: S3Server, keys: None, small: Path) -> None:
    bucket = client(s3.endpoint_url, s3.bucket(lock=True))
    bucket.put("free", small)
    s3.client.put_object_lock_configuration(
        Bucket=bucket.name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    bucket.put("locked", small)
    gone = bucket.erase("locked")
    assert (gone.versions, gone.kept) == (0, 1)
    said = s3.client.head_object(Bucket=bucket.name, Key="locked")["ObjectLockRetainUntilDate"]
    assert gone.kept_until == said.astimezone(dt.timezone.utc).replace(tzinfo=None)
    assert bucket.head("locked") is not None
    assert bucket.erase("free").kept == 0


def test_whether_strangers_can_look_in(s3: S3Server, keys: None, small: Path, bucket: Bucket) -> None:
    bucket.put("keys/id.key", small)
    how, unknown = bucket.exposed("keys/id.key")
    assert how == ""
    assert "what a stranger sees" not in unknown
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
        '"Action": "s3:GetObject", '
        f'"Resource": "arn:aws:s3:::{bucket.name}/*"}}]}}'
    )
    s3.client.put_bucket_policy(Bucket=bucket.name, Policy=policy)
    assert bucket.exposed("keys/id.key")[0] in (
        "its policy makes it public",
        "everybody can read keys/id.key",
    )
