"""The private copy of a raw bucket in object storage.

Keys are the paths below the private directory: ``reports-raw/yaml/<bucket_date>/<file>``, then
``manifests/raw/<bucket_date>.json`` (last: a bucket whose manifest is there is whole) and ``keys/id.key``
(without it a rebuilt pipeline would give every measurement another id).

What is verified when: before a file goes, that it is still what was fetched; as it goes, by the store, that
what arrived is what was sent (SHA-256); when all are there, by one listing, that each is. Objects of an
earlier run are not put again where the listing's mark, or else the digest that the store tells, says that
nobody has changed them; one that was changed is put again.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path

from ooni_pipeline.bucket.cleaned import is_cleaned
from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.bucket.room import Room, needed
from ooni_pipeline.bucket.stage import checked_file, upstream_kept
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.refuse import is_withdrawn, known_tombstones
from ooni_pipeline.transfer.sent import (
    BESIDE,
    Sent,
    beside,
    held,
    is_as_known,
    known_objects,
    record_of,
    spread,
)
from ooni_pipeline.transfer.stored import bucket_prefix, check_key, key_mark, key_of, listed, stored_manifest
from ooni_pipeline.transfer.stores import EncryptedError, Store, Stored

#: Under ``facts`` of the proof: so many objects were in the backup and were not what had been put there.
PUT_AGAIN = "put_again"


def backup_bucket(
    layout: Layout,
    bucket_date: dt.date,
    store: Store,
    now: dt.datetime,
    progress: Progress = lambda done, total: None,
    room: Room = Room(),  # noqa: B008  # it is frozen
    connections: int = 1,
) -> Manifest:
    """Store what is missing of a raw bucket, so many files at a time, and write the proof.

    Raises TransferError where the store does not hold afterwards what the manifest says, and where it
    holds a report of this bucket that the manifest no longer names: a backup never forgets. Raises
    BucketError where a file of ours is not as its manifest says, and where a store on this machine has no
    ``room`` for what is missing.
    """
    with upstream_kept(layout, Stage.RAW, bucket_date) as raw:
        prefix = bucket_prefix(layout, bucket_date)
        store.sweep(prefix)
        known = known_objects(layout, bucket_date)
        _refuse_to_lose(layout, raw, store, known)
        listing = {stored.key: stored for stored in store.list(prefix)}
        directory = layout.bucket(Stage.RAW, bucket_date)
        files = [record for record in raw.reports if record.name is not None]

        def find(record: ReportRecord) -> Stored | None:
            return held(store, key_of(layout, directory / str(record.name)), record.digest, listing, known)

        found = spread(find, files, connections)
        missing = [record for record, stored in zip(files, found, strict=True) if stored is None]
        if store.directory is not None:
            needs = needed(Stage.BACKUP, missing)
            room.check(f"bucket {bucket_date}, {Stage.BACKUP.value},", store.directory, needs)
        with Sent(layout.sent(bucket_date)) as sent:

            def put(record: ReportRecord) -> Stored:
                return sent.note(_put_report(layout, bucket_date, record, store))

            before = len(files) - len(missing)
            put_now = iter(
                spread(put, missing, connections, lambda done: progress(before + done, len(files)))
            )
            records = [
                record_of(record.report, stored or next(put_now))
                for record, stored in zip(files, found, strict=True)
            ]
            _look_again(store, prefix, records)
            others = [_store_key(layout, store), _put_proof(layout, raw, store, known, sent)]
        again = sum(key_of(layout, directory / str(record.name)) in listing for record in missing)
        facts = {BESIDE: beside(others), **({PUT_AGAIN: again} if again else {})}
    manifest = Manifest(Stage.BACKUP.value, bucket_date, timestamp(now), facts=facts, reports=records)
    manifest.write(layout.manifest(Stage.BACKUP, bucket_date))
    layout.sent(bucket_date).unlink(missing_ok=True)
    layout.forgotten(Stage.BACKUP, bucket_date).unlink(missing_ok=True)
    return manifest


def _refuse_to_lose(layout: Layout, raw: Manifest, store: Store, known: Mapping[str, Stored]) -> None:
    """A raw bucket that was emptied or made from other files must not replace what the backup holds."""
    path = layout.manifest(Stage.RAW, raw.bucket_date)
    key, prefix = key_of(layout, path), bucket_prefix(layout, raw.bucket_date)
    put = known.get(key)
    if put is not None and not put.digest and put.source == file_digest(path):
        return  # a run that died had looked, and was about to put it
    try:
        data = stored_manifest(
            layout, raw.bucket_date, store, part_of(layout.manifest(Stage.BACKUP, raw.bucket_date))
        )
        if data is None or data == path.read_bytes():
            return
        stones = known_tombstones(layout)  # what was withdrawn goes on purpose
        there = {
            record.digest
            for record in Manifest.parse(data, f"{key} of the backup").reports
            if not is_withdrawn(record, stones)
        }
    except EncryptedError:
        if not is_as_known(store, listed(store, key), put):
            raise TransferError(
                f"the backup holds bucket {raw.bucket_date} already, encrypted, and nothing here tells what "
                "is in it: it is not replaced. With [backup] identity set (README, Restore) it can be "
                "compared: run BackupReports so, once"
            ) from None
        there = {stored.source for stored in known.values() if stored.key.startswith(prefix)}
    gone = there - {record.digest for record in raw.reports} - {""}
    if gone:
        raise TransferError(
            f"the backup of bucket {raw.bucket_date} holds {len(gone)} files that the bucket here has no "
            f"more. If they are missed, move {layout.plan(raw.bucket_date)} and {path} away and run "
            f"FetchReports, which restores them; if they went on purpose, delete {key} from the backup"
        )


def _put_report(layout: Layout, bucket_date: dt.date, record: ReportRecord, store: Store) -> Stored:
    directory = layout.bucket(Stage.RAW, bucket_date)
    if is_cleaned(layout, bucket_date) and not os.path.lexists(directory / str(record.name)):
        raise TransferError(
            f"{directory / str(record.name)} was freed by tasks.cleanup, and the backup does not hold it any "
            "more as it was put there: look for an older version of this object in the store"
        )
    path = checked_file(directory, record)
    if file_digest(path) != record.digest:
        raise BucketError(f"{path} is no longer what was fetched; it does not go into the backup")
    return _put(store, key_of(layout, path), path, record.digest)


def _put_proof(
    layout: Layout, raw: Manifest, store: Store, known: Mapping[str, Stored], sent: Sent
) -> Stored:
    path = layout.manifest(Stage.RAW, raw.bucket_date)
    key, digest = key_of(layout, path), file_digest(path)
    there = listed(store, key)
    found = held(store, key, digest, {key: there} if there else {}, known)
    if found is not None:
        return found
    sent.note(Stored(key, 0, source=digest))
    return sent.note(_put(store, key, path, digest))


def _store_key(layout: Layout, store: Store) -> Stored:
    path = layout.id_key()
    if not path.exists():
        raise BucketError(f"{path} is gone: copy keys/id.key back from the backup, or every id changes")
    there = check_key(layout, store)
    if there is not None:
        return there
    digest = file_digest(path)
    if store.encrypts:
        _put(store, key_mark(layout), path, digest)
    return _put(store, key_of(layout, path), path, digest)


def _put(store: Store, key: str, path: Path, digest: str) -> Stored:
    stored = store.put(key, path)
    if stored.source != digest:
        raise TransferError(f"the backup does not hold {key} as it was sent; run this bucket's backup again")
    return stored


def _look_again(store: Store, prefix: str, records: list[ReportRecord]) -> None:
    """One listing says that all of it is there, however many keys it has."""
    listing = {stored.key: stored for stored in store.list(prefix)}
    wrong = 0
    for record in records:
        there = listing.get(str(record.name))
        wrong += there is None or (there.size, there.mark) != (record.size, record.mark)
    if wrong:
        raise TransferError(
            f"the backup does not show {wrong} of {len(records)} objects below {prefix} as they were put; "
            "run this bucket's backup again"
        )
