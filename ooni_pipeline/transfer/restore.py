"""Bringing a raw bucket back from the backup."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest, set_aside, sweep_parts, whole_file
from ooni_pipeline.bucket.keys import read_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.errors import TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.stored import key_of, refuse_another_key, stored_manifest
from ooni_pipeline.transfer.stores import Store


def restore_bucket(
    layout: Layout,
    bucket_date: dt.date,
    store: Store,
    progress: Progress = lambda done, total: None,
) -> bool:
    """Bring a raw bucket back from the backup, byte for byte. False when the backup does not hold it.

    What is there already and right is left alone; what is there and is something else is set aside, not
    overwritten. The key of ids comes back too where there is none. Raises TransferError where an object
    does not come as the manifest says; the manifest appears last, so what arrived is there for the next run.
    """
    path = layout.manifest(Stage.RAW, bucket_date)
    data = stored_manifest(layout, bucket_date, store, part_of(path))
    if data is None:
        return False
    manifest = Manifest.parse(data, f"{key_of(layout, path)} of the backup")
    if (manifest.stage, manifest.bucket_date) != (Stage.RAW.value, bucket_date):
        raise TransferError(f"{key_of(layout, path)} of the backup is the manifest of another bucket")
    _restore_key(layout, store)
    directory = layout.bucket(Stage.RAW, bucket_date)
    directory.mkdir(parents=True, exist_ok=True)
    sweep_parts(directory)
    files = [record for record in manifest.reports if record.name is not None]
    for number, record in enumerate(files, 1):
        _restore(layout, directory / str(record.name), record, store)
        progress(number, len(files))
    with whole_file(path) as part:
        part.write_bytes(data)
    layout.forgotten(Stage.RAW, bucket_date).unlink(missing_ok=True)
    return True


def _restore_key(layout: Layout, store: Store) -> None:
    path = layout.id_key()
    stored = store.digest(key_of(layout, path))
    if stored is None:
        return
    if path.exists():
        refuse_another_key(path, stored)
        return
    with whole_file(path) as part:
        _get(store, key_of(layout, path), part, stored)
        read_key(part)
        part.chmod(0o400)


def _restore(layout: Layout, path: Path, record: ReportRecord, store: Store) -> None:
    if os.path.lexists(path):
        if _is(path, record.digest):
            return
        set_aside(path)
    with whole_file(path) as part:
        _get(store, key_of(layout, path), part, record.digest)


def _get(store: Store, key: str, part: Path, digest: str) -> None:
    store.get(key, part)
    if not _is(part, digest):
        raise TransferError(
            f"{key} comes back from the backup changed: the bucket stays without its manifest"
        )


def _is(path: Path, digest: str) -> bool:
    try:
        return file_digest(path) == digest
    except OSError:
        return False
