"""What this machine knows of the objects of a bucket in the backup, without reading them.

Its own records: the proof of the backup, the one that was put aside, and what a run that died had put. Where
the backup is encrypted nothing else here tells which bytes an object was made from.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.errors import BucketError
from ooni_pipeline.transfer.stores import Store, Stored

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Under ``facts`` of the backup's proof: what lies there beside the reports, by key.
BESIDE = "beside"


def record_of(report: str, stored: Stored) -> ReportRecord:
    """The backup's record of a report: ``source`` is the digest of its file, ``digest`` of the object."""
    return ReportRecord(
        report, stored.key, stored.size, stored.digest, source=stored.source, mark=stored.mark
    )


def stored_of(record: ReportRecord) -> Stored:
    """The object that a record of the backup is about."""
    return Stored(str(record.name), record.size, record.mark, record.digest, record.source)


def known_objects(layout: Layout, bucket_date: dt.date) -> dict[str, Stored]:
    """By key, what was put into the backup for a bucket; what is said last counts."""
    known: dict[str, Stored] = {}
    for path in (layout.forgotten(Stage.BACKUP, bucket_date), layout.manifest(Stage.BACKUP, bucket_date)):
        try:
            manifest = Manifest.read(path)
        except BucketError:  # there is none, or it is damaged: then the store is asked object by object
            continue
        known |= {str(record.name): stored_of(record) for record in manifest.reports if record.name}
        for key, told in manifest.facts.get(BESIDE, {}).items():
            known[key] = Stored(key, **told)
    try:
        lines = layout.sent(bucket_date).read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            stored = Stored(**json.loads(line))
        except (ValueError, TypeError):  # the last line of a run that died
            continue
        known[stored.key] = stored
    return known


def beside(objects: Iterable[Stored]) -> dict[str, dict[str, object]]:
    """What the backup's proof says under :data:`BESIDE`."""
    told = {stored.key: dataclasses.asdict(stored) for stored in objects}
    return {key: {name: value for name, value in one.items() if name != "key"} for key, one in told.items()}


class Sent:
    """Notes each object as it is put, so that a run that dies in its middle is gone on with."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="ascii")
        self._lock = threading.Lock()
        if self._file.tell():
            self._file.write("\n")  # behind a line that was not finished

    def __enter__(self) -> Sent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def note(self, stored: Stored) -> Stored:
        with self._lock:
            self._file.write(json.dumps(dataclasses.asdict(stored)) + "\n")
            self._file.flush()
        return stored


def is_as_known(store: Store, listed: Stored | None, known: Stored | None) -> bool:
    """Whether an object is still the one that was put: by the mark that the store's listing shows. Where
    there is none the store is asked for the digest, for which a directory reads the file."""
    if listed is None or known is None or listed.size != known.size:
        return False
    if listed.mark and known.mark:  # never the digest then: whoever changed it may have left our words on it
        return listed.mark == known.mark
    return bool(known.digest) and store.digest(known.key) == known.digest


def held(
    store: Store, key: str, source: str, listing: Mapping[str, Stored], known: Mapping[str, Stored]
) -> Stored | None:
    """The object under ``key``, where it is made from the file whose digest is ``source``; else None."""
    listed, record = listing.get(key), known.get(key)
    if listed is None:
        return None
    if record is not None and record.source == source:
        known_still = is_as_known(store, listed, record)
        return dataclasses.replace(record, mark=listed.mark) if known_still else None
    if store.digest(key) == source:  # nothing here knows of it, but it says itself what it is
        return dataclasses.replace(listed, digest=source, source=source)
    return None


def spread(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    connections: int,
    done: Callable[[int], None] = lambda number: None,
) -> list[Result]:
    """``work`` for each item, so many at a time; the results in the order of the items. After the first error
    nothing more is begun, and it is raised once those that were under way have ended."""
    if connections < 2:
        results = []
        for item in items:
            results.append(work(item))
            done(len(results))
        return results
    with ThreadPoolExecutor(connections) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for number, future in enumerate(as_completed(futures), 1):
                future.result()
                done(number)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]
