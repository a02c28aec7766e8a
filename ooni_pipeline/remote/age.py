"""Files encrypted to public keys in the age format (age-encryption.org), in bounded memory.

What is made here the ``age`` program opens too, and the other way round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyrage

from ooni_pipeline.errors import ConfigurationError, TransferError


def recipients(text: str) -> tuple[str, ...]:
    """The public keys (``age1…``) in a list separated by white space or commas. Raises ConfigurationError
    for what is none; it quotes nothing, because it may be a private key."""
    keys = tuple(text.replace(",", " ").split())
    for number, key in enumerate(keys, 1):
        if key.upper().startswith("AGE-SECRET-KEY-"):
            raise ConfigurationError(
                f"number {number} is a private key: what is wanted is the public one, age1…, which "
                "age-keygen -y prints; take the private one off this machine"
            )
        try:
            pyrage.x25519.Recipient.from_str(key)
        except pyrage.RecipientError:
            raise ConfigurationError(f"number {number} is no public key of age (age1…)") from None
    return keys


def encrypt(source: Path, destination: Path, keys: Sequence[str]) -> str:
    """Encrypt a file to public keys. Returns the hexadecimal SHA-256 of the very bytes that were read."""
    made = [pyrage.x25519.Recipient.from_str(key) for key in keys]
    with source.open("rb") as plain, destination.open("wb") as sealed:
        read = _Hashing(plain)
        pyrage.encrypt_io(read, sealed, made)
    return read.digest.hexdigest()


def decrypt(source: Path, destination: Path, identity: Path) -> None:
    """Decrypt a file with a private key of an identity file, as age-keygen makes it.

    Raises TransferError where none of its keys opens the file, and where the file is not whole; what was
    written until then is gone.
    """
    keys = identities(identity)
    try:
        with source.open("rb") as sealed, destination.open("wb") as plain:
            pyrage.decrypt_io(sealed, plain, keys)
    except pyrage.DecryptError:
        destination.unlink(missing_ok=True)
        raise TransferError(f"no key in {identity} opens it, or it is damaged") from None


def identities(path: Path) -> list[Any]:
    """The private keys in a file. Raises ConfigurationError where it cannot be read or holds none."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"the identity {path} cannot be read: {why}") from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    try:
        found = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise ConfigurationError(f"{path} is no identity of age: age-keygen makes one")
    return found


class _Hashing:
    """A file that is read, and the digest of what was."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data
