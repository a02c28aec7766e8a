"""Bringing a raw bucket back from the backup."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest, set_aside, sweep_parts, whole_file
from ooni_pipeline.bucket.keys import read_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.bucket.room import Room
from ooni_pipeline.bucket.withdraw_queue import BACKUP, Waiting, add_waiting
from ooni_pipeline.bucket.withdrawn import Tombstones
from ooni_pipeline.errors import TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.raw_bucket import prove_bucket
from ooni_pipeline.transfer.refuse import is_withdrawn, known_tombstones
from ooni_pipeline.transfer.sent import Sent, spread
from ooni_pipeline.transfer.stored import bucket_prefix, check_key, key_of, listed, stored_manifest
from ooni_pipeline.transfer.stores import Store, Stored
from ooni_pipeline.transfer.tombstone_copies import fetch_records


def restore_bucket(
    layout: Layout,
    bucket_date: dt.date,
    store: Store,
    progress: Progress = lambda done, total: None,
    room: Room = Room(),  # noqa: B008  # it is frozen
    connections: int = 1,
) -> bool:
    """Bring a raw bucket back from the backup, byte for byte. False when the backup does not hold it.

    What is there already and right is left alone; what is there and is something else is set aside, not
    overwritten. Where the bucket's manifest is here it says what the bucket is, else that of the backup does.
    The key of ids comes back too where there is none, and before all else the tombstones: what was withdrawn
    does not come back with an old state of the backup, where it is queued to be erased. Raises TransferError
    where an object does not come as the manifest says; the manifest appears last, so what arrived is there
    for the next run. Raises BucketError where there is no ``room`` for what is missing.
    """
    path = layout.manifest(Stage.RAW, bucket_date)
    data = None
    if path.exists():
        manifest = read_proof(layout, Stage.RAW, bucket_date)
    else:
        data = stored_manifest(layout, bucket_date, store, part_of(path))
        if data is None:
            return False
        manifest = Manifest.parse(data, f"{key_of(layout, path)} of the backup")
        if (manifest.stage, manifest.bucket_date) != (Stage.RAW.value, bucket_date):
            raise TransferError(f"{key_of(layout, path)} of the backup is the manifest of another bucket")
    _restore_key(layout, store)
    stones = _tombstones(layout, store)
    withdrawn = [record for record in manifest.reports if is_withdrawn(record, stones)]
    _queue_what_is_left(layout, manifest, withdrawn)
    manifest.reports = [
        record for record in manifest.reports if not (stones and stones.report(record.content))
    ]
    directory = layout.bucket(Stage.RAW, bucket_date)
    files = [record for record in manifest.reports if record.name is not None]
    needs = sum(record.size for record in files if not os.path.lexists(directory / str(record.name)))
    room.check(f"bucket {bucket_date}, restored from the backup,", directory, needs)
    directory.mkdir(parents=True, exist_ok=True)
    sweep_parts(directory)
    listing = {stored.key: stored for stored in store.list(bucket_prefix(layout, bucket_date))}
    with Sent(layout.sent(bucket_date)) as sent:

        def bring(record: ReportRecord) -> None:
            place = directory / str(record.name)
            if _restore(layout, place, record, store):
                _remember(store, sent, listing.get(key_of(layout, place)), record.digest)

        spread(bring, files, connections, lambda done: progress(done, len(files)))
        if withdrawn:
            prove_bucket(layout, manifest)
        elif data is not None:
            with whole_file(path) as part:
                part.write_bytes(data)
            _remember(store, sent, listed(store, key_of(layout, path)), file_digest(path))
    layout.forgotten(Stage.RAW, bucket_date).unlink(missing_ok=True)
    layout.cleaned(bucket_date).unlink(missing_ok=True)
    return True


def _tombstones(layout: Layout, store: Store) -> Tombstones | None:
    if layout.id_key().exists():
        fetch_records(layout, store, read_key(layout.id_key()))
    return known_tombstones(layout)


def _queue_what_is_left(layout: Layout, manifest: Manifest, withdrawn: list[ReportRecord]) -> None:
    """An earlier run did not come to erase these in the backup, nor the manifest that names them."""
    bucket, raw = manifest.bucket_date.isoformat(), layout.bucket(Stage.RAW, manifest.bucket_date)
    paths = [raw / record.name for record in withdrawn if record.name is not None]
    if paths:
        paths.append(layout.manifest(Stage.RAW, manifest.bucket_date))
        add_waiting(layout, (Waiting(BACKUP, bucket, manifest.made, key_of(layout, path)) for path in paths))


def _remember(store: Store, sent: Sent, there: Stored | None, source: str) -> None:
    """What came back is known to lie there: where it is encrypted, nothing else tells the next backup."""
    if there is not None and store.encrypts:
        sent.note(dataclasses.replace(there, digest=store.digest(there.key) or "", source=source))


def _restore_key(layout: Layout, store: Store) -> None:
    path = layout.id_key()
    key = key_of(layout, path)
    if path.exists():
        check_key(layout, store)
        return
    if store.digest(key) is None:
        return
    with whole_file(path) as part:
        store.get(key, part)
        read_key(part)
        part.chmod(0o400)


def _restore(layout: Layout, path: Path, record: ReportRecord, store: Store) -> bool:
    """Whether it had to be brought: False where it is here."""
    if os.path.lexists(path):
        if _is(path, record.digest):
            return False
        set_aside(path)
    with whole_file(path) as part:
        _get(store, key_of(layout, path), part, record.digest)
    return True


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
