"""The records of withdrawals in the backup: there before anything is deleted, back here before anything is
restored."""

from __future__ import annotations

from ooni_pipeline.bucket.files import file_digest, whole_file
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.withdrawn import parse_withdrawal, record_names
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.stored import key_of
from ooni_pipeline.transfer.stores import Store


def fetch_records(layout: Layout, store: Store, key: bytes) -> list[str]:
    """Bring the records that the backup alone has. Returns their names.

    Raises TransferError where one is damaged, or was made with another ``key``.
    """
    directory = layout.withdrawn()
    came = sorted(_there(layout, store) - set(record_names(directory)))
    for name in came:
        path = directory / name
        with whole_file(path) as part:
            store.get(key_of(layout, path), part)
            try:
                parse_withdrawal(part.read_bytes(), path.stem, key)
            except ValueError as error:
                raise TransferError(f"{key_of(layout, path)} of the backup {error}") from None
    return came


def store_records(layout: Layout, store: Store) -> None:
    """Store the records that the backup lacks. Raises TransferError where it does not take one."""
    directory = layout.withdrawn()
    for name in sorted(set(record_names(directory)) - _there(layout, store)):
        path = directory / name
        if store.put(key_of(layout, path), path).source != file_digest(path):
            raise TransferError(f"the backup does not hold {key_of(layout, path)} as it was sent")


def _there(layout: Layout, store: Store) -> set[str]:
    prefix = f"{key_of(layout, layout.withdrawn())}/"
    names = {stored.key.removeprefix(prefix) for stored in store.list(prefix)}
    return {name for name in names if name.endswith(".json") and "/" not in name}
