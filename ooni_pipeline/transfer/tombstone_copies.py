"""The records of withdrawals in the backup: there before anything is deleted, back here before anything is
restored."""

from __future__ import annotations

from ooni_pipeline.bucket.files import file_digest, whole_file
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.withdrawn import parse_withdrawal, record_names
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.stored import key_of
from ooni_pipeline.transfer.stores import Store


def exchange_records(layout: Layout, store: Store, key: bytes) -> list[str]:
    """Bring the records that the backup alone has here, and store those that it lacks. Returns the names of
    those that came.

    Raises TransferError where the backup does not take one, or has one that is damaged or was made with
    another ``key``.
    """
    directory = layout.withdrawn()
    prefix = f"{key_of(layout, directory)}/"
    there = {stored.key.removeprefix(prefix) for stored in store.list(prefix)}
    here = set(record_names(directory))
    came = sorted(name for name in there - here if name.endswith(".json") and "/" not in name)
    for name in came:
        path = directory / name
        with whole_file(path) as part:
            store.get(key_of(layout, path), part)
            try:
                parse_withdrawal(part.read_bytes(), path.stem, key)
            except ValueError as error:
                raise TransferError(f"{key_of(layout, path)} of the backup {error}") from None
    for name in sorted(here - there):
        path = directory / name
        if store.put(key_of(layout, path), path).source != file_digest(path):
            raise TransferError(f"the backup does not hold {key_of(layout, path)} as it was sent")
    return came
