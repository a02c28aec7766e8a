"""What was withdrawn: the record of who did it, when and why, and the tombstones that keep it away.

A record is one small file, written once, before anything is deleted, here and in the backup. A tombstone is a
keyed digest of what was withdrawn: whoever holds the thing and the key can tell that it was withdrawn, and
nobody can tell from a tombstone what it was. No record says a name, an id or a byte of a report.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket.files import whole_file
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.errors import BucketError

FORMAT = 1
#: What a raw proof says under ``facts``: how many reports and measurements were withdrawn from the bucket.
WITHDRAWN = "withdrawn"
#: So that no digest here can be the id of an entry, or one of the bridge table: none of them begins so.
_DOMAIN = b"withdrawn\0"
_KINDS = ("reports", "former", "entries")


@dataclass(frozen=True)
class Withdrawal:
    """One act. ``counts`` are the reports and the measurements that went from each bucket; the tombstones are
    those of whole ``reports``, of reports as they were before an entry was cut out (``former``), and of
    ``entries``."""

    name: str
    when: str
    by: str
    why: str
    counts: dict[dt.date, tuple[int, int]] = field(default_factory=dict)
    reports: frozenset[str] = frozenset()
    former: frozenset[str] = frozenset()
    entries: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Marks:
    """Makes tombstones, with the key of ids."""

    key: bytes

    def report(self, content: str) -> str:
        """Of a report, by the SHA-256 of its uncompressed bytes."""
        return self._of("report", content)

    def entry(self, measurement_id: str) -> str:
        """Of an entry that can be read, by its id, a UUID."""
        return self._of("entry", measurement_id.lower())

    def piece(self, digest: str) -> str:
        """Of an entry that cannot be read, by the SHA-256 of its bytes."""
        return self._of("piece", digest)

    def seal(self, text: str) -> str:
        """Shows that a record is whole, and was made with this key."""
        return self._of("record", text)

    def _of(self, kind: str, text: str) -> str:
        return hmac.new(self.key, _DOMAIN + f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()


class Tombstones:
    """All tombstones of a pipeline. Travels to worker processes as the place where they lie."""

    def __init__(self, directory: Path, key: bytes) -> None:
        self._directory, self._key = directory, key
        self.marks = Marks(key)
        records = list(_records(directory, key))
        self._reports = frozenset[str]().union(*(record.reports for record in records))
        self._former = frozenset[str]().union(*(record.former for record in records))
        self._entries = frozenset[str]().union(*(record.entries for record in records))

    def __reduce__(self) -> tuple[Any, tuple[Path, bytes, tuple[str, ...]]]:
        return _tombstones, (self._directory, self._key, tuple(record_names(self._directory)))

    def __bool__(self) -> bool:
        return bool(self._reports or self._former or self._entries)

    def report(self, content: str) -> bool:
        """Whether the report with this digest was withdrawn as a whole."""
        return bool(self._reports) and self.marks.report(content) in self._reports

    def former(self, content: str) -> bool:
        """Whether the report with this digest is one as it was before entries were cut out of it."""
        return bool(self._former) and self.marks.report(content) in self._former

    def entry(self, measurement_id: str) -> bool:
        """Whether the entry with this id was withdrawn."""
        return bool(self._entries) and self.marks.entry(measurement_id) in self._entries

    def piece(self, digest: str) -> bool:
        """Whether an entry that cannot be read, with this digest, was withdrawn."""
        return bool(self._entries) and self.marks.piece(digest) in self._entries


@functools.lru_cache(maxsize=1)
def _tombstones(directory: Path, key: bytes, names: tuple[str, ...]) -> Tombstones:
    return Tombstones(directory, key)


def tombstones(layout: Layout, key: bytes) -> Tombstones:
    """The tombstones, with the key of ids. Raises BucketError for a record that is damaged: what it kept
    away would come back."""
    return Tombstones(layout.withdrawn(), key)


def record_withdrawal(layout: Layout, withdrawal: Withdrawal, key: bytes) -> Path:
    """Write the record of an act; what it says is in force from now on. Returns where it is."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "when": withdrawal.when,
        "by": withdrawal.by,
        "why": withdrawal.why,
        "counts": {date.isoformat(): list(both) for date, both in sorted(withdrawal.counts.items())},
    }
    record.update({kind: sorted(getattr(withdrawal, kind)) for kind in _KINDS})
    record["seal"] = Marks(key).seal(_sealed(record))
    path = layout.withdrawn() / f"{withdrawal.name}.json"
    with whole_file(path) as part:
        part.write_text(json.dumps(record, indent=0) + "\n", encoding="ascii")
    return path


def withdrawals(layout: Layout, key: bytes | None = None) -> list[Withdrawal]:
    """All acts, the oldest first. With the ``key`` of ids it is seen to that none was altered. Raises
    BucketError for a record that is damaged."""
    return list(_records(layout.withdrawn(), key))


def withdrawn_counts(layout: Layout, bucket_date: dt.date) -> tuple[int, int]:
    """How many reports and how many measurements were withdrawn from a bucket: numbers for everybody."""
    counts = [record.counts.get(bucket_date, (0, 0)) for record in withdrawals(layout)]
    return sum(reports for reports, _ in counts), sum(measurements for _, measurements in counts)


def record_names(directory: Path) -> list[str]:
    """The files of the records in a directory, the oldest first."""
    paths = directory.iterdir() if directory.is_dir() else ()
    return sorted(path.name for path in paths if path.suffix == ".json" and not path.name.startswith("."))


def _records(directory: Path, key: bytes | None) -> Iterator[Withdrawal]:
    for name in record_names(directory):
        path = directory / name
        try:
            yield parse_withdrawal(path.read_bytes(), path.stem, key)
        except OSError as error:
            raise BucketError(f"{path}, of a withdrawal, cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise BucketError(
                f"{path}, of a withdrawal, {error}: copy it back from the backup (withdrawn/{name}); "
                "without it what was withdrawn comes back"
            ) from None


def parse_withdrawal(data: bytes, name: str, key: bytes | None = None) -> Withdrawal:
    """The act in a record. Raises ValueError, in words, for one that is damaged or of another ``key``."""
    try:
        value = json.loads(data)
        seal = value.pop("seal")
        whole = value["format"] == FORMAT
        made = Withdrawal(
            name,
            _text(value["when"]),
            _text(value["by"]),
            _text(value["why"]),
            {dt.date.fromisoformat(date): (int(r), int(m)) for date, (r, m) in value["counts"].items()},
            **{kind: frozenset(map(_text, value[kind])) for kind in _KINDS},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("is damaged") from None
    if not whole or (key is not None and not hmac.compare_digest(str(seal), Marks(key).seal(_sealed(value)))):
        raise ValueError("is damaged, or was made with another id.key")
    return made


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sealed(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)
