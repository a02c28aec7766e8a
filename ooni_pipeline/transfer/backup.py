"""The private copy of a raw bucket in object storage, and bringing it back.

Keys are the paths below the private directory: ``reports-raw/yaml/<bucket_date>/<file>``, then
``manifests/raw/<bucket_date>.json`` (last: a bucket whose manifest is there is whole) and ``keys/id.key``
(without it a rebuilt pipeline would give every measurement another id).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp, whole_file
from ooni_pipeline.bucket.stage import checked_file
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.collectors import file_digest
from ooni_pipeline.transfer.stores import Store

Progress = Callable[[int, int], None]
ID_KEY = "keys/id.key"


def backup_bucket(
    layout: Layout,
    bucket_date: dt.date,
    store: Store,
    now: dt.datetime,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Store what is missing of a raw bucket, check every object by its digest, write the proof.

    Raises TransferError where the store does not hold afterwards what the manifest says.
    """
    raw_path = layout.manifest(Stage.RAW, bucket_date)
    raw = Manifest.read(raw_path)
    directory = layout.bucket(Stage.RAW, bucket_date)
    files = [record for record in raw.reports if record.name is not None]
    records = []
    for number, record in enumerate(files, 1):
        path = directory / str(record.name)
        key = path.relative_to(layout.private).as_posix()
        if store.digest(key) != record.digest:
            store.put(key, checked_file(directory, record))
            _verify(store, key, record.digest)
        records.append(ReportRecord(record.report, key, record.size, record.digest, source=record.digest))
        progress(number, len(files))
    _store_key(layout, store)
    key, digest = raw_path.relative_to(layout.private).as_posix(), file_digest(raw_path)
    if store.digest(key) != digest:
        store.put(key, raw_path)
        _verify(store, key, digest)
    manifest = Manifest("backup", bucket_date, timestamp(now), reports=records)
    manifest.write(layout.manifest(Stage.BACKUP, bucket_date))
    return manifest


def restore_bucket(
    layout: Layout,
    bucket_date: dt.date,
    store: Store,
    progress: Progress = lambda done, total: None,
) -> bool:
    """Bring a raw bucket back from the backup, byte for byte. False when the backup does not hold it.

    What is there already and right is left alone. The key of ids comes back too where there is none.
    """
    path = layout.manifest(Stage.RAW, bucket_date)
    key = path.relative_to(layout.private).as_posix()
    if store.digest(key) is None:
        return False
    id_key = layout.id_key()
    if not id_key.exists() and store.digest(ID_KEY) is not None:
        with whole_file(id_key) as part:
            store.get(ID_KEY, part)
            part.chmod(0o400)
    with whole_file(path) as part:
        store.get(key, part)
        manifest = Manifest.read(part)
        directory = layout.bucket(Stage.RAW, bucket_date)
        directory.mkdir(parents=True, exist_ok=True)
        files = [record for record in manifest.reports if record.name is not None]
        for number, record in enumerate(files, 1):
            _restore(directory, record, store)
            progress(number, len(files))
    return True


def _store_key(layout: Layout, store: Store) -> None:
    path = layout.id_key()
    if not path.exists():
        return
    stored = store.digest(ID_KEY)
    if stored is None:
        store.put(ID_KEY, path)
        _verify(store, ID_KEY, file_digest(path))
    elif stored != file_digest(path):
        raise TransferError(
            f"the backup holds another {ID_KEY} than {path}: ids would change; put the backup's key there, "
            "or keep this pipeline's backup elsewhere"
        )


def _restore(directory: Path, record: ReportRecord, store: Store) -> None:
    path = directory / str(record.name)
    if path.exists() and file_digest(path) == record.digest:
        return
    with whole_file(path) as part:
        store.get(f"reports-raw/yaml/{directory.name}/{record.name}", part)
        if file_digest(part) != record.digest:
            raise TransferError(
                f"{record.name} of bucket {directory.name} comes back from the backup changed"
            )


def _verify(store: Store, key: str, digest: str) -> None:
    if store.digest(key) != digest:
        raise TransferError(f"the backup does not hold {key} as it was sent")
