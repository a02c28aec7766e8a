"""The private copy of a raw bucket in object storage.

Keys are the paths below the private directory: ``reports-raw/yaml/<bucket_date>/<file>``, then
``manifests/raw/<bucket_date>.json`` (last: a bucket whose manifest is there is whole) and ``keys/id.key``
(without it a rebuilt pipeline would give every measurement another id).
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.bucket.room import Room, needed
from ooni_pipeline.bucket.stage import checked_file, upstream_kept
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.stored import key_of, refuse_another_key, stored_manifest
from ooni_pipeline.transfer.stores import Store


def backup_bucket(
    layout: Layout,
    bucket_date: dt.date,
    store: Store,
    now: dt.datetime,
    progress: Progress = lambda done, total: None,
    room: Room = Room(),  # noqa: B008  # it is frozen
) -> Manifest:
    """Store what is missing of a raw bucket, check every object by its digest, write the proof.

    Raises TransferError where the store does not hold afterwards what the manifest says, and where it
    holds a report of this bucket that the manifest no longer names: a backup never forgets. Raises
    BucketError where a file of ours is not as its manifest says, and where a store on this machine has no
    ``room`` for what is missing.
    """
    with upstream_kept(layout, Stage.RAW, bucket_date) as raw:
        _refuse_to_lose(layout, raw, store)
        directory = layout.bucket(Stage.RAW, bucket_date)
        files = [record for record in raw.reports if record.name is not None]
        keys = {record.report: key_of(layout, directory / str(record.name)) for record in files}
        missing = {
            record.report: record for record in files if store.digest(keys[record.report]) != record.digest
        }
        if store.directory is not None:
            needs = needed(Stage.BACKUP, missing.values())
            room.check(f"bucket {bucket_date}, {Stage.BACKUP.value},", store.directory, needs)
        records = []
        for number, record in enumerate(files, 1):
            key = keys[record.report]
            if record.report in missing:
                path = checked_file(directory, record)
                if file_digest(path) != record.digest:
                    raise BucketError(f"{path} is no longer what was fetched; it does not go into the backup")
                _put(store, key, path, record.digest)
            records.append(ReportRecord(record.report, key, record.size, record.digest, source=record.digest))
            progress(number, len(files))
        _store_key(layout, store)
        path = layout.manifest(Stage.RAW, bucket_date)
        key, digest = key_of(layout, path), file_digest(path)
        if store.digest(key) != digest:
            _put(store, key, path, digest)
    manifest = Manifest(Stage.BACKUP.value, bucket_date, timestamp(now), reports=records)
    manifest.write(layout.manifest(Stage.BACKUP, bucket_date))
    return manifest


def _refuse_to_lose(layout: Layout, raw: Manifest, store: Store) -> None:
    """A raw bucket that was emptied or made from other files must not replace what the backup holds."""
    path = layout.manifest(Stage.RAW, raw.bucket_date)
    data = stored_manifest(
        layout, raw.bucket_date, store, part_of(layout.manifest(Stage.BACKUP, raw.bucket_date))
    )
    if data is None or data == path.read_bytes():
        return
    held = {record.digest for record in Manifest.parse(data, f"{key_of(layout, path)} of the backup").reports}
    gone = held - {record.digest for record in raw.reports} - {""}
    if gone:
        raise TransferError(
            f"the backup of bucket {raw.bucket_date} holds {len(gone)} files that the bucket here has no "
            f"more. If they are missed, move {layout.plan(raw.bucket_date)} and {path} away and run "
            f"FetchReports, which restores them; if they went on purpose, delete {key_of(layout, path)} from "
            "the backup"
        )


def _store_key(layout: Layout, store: Store) -> None:
    path = layout.id_key()
    if not path.exists():
        raise BucketError(f"{path} is gone: copy keys/id.key back from the backup, or every id changes")
    key = key_of(layout, path)
    stored = store.digest(key)
    if stored is None:
        _put(store, key, path, file_digest(path))
    else:
        refuse_another_key(path, stored)


def _put(store: Store, key: str, path: Path, digest: str) -> None:
    store.put(key, path)
    if store.digest(key) != digest:
        raise TransferError(f"the backup does not hold {key} as it was sent; run this bucket's backup again")
