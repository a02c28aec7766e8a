"""What backup and restore both know of the objects in the store."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.stores import Store


def key_of(layout: Layout, path: Path) -> str:
    """The key of a file: its path below the private directory."""
    return path.relative_to(layout.private).as_posix()


def stored_manifest(layout: Layout, bucket_date: dt.date, store: Store, part: Path) -> bytes | None:
    """The raw manifest in the backup, None when it holds none. ``part`` is a place for a file.

    Raises TransferError where it does not come as the store holds it.
    """
    key = key_of(layout, layout.manifest(Stage.RAW, bucket_date))
    digest = store.digest(key)
    if digest is None:
        return None
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.get(key, part)
        data = part.read_bytes()
    finally:
        part.unlink(missing_ok=True)
    if hashlib.sha256(data).hexdigest() != digest:
        raise TransferError(f"{key} does not come back from the backup as it lies there")
    return data


def refuse_another_key(path: Path, stored: str) -> None:
    """Raises TransferError where the key of ids here is not the one whose digest is ``stored``."""
    if file_digest(path) != stored:
        raise TransferError(
            f"the backup holds another {path.name} than {path}: ids would change. Put the backup's key "
            "there, or keep this pipeline's backup elsewhere"
        )
