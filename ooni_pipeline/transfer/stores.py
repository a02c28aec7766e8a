"""What backup needs from object storage, and the store that is a directory of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ooni_pipeline.bucket.files import copy_plain, file_digest, whole_file
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.collectors import inside


class Store(Protocol):
    """The private backup: objects by key (``/`` separates). Every method may raise TransferError.

    ``directory``: where its objects lie, when that is on this machine.
    """

    @property
    def directory(self) -> Path | None: ...

    def put(self, key: str, path: Path) -> None:
        """Store the file's bytes under the key, replacing what is there."""

    def get(self, key: str, path: Path) -> None:
        """Write the object's bytes to ``path``."""

    def digest(self, key: str) -> str | None:
        """The SHA-256 of the stored bytes as the store knows it; None when there is no such object."""


class DirectoryStore:
    """A backup in a directory, such as a mounted disk of another machine."""

    def __init__(self, directory: Path) -> None:
        self._root = directory

    @property
    def directory(self) -> Path:
        return self._root

    def put(self, key: str, path: Path) -> None:
        try:
            with whole_file(self._root / inside(key)) as part:
                copy_plain(path, part)
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot store {key}: {error.strerror}") from None

    def get(self, key: str, path: Path) -> None:
        try:
            copy_plain(self._root / inside(key), path)
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot read {key}: {error.strerror}") from None

    def digest(self, key: str) -> str | None:
        try:
            return file_digest(self._root / inside(key))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TransferError(f"backup {self._root}: cannot read {key}: {error.strerror}") from None
