"""Withdrawals from a backup in S3 that keeps versions, and protects them for a time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.withdraw_queue import waiting
from tests.parts.s3 import S3Server
from tests.tasks.conftest import Pipeline
from tests.tasks.test_withdraw import ADDRESS, CANARY, REPORTS, name, withdraw

pytestmark = pytest.mark.one_server

#: So long (seconds) objects are protected.
RETENTION = 12


class Bucket:
    """A bucket of a server, seen without anything of ours."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.client, self.name = server.client, name

    def versions(self) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.name)
        return [version for page in pages for version in page.get("Versions", [])]

    def traces(self, text: str) -> list[str]:
        """The keys of which a version, the current or an older one, holds a text."""
        found = []
        for version in self.versions():
            asked = {"Bucket": self.name, "Key": version["Key"], "VersionId": version["VersionId"]}
            if text.encode() in self.client.get_object(**asked)["Body"].read() or text in version["Key"]:
                found.append(version["Key"])
        return found

    def protect(self, until: dt.datetime) -> None:
        for version in self.versions():
            self.client.put_object_retention(
                Bucket=self.name,
                Key=version["Key"],
                VersionId=version["VersionId"],
                Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
            )


@pytest.fixture
def bucket(pipeline: Pipeline, s3: S3Server) -> Iterator[Bucket]:
    """A bucket with versions and object lock, as the backup of the pipeline."""
    made = Bucket(s3, s3.bucket(lock=True))
    pipeline.configure(
        backup__url=f"s3://{made.name}/pipeline", backup__endpoint_url=s3.endpoint_url, backup__attempts="2"
    )
    pipeline.more.update(s3.environment)
    yield made


def receive(pipeline: Pipeline, *reports: str) -> None:
    for report in reports:
        (pipeline.archive / report).write_bytes(REPORTS[report])


def fetch_and_back_up(pipeline: Pipeline) -> None:
    task = ("--module", "tasks.backup", "BackupReports", "--bucket-date", str(pipeline.today))
    pipeline.luigi(*task)


def test_all_versions_go_and_what_is_protected_when_it_may(pipeline: Pipeline, bucket: Bucket) -> None:
    receive(pipeline, name("mixed"), name("only"), name("plain"))
    fetch_and_back_up(pipeline)
    raw = pipeline.layout.bucket(Stage.RAW, pipeline.today)
    assert len(bucket.traces(CANARY)) == 2
    until = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=RETENTION)
    bucket.protect(until)

    told = withdraw(pipeline, "--address", "--yes", "--why", "a volunteer asked", stdin=ADDRESS)
    assert "an object of the backup that its retention protects, to be deleted from" in told
    assert CANARY not in "".join(path.read_text() for path in raw.iterdir())
    assert not list(pipeline.archive.glob("*only*")), "the collector need not wait"
    protected = bucket.traces(CANARY)
    assert len(protected) == 2, "nobody may delete them yet"
    assert {item.what for item in waiting(pipeline.layout)} >= {
        key.removeprefix("pipeline/") for key in protected
    }
    ledger = pipeline.verb("ledger", pipeline.today, expect=1)  # nothing but the backup is done
    assert ledger.count("still there: an object of the backup") == 3, "the manifest too, which names them"

    assert len(waiting(pipeline.layout)) == 3
    withdraw(pipeline, "--due")
    assert len(waiting(pipeline.layout)) == 3, "it is too early"
    time.sleep(max(0.0, (until - dt.datetime.now(dt.timezone.utc)).total_seconds() + 1.5))
    withdraw(pipeline, "--due")
    assert bucket.traces(CANARY) == []
    assert bucket.traces("id_only") == []
    assert waiting(pipeline.layout) == []
    names = {version["Key"].rpartition("/")[2] for version in bucket.versions()}
    assert {path.name for path in raw.iterdir()} <= names, "what is left is in the backup"

    # A rebuild from it.
    pipeline.layout.private.rename(pipeline.root / "lost")
    pipeline.luigi("--module", "tasks.restore", "RestoreReports", "--bucket-date", str(pipeline.today))
    assert len(list(raw.iterdir())) == 2
    assert list(pipeline.layout.withdrawn().iterdir())


def test_a_backup_that_refuses_stops_nothing_here_and_is_worked_off_later(
    pipeline: Pipeline, bucket: Bucket
) -> None:
    receive(pipeline, name("only"), name("plain"))
    fetch_and_back_up(pipeline)
    pipeline.more["AWS_SECRET_ACCESS_KEY"] = "wrong"
    why = ("--address", "--yes", "--why", "a volunteer asked")
    told = withdraw(pipeline, *why, stdin=ADDRESS, expect=1)
    assert "to go on with what is left: python -m tasks.withdraw --due" in told
    assert len(list(pipeline.layout.bucket(Stage.RAW, pipeline.today).iterdir())) == 1
    assert bucket.traces(CANARY)
    pipeline.more["AWS_SECRET_ACCESS_KEY"] = bucket.client._request_signer._credentials.secret_key
    withdraw(pipeline, "--due")
    assert bucket.traces(CANARY) == []
    assert any("/withdrawn/" in version["Key"] for version in bucket.versions())
