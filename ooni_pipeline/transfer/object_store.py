"""The store that is a bucket of S3. Its client is passed in: see remote.s3.Bucket."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.collectors import inside
from ooni_pipeline.transfer.stores import Erased, Stored


class Object(Protocol):
    """What the client says of an object; ``sha256`` is hexadecimal, empty where nobody tells."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class Gone(Protocol):
    """What the client says of an object that it was to delete; ``kept_until`` is UTC."""

    @property
    def versions(self) -> int: ...
    @property
    def kept(self) -> int: ...
    @property
    def kept_until(self) -> dt.datetime | None: ...


class Client(Protocol):
    """A bucket of S3. Every method raises TransferError."""

    @property
    def name(self) -> str: ...
    def put(self, key: str, path: Path) -> Object: ...
    def get(self, key: str, path: Path) -> None: ...
    def head(self, key: str) -> Object | None: ...
    def list(self, prefix: str) -> Iterator[Object]: ...
    def erase(self, key: str) -> Gone: ...
    def sweep(self, prefix: str) -> int: ...
    def exposed(self, key: str) -> tuple[str, tuple[str, ...]]: ...


class ObjectStore:
    """A backup in a bucket, below ``prefix`` (empty, or it ends in ``/``).

    Before its first use it looks whether the bucket is there and private: raises TransferError where
    strangers can look into it, and ``tell``s, once, what it could not ask. ``secret`` is the key of the
    object that a stranger must not read.
    """

    def __init__(
        self, client: Client, prefix: str, secret: str, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self._client, self._prefix, self._secret, self._tell = client, prefix, secret, tell
        self._lock = threading.Lock()
        self._looked = False

    @property
    def directory(self) -> Path | None:
        return None

    @property
    def encrypts(self) -> bool:
        return False

    def put(self, key: str, path: Path) -> Stored:
        """Store a file: the server answers for the SHA-256 of what arrived."""
        try:
            made = self._private().put(self._key(key), path)
        except OSError as error:
            raise TransferError(f"backup: cannot read {path} to store it: {error.strerror}") from None
        return Stored(key, made.size, made.etag, made.sha256, source=made.sha256)

    def get(self, key: str, path: Path) -> None:
        try:
            self._private().get(self._key(key), path)
        except OSError as error:
            raise TransferError(f"backup: cannot write {path}: {error.strerror}") from None

    def digest(self, key: str) -> str | None:
        """Empty where the server does not know: somebody else stored it, with another program."""
        found = self._private().head(self._key(key))
        return None if found is None else found.sha256

    def list(self, prefix: str) -> Iterator[Stored]:
        start = len(self._prefix)
        for found in self._private().list(self._key(prefix) if prefix else self._prefix):
            yield Stored(found.key[start:], found.size, found.etag)

    def erase(self, key: str) -> Erased:
        gone = self._private().erase(self._key(key))
        until = timestamp(gone.kept_until) if gone.kept_until else ""
        return Erased(key, gone.versions, until, kept=bool(gone.kept))

    def sweep(self, prefix: str) -> None:
        self._private().sweep(self._key(prefix))

    def _key(self, key: str) -> str:
        inside(key.removesuffix("/"))
        return self._prefix + key

    def _private(self) -> Client:
        with self._lock:
            if not self._looked:
                next(iter(self._client.list(self._prefix + self._secret)), None)  # is it there, and may we?
                how, unknown = self._client.exposed(self._prefix + self._secret)
                if how:
                    raise TransferError(
                        f"the backup's bucket {self._client.name} is not private: {how}. It holds what must "
                        "not be public: block public access to it, then run it again"
                    )
                if unknown:
                    self._tell(
                        f"the backup's bucket {self._client.name} is taken for private, but the endpoint "
                        f"does not say all of it (no answer on {', '.join(unknown)})"
                    )
                self._looked = True
        return self._client
