"""What backup and restore both know of the objects in the store."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.keys import read_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.stores import Store, Stored


def key_of(layout: Layout, path: Path) -> str:
    """The key of a file: its path below the private directory."""
    return path.relative_to(layout.private).as_posix()


def bucket_prefix(layout: Layout, bucket_date: dt.date) -> str:
    """What the keys of a bucket's reports begin with."""
    return key_of(layout, layout.bucket(Stage.RAW, bucket_date)) + "/"


def listed(store: Store, key: str) -> Stored | None:
    """What the store's listing says of one object."""
    return next((stored for stored in store.list(key) if stored.key == key), None)


def stored_manifest(layout: Layout, bucket_date: dt.date, store: Store, part: Path) -> bytes | None:
    """The raw manifest in the backup, None when it holds none. ``part`` is a place for a file.

    Raises TransferError where the store cannot give it back, Encrypted where it cannot be opened here.
    """
    key = key_of(layout, layout.manifest(Stage.RAW, bucket_date))
    if store.digest(key) is None:
        return None
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.get(key, part)
        data = part.read_bytes()
    finally:
        part.unlink(missing_ok=True)
    return data


def key_mark(layout: Layout) -> str:
    """The key of an object that says by its name which key of ids lies encrypted beside it: a keyed digest,
    so that this is known without opening it."""
    path = layout.id_key()
    mark = hmac.new(read_key(path), b"which key this is", hashlib.sha256).hexdigest()
    return f"{key_of(layout, path)}.{mark[:32]}"


def check_key(layout: Layout, store: Store) -> Stored | None:
    """The key of ids in the store; None where it has none. Raises TransferError where it is another one."""
    path = layout.id_key()
    key = key_of(layout, path)
    found = {stored.key: stored for stored in store.list(key)}
    if key not in found:
        return None
    if key_mark(layout) not in found and store.digest(key) != file_digest(path):
        raise TransferError(
            f"the backup holds another {path.name} than {path}: ids would change. Put the backup's key "
            "there, or keep this pipeline's backup elsewhere"
        )
    return found[key]
