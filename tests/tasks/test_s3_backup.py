"""Nights, restores and cleanups with the backup in a real S3 server, as an operator types them."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.cleaned import free_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from tasks.cleanup import due
from tests.parts.s3 import S3Server
from tests.parts.s3_proxy import Answer, S3Proxy, always, s3_proxy
from tests.tasks.conftest import DEMO, Pipeline

pytestmark = pytest.mark.one_server

DAY = dt.date(2026, 8, 1)


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.bucket()


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[S3Proxy]:
    with s3_proxy(s3.endpoint_url) as made:
        yield made


def configure(pipeline: Pipeline, s3: S3Server, url: str, bucket: str, **more: str) -> None:
    """The pipeline's backup in a bucket of S3."""
    pipeline.more |= s3.environment | {"AWS_EC2_METADATA_DISABLED": "true"}
    options = {
        "backup__url": f"s3://{bucket}/ooni",
        "backup__endpoint_url": url,
        "backup__attempts": "2",
        **more,
    }
    pipeline.configure(**options)


def raw_files(pipeline: Pipeline, day: dt.date) -> dict[str, bytes]:
    directory = pipeline.layout.bucket(Stage.RAW, day)
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.is_dir() else {}


def restore(pipeline: Pipeline, day: dt.date, expect: int = 0) -> str:
    arguments = ("--module", "tasks.restore", "RestoreReports", "--bucket-date", str(day))
    return pipeline.luigi(*arguments, expect=expect)


def test_a_night_with_s3_down_and_the_next_heals(
    pipeline: Pipeline, s3: S3Server, proxy: S3Proxy, bucket: str
) -> None:
    configure(pipeline, s3, proxy.url, bucket)
    pipeline.receive("-GR-")
    there = {path.name: path.read_bytes() for path in pipeline.archive.iterdir()}
    proxy.fault = always(lambda: Answer(503, "ServiceUnavailable"))
    output = pipeline.nightly(expect=30)
    assert "overloaded or down; nothing is lost, the next run goes on" in output
    assert s3.secret_key not in output
    # loaded and published all the same, and nothing was removed on the collector
    assert pipeline.query("SELECT count(*) FROM metrics") != [(0,)]
    assert pipeline.manifest(Stage.PUBLISHED).reports
    assert {path.name: path.read_bytes() for path in pipeline.archive.iterdir()} == there
    assert "stage backup" in pipeline.verb("ledger", pipeline.today, expect=1)
    proxy.fault = lambda method, path, body: body
    pipeline.nightly()
    assert list(pipeline.archive.iterdir()) == []
    pipeline.verb("ledger", pipeline.today)
    stored = s3.client.list_objects_v2(Bucket=bucket, Prefix="ooni/reports-raw/")["Contents"]
    assert sorted(Path(one["Key"]).name for one in stored) == sorted(raw_files(pipeline, pipeline.today))


def an_old_bucket(pipeline: Pipeline) -> dict[str, bytes]:
    """A bucket of an earlier day that every stage is done with. Returns its raw files."""
    pipeline.put_raw(DAY, "-GR-", "-RO-")
    pipeline.verb("adopt", DAY, DAY)
    pipeline.nightly(DAY)
    return raw_files(pipeline, DAY)


def test_raw_files_are_freed_and_come_back_when_they_are_needed(
    pipeline: Pipeline, s3: S3Server, bucket: str
) -> None:
    configure(pipeline, s3, s3.endpoint_url, bucket, raw__keep_days="1")
    before = an_old_bucket(pipeline)
    digest = pipeline.rows_digest()
    assert f"would free {len(before)} files of 1 buckets" in pipeline.verb("cleanup", "--dry-run")
    assert raw_files(pipeline, DAY) == before
    assert f"freed {len(before)} files of 1 buckets" in pipeline.verb("cleanup")
    assert raw_files(pipeline, DAY) == {}
    here = f"raw        {len(before)} of {len(before)} files are in the backup alone"
    assert here in pipeline.verb("ledger", DAY)
    # a stage that needs them brings them back by itself
    pipeline.verb("forget", "normalise", DAY, DAY)
    assert "its raw files are in the backup alone, and are brought back" in pipeline.nightly(DAY)
    assert raw_files(pipeline, DAY) == before
    assert pipeline.rows_digest() == digest
    # an object that is lost, or was changed, keeps its file here, and is put again from it
    key = next(one["Key"] for one in s3.client.list_objects_v2(Bucket=bucket, Prefix="ooni/rep")["Contents"])
    s3.client.put_object(Bucket=bucket, Key=key, Body=b"something else")
    output = pipeline.verb("cleanup", "--quiet", expect=1)
    assert f"{key.removeprefix('ooni/')}: it is not what was put there" in output
    assert "python -m tasks.forget backup 2026-08-01 2026-08-01" in output
    assert raw_files(pipeline, DAY) == before
    pipeline.verb("forget", "backup", DAY, DAY)
    output = pipeline.luigi("--module", "tasks.backup", "BackupReports", "--bucket-date", str(DAY))
    assert "1 objects of the backup were no longer what had been put there; they were put again" in output
    # what is not done with every stage is kept
    assert "kept       2026-08-01: not done yet: RemoveFetchedReports" in pipeline.verb("cleanup")
    assert raw_files(pipeline, DAY) == before


def test_what_is_old_enough_and_what_is_said_of_it(tmp_path: Path, s3: S3Server) -> None:
    pipeline = Pipeline(tmp_path, "postgresql:///nowhere?host=/nonexistent")
    configure(pipeline, s3, s3.endpoint_url, "bucket")
    assert "keep_days = 0: raw files are kept for ever, nothing is freed" in pipeline.verb("cleanup")
    assert pipeline.verb("cleanup", "--quiet") == ""
    layout, today = pipeline.layout, pipeline.today
    for age in (0, 9, 10, 11, 400):
        day = today - dt.timedelta(days=age)
        (layout.bucket(Stage.RAW, day)).mkdir(parents=True)
        (layout.bucket(Stage.RAW, day) / "1.json").write_text("x")
        Manifest("raw", day, "", reports=[ReportRecord("1", "1.json", 1, "d")]).write(
            layout.manifest(Stage.RAW, day)
        )
    ages = [(today - day).days for day in due(layout, None, None, 10)]
    assert ages == [400, 11]
    first = today - dt.timedelta(days=20)
    assert [(today - day).days for day in due(layout, first, today, 10)] == [11]
    free_bucket(layout, Manifest.read(layout.manifest(Stage.RAW, today - dt.timedelta(400))), dt.datetime.min)
    assert [(today - day).days for day in due(layout, None, None, 10)] == [11]


def test_an_encrypted_backup_and_a_fresh_machine(
    pipeline: Pipeline, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    identity = tmp_path / "identity"
    made = subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True, text=True).stderr
    encrypted = {"backup__encrypt_to": made.split()[-1]}
    configure(pipeline, s3, s3.endpoint_url, bucket, **encrypted)
    before = an_old_bucket(pipeline)
    digest = pipeline.rows_digest()
    keys = [one["Key"] for one in s3.client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(keys) == len(before) + 3  # their manifest, the key, and its mark
    assert all(key.endswith(".age") for key in keys)
    assert "0 of them do not verify" in pipeline.verb("cleanup", "--verify")
    assert "no private key" in pipeline.verb("cleanup", "--verify", "--read", expect=1)
    # the machine is lost
    shutil.rmtree(pipeline.layout.private)
    pipeline.change("TRUNCATE metrics, loads, views_contain CASCADE")
    output = restore(pipeline, DAY, expect=30)
    assert "this machine has no private key: let [backup] identity name the file" in output
    assert raw_files(pipeline, DAY) == {}
    configure(pipeline, s3, s3.endpoint_url, bucket, **encrypted, backup__identity=str(identity))
    restore(pipeline, DAY)
    assert raw_files(pipeline, DAY) == before
    configure(pipeline, s3, s3.endpoint_url, bucket, **encrypted)
    pipeline.nightly(DAY)
    assert pipeline.rows_digest() == digest
    assert [one["Key"] for one in s3.client.list_objects_v2(Bucket=bucket)["Contents"]] == keys


def test_a_machine_that_keeps_the_key_to_its_own_backup_is_told(tmp_path: Path, s3: S3Server) -> None:
    pipeline = Pipeline(tmp_path, "postgresql:///nowhere?host=/nonexistent")
    command = ["age-keygen", "-o", str(tmp_path / "identity")]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    encrypted = {"backup__encrypt_to": made.stderr.split()[-1]}
    told = "[backup] identity is set, so this machine can read its own backup"
    configure(pipeline, s3, s3.endpoint_url, "bucket", **encrypted)
    assert told not in pipeline.verb("check", expect=1)
    configure(
        pipeline, s3, s3.endpoint_url, "bucket", **encrypted, backup__identity=str(tmp_path / "identity")
    )
    assert told in pipeline.verb("check", expect=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"backup__url": "s3://user:secret@bucket/x"},
            "[backup] url: s3://… is no absolute directory and no s3",
        ),
        ({"backup__url": "s3://"}, "[backup] url: s3://… is no absolute directory"),
        ({"backup__endpoint_url": "http://s3.example"}, "raw reports would cross the network in the clear"),
        ({"backup__endpoint_url": "https://a:secret@s3.example"}, "credentials do not go into it"),
        ({"backup__connections": "0"}, "[backup] connections is not between 1 and 100"),
        ({"backup__encrypt_to": "AGE-SECRET-KEY-1secret"}, "[backup] encrypt_to: number 1 is a private key"),
        ({"backup__identity": "relative"}, "[backup] identity is no absolute path"),
        ({"backup__server_side_encryption": "rot13"}, "a value in [backup] cannot be read"),
        ({"raw__keep_days": "-1"}, "[raw] keep_days is less than 0"),
    ],
    ids=str,
)
def test_a_mistake_in_luigi_cfg_is_named(
    tmp_path: Path, s3: S3Server, changed: dict[str, str], message: str
) -> None:
    pipeline = Pipeline(tmp_path, "postgresql:///nowhere?host=/nonexistent")
    configure(pipeline, s3, s3.endpoint_url, "bucket", **changed)
    verify = () if "raw__keep_days" in changed else ("--verify", "2026-08-01", "2026-08-01")
    (tmp_path / "private" / "manifests" / "backup").mkdir(parents=True)
    (tmp_path / "private" / "manifests" / "raw").mkdir(parents=True)
    shutil.copyfile(DEMO / "bridge_table.json", tmp_path / "private" / "bridge_table.json")
    for stage in ("raw", "backup"):
        Manifest(stage, DAY, "").write(tmp_path / "private" / "manifests" / stage / f"{DAY}.json")
    output = pipeline.verb("cleanup", *verify, expect=1)
    assert message in output
    assert "secret" not in output
