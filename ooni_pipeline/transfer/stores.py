"""What backup needs from object storage, and the store that is a directory of this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ooni_pipeline.bucket.files import copy_plain, file_digest, sweep_parts, whole_file
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.collectors import inside


@dataclass(frozen=True)
class Stored:
    """An object as it lies in a store: its key, and so many bytes.

    ``mark`` is another one whenever the bytes are: a store whose listing tells none leaves it empty. What a
    put returns says too what was stored, both as hexadecimal SHA-256: ``digest`` of the bytes that lie
    there, ``source`` of the file that they were made from, which is another one where they are encrypted.
    """

    key: str
    size: int
    mark: str = ""
    digest: str = ""
    source: str = ""


@dataclass(frozen=True)
class Erased:
    """What became of an object: so many versions of it are gone (0: there was none); ``kept_until`` is the
    UTC time (as manifests write it) until which retention forbids to delete the rest, empty when all of it
    is gone. ``kept`` says so where nothing tells until when."""

    key: str
    versions: int = 0
    kept_until: str = ""
    kept: bool = False


class EncryptedError(TransferError):
    """An object that only the private key opens, which is not here."""


class Store(Protocol):
    """The private backup: objects by key (``/`` separates). Every method may raise TransferError.

    ``directory``: where its objects lie, when that is on this machine. Several threads may use it at once.
    """

    @property
    def directory(self) -> Path | None: ...

    @property
    def encrypts(self) -> bool:
        """Whether what is put is encrypted, so that this machine cannot read it again."""

    def put(self, key: str, path: Path) -> Stored:
        """Store the file's bytes under the key, replacing what is there. Raises TransferError where the store
        does not hold afterwards what was sent."""

    def get(self, key: str, path: Path) -> None:
        """Write the object's bytes to ``path``. Raises TransferError where they are not what lies there."""

    def digest(self, key: str) -> str | None:
        """The SHA-256 of the bytes that lie there, as the store knows it, empty where it does not; None where
        there is no such object."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every object whose key begins with ``prefix``, in the order of keys."""

    def erase(self, key: str) -> Erased:
        """Delete the object with all its versions and delete markers. What retention still forbids to delete
        is no error: it is told. An object that is not there is none either."""

    def sweep(self, prefix: str) -> None:
        """Delete what puts below ``prefix`` (it ends in ``/``) left there when they died. Call it where
        nobody else puts anything there."""


class DirectoryStore:
    """A backup in a directory, such as a mounted disk of another machine."""

    def __init__(self, directory: Path) -> None:
        self._root = directory

    @property
    def directory(self) -> Path:
        return self._root

    @property
    def encrypts(self) -> bool:
        return False

    def put(self, key: str, path: Path) -> Stored:
        try:
            with whole_file(self._root / inside(key)) as part:
                copy_plain(path, part)
                source = file_digest(path)
            size = (self._root / inside(key)).stat().st_size
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot store {key}: {error.strerror}") from None
        if self.digest(key) != source:  # it is read again: a disk may keep something else than it was given
            raise TransferError(
                f"the backup does not hold {key} as it was sent; run this bucket's backup again"
            )
        return Stored(key, size, digest=source, source=source)

    def get(self, key: str, path: Path) -> None:
        try:
            copy_plain(self._root / inside(key), path)
            digest = file_digest(path)
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot read {key}: {error.strerror}") from None
        if self.digest(key) != digest:
            raise TransferError(f"backup {self._root}: {key} does not come back as it lies there")

    def digest(self, key: str) -> str | None:
        try:
            return file_digest(self._root / inside(key))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot read {key}: {error.strerror}") from None

    def list(self, prefix: str) -> Iterator[Stored]:
        directory, _, _ = prefix.rpartition("/")
        start = self._root / inside(directory) if directory else self._root
        try:
            found = sorted(self._below(start))
        except FileNotFoundError:
            return
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot list {prefix}: {error.strerror}") from None
        yield from (Stored(key, size) for key, size in found if key.startswith(prefix))

    def _below(self, directory: Path) -> Iterator[tuple[str, int]]:
        with os.scandir(directory) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    yield from self._below(Path(entry.path))
                elif not (entry.name.startswith(".") and entry.name.endswith(".part")):  # being written
                    with contextlib.suppress(FileNotFoundError):
                        size = entry.stat(follow_symlinks=False).st_size
                        yield Path(entry.path).relative_to(self._root).as_posix(), size

    def erase(self, key: str) -> Erased:
        path = self._root / inside(key)
        try:
            path.unlink()
        except FileNotFoundError:
            return Erased(key)
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot delete {key}: {error.strerror}") from None
        return Erased(key, 1)

    def sweep(self, prefix: str) -> None:
        sweep_parts(self._root / inside(prefix.rstrip("/")))
