"""Does the backup hold a bucket now? Asked of the store, before the only other copy goes."""

from __future__ import annotations

import datetime as dt

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.errors import TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.sent import BESIDE, is_as_known, spread, stored_of
from ooni_pipeline.transfer.stored import bucket_prefix, check_key, key_of, listed
from ooni_pipeline.transfer.stores import Store, Stored


def backup_problems(
    layout: Layout,
    bucket_date: dt.date,
    store: Store,
    *,
    read: bool = False,
    connections: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """What is wrong with the backup of a bucket, a line each; empty when every file, the manifest and the key
    of ids lie there as they were put.

    S3 is asked for one listing: each object must have the size and the mark that its put answered with, which
    follow from its bytes. A directory is read, and with ``read`` S3 is too: each object comes back, is
    decrypted, and must be the file that was fetched. Raises BucketError where a proof is missing or damaged,
    TransferError where the store cannot be asked.
    """
    raw = read_proof(layout, Stage.RAW, bucket_date)
    proof = read_proof(layout, Stage.BACKUP, bucket_date)
    backed_up = {record.report: record for record in proof.reports}
    listing = {stored.key: stored for stored in store.list(bucket_prefix(layout, bucket_date))}
    directory = layout.bucket(Stage.RAW, bucket_date)

    def look(record: ReportRecord) -> str:
        key, put = key_of(layout, directory / str(record.name)), backed_up.get(record.report)
        if put is None or put.name != key or put.source != record.digest:
            return f"{key}: the proof of the backup does not name it"
        if listing.get(key) is None:
            return f"{key}: the backup holds it no more"
        if not is_as_known(store, listing[key], stored_of(put)):
            return f"{key}: it is not what was put there"
        return _unread(layout, store, key, record.digest) if read else ""

    files = [record for record in raw.reports if record.name is not None]
    found = spread(look, files, connections, lambda done: progress(done, len(files)))
    return [problem for problem in (*found, _proof(layout, proof, store), _key(layout, store)) if problem]


def _proof(layout: Layout, proof: Manifest, store: Store) -> str:
    """The raw manifest in the backup, without which nobody knows what the objects are."""
    path = layout.manifest(Stage.RAW, proof.bucket_date)
    key, digest = key_of(layout, path), file_digest(path)
    told = proof.facts.get(BESIDE, {}).get(key)
    there = listed(store, key)
    if there is None:
        return f"{key}: the backup holds it no more"
    if told is None:  # by a backup of older code
        same = store.digest(key) == digest
    else:
        put = Stored(key, **told)
        same = put.source == digest and is_as_known(store, there, put)
    return "" if same else f"{key}: it is not what was put there"


def _key(layout: Layout, store: Store) -> str:
    try:
        return "" if check_key(layout, store) else "keys/id.key: the backup does not hold it"
    except TransferError as error:
        return str(error)


def _unread(layout: Layout, store: Store, key: str, digest: str) -> str:
    part = part_of(layout.sealing() / key)
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        store.get(key, part)
        return "" if file_digest(part) == digest else f"{key}: it comes back as something else"
    except TransferError as error:
        return str(error)
    finally:
        part.unlink(missing_ok=True)
