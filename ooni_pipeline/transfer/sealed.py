"""A store whose objects are encrypted before they leave, so that this machine cannot read its own backup.

An encrypted object has ``.age`` at the end of its key. Whoever uses the store says the key without: a get
opens what it finds, encrypted or not, which needs the private key for the one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ooni_pipeline.bucket.files import sweep_parts
from ooni_pipeline.errors import PipelineError, TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.collectors import inside
from ooni_pipeline.transfer.stores import EncryptedError, Erased, Store, Stored

ENDING = ".age"


@dataclass(frozen=True)
class Seal:
    """How to encrypt a file (source, destination) to the public keys; it returns the SHA-256 of what it read.
    How to decrypt one. None where there is no key for it."""

    encrypt: Callable[[Path, Path], str] | None = None
    decrypt: Callable[[Path, Path], None] | None = None


class SealedStore:
    """Encrypts what it puts into another store where the ``seal`` can, by way of files below ``scratch``."""

    def __init__(self, store: Store, seal: Seal, scratch: Path) -> None:
        self._store, self._seal, self._scratch = store, seal, scratch
        self._lock = threading.Lock()
        self._sealed: dict[str, set[str]] = {}

    @property
    def directory(self) -> Path | None:
        return self._store.directory

    @property
    def encrypts(self) -> bool:
        return self._seal.encrypt is not None

    def put(self, key: str, path: Path) -> Stored:
        if self._seal.encrypt is None:
            if self.is_sealed(key):  # of the two a restore takes that one, and never sees this
                raise TransferError(
                    f"{key} is encrypted in the backup, and would hide what is put beside it: let [backup] "
                    "encrypt_to name a public key again, or keep the backup elsewhere from now on"
                )
            return self._store.put(key, path)
        sealed = part_of(self._scratch / inside(key + ENDING))
        try:
            sealed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source = self._seal.encrypt(path, sealed)
            stored = self._store.put(key + ENDING, sealed)
            self._sealed_beside(key).add(key)
        except OSError as error:
            raise TransferError(f"backup: cannot encrypt {path} in {sealed}: {error.strerror}") from None
        finally:
            sealed.unlink(missing_ok=True)
        return replace(stored, key=key, source=source)

    def get(self, key: str, path: Path) -> None:
        if not self.is_sealed(key):
            self._store.get(key, path)
            return
        if self._seal.decrypt is None:
            raise EncryptedError(
                f"{key} is encrypted in the backup, and this machine has no private key: let [backup] "
                "identity name the file that has it (README, Restore), for as long as it takes"
            )
        sealed = part_of(path.with_name(path.name + ENDING))
        try:
            self._store.get(key + ENDING, sealed)
            try:
                self._seal.decrypt(sealed, path)
            except PipelineError as error:
                raise TransferError(f"{key} of the backup cannot be opened: {error}") from None
        finally:
            sealed.unlink(missing_ok=True)

    def digest(self, key: str) -> str | None:
        """That of the bytes that lie there: of an encrypted object, not that of the file inside."""
        return self._store.digest(key + ENDING if self.is_sealed(key) else key)

    def list(self, prefix: str) -> Iterator[Stored]:
        """Each object once, by its key without ``.age``; of two the encrypted one."""
        found: dict[str, Stored] = {}
        for stored in self._store.list(prefix):
            key = stored.key.removesuffix(ENDING)
            if key != stored.key or key not in found:
                found[key] = replace(stored, key=key)
        yield from sorted(found.values(), key=lambda stored: stored.key)

    def erase(self, key: str) -> Erased:
        """Both of them: the encrypted one, and what was stored before there was a key to encrypt to."""
        plain, sealed = self._store.erase(key), self._store.erase(key + ENDING)
        if not sealed.kept:
            self._sealed_beside(key).discard(key)
        versions, until = plain.versions + sealed.versions, max(plain.kept_until, sealed.kept_until)
        return Erased(key, versions, until, kept=plain.kept or sealed.kept)

    def sweep(self, prefix: str) -> None:
        sweep_parts(self._scratch / inside(prefix.rstrip("/")))
        self._store.sweep(prefix)

    def is_sealed(self, key: str) -> bool:
        """Whether the object is encrypted, so that only the private key opens it."""
        return key in self._sealed_beside(key)

    def _sealed_beside(self, key: str) -> set[str]:
        """The encrypted objects that lie where this one does: one listing, not a question for each."""
        place = key[: key.rfind("/") + 1]
        with self._lock:
            if place not in self._sealed:
                listed = (stored.key for stored in self._store.list(place))
                self._sealed[place] = {one.removesuffix(ENDING) for one in listed if one.endswith(ENDING)}
            return self._sealed[place]
