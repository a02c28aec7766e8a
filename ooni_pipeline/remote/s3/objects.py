"""What S3 says of an object, in our words."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import RawIOBase
from typing import Any, BinaryIO

_CHUNK = 1024 * 1024
#: The metadata in which an object says its SHA-256: of one that came in parts the server knows only theirs.
DIGEST = "sha256"


@dataclass(frozen=True)
class Object:
    """An object: ``etag`` is another one whenever its bytes are, ``sha256`` (hexadecimal) is that of its
    bytes, empty where nobody tells, as in a listing."""

    key: str
    size: int
    etag: str
    sha256: str = ""


def size_and_digest(file: BinaryIO | RawIOBase) -> tuple[int, bytes]:
    """The bytes that are left in a file, counted and hashed."""
    size, digest = 0, hashlib.sha256()
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        digest.update(chunk)
    return size, digest.digest()


def b64(digest: bytes) -> str:
    """A digest as S3 writes it."""
    return base64.b64encode(digest).decode("ascii")


def etag_of(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def digest_of(answer: Mapping[str, Any]) -> str:
    """The SHA-256 of an object's bytes: the one that the server computed, else the one that whoever stored
    it wrote beside. Empty where the two disagree: somebody copied the one and not the other."""
    said = str(answer.get("Metadata", {}).get(DIGEST, "")).lower()
    computed = str(answer.get("ChecksumSHA256", ""))
    if not computed or "-" in computed:  # of the parts, not of the whole
        return said
    try:
        sha256 = base64.b64decode(computed, validate=True).hex()
    except (binascii.Error, ValueError):
        return said
    return sha256 if said in ("", sha256) else ""
