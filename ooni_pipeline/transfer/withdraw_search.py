"""Looking into raw reports for what is to be withdrawn. Nothing is changed here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ooni_pipeline.bucket.withdrawn import Marks
from ooni_pipeline.report.cutting import Cut, copy_without, cuttable_entries
from ooni_pipeline.report.entry import BadReport, RawEntry
from ooni_pipeline.report.measurement_id import measurement_id


class Writable(Protocol):
    """Takes bytes, and tells whether what is sought stood in them."""

    @property
    def found(self) -> bool: ...

    def write(self, data: bytes, /) -> int: ...


class Sought(Protocol):
    """An address or another text, which knows where it stands; nothing else knows what it is."""

    def in_text(self, text: str) -> bool: ...

    def in_bytes(self, data: bytes) -> bool: ...

    def in_value(self, value: Any) -> bool: ...

    def sink(self) -> Writable: ...


@dataclass(frozen=True)
class Look:
    """A raw report to be looked into: ``whole`` when all of it is meant whatever it holds. ``names`` are what
    it and its file are called, here and on its collector."""

    bucket_date: dt.date
    report: str
    path: Path
    whole: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What of a report is to go: all of it, or ``entries`` of it. ``marks`` are the tombstones of those that
    go, ``ids`` the ids of those that can be read."""

    whole: bool
    entries: int
    ids: tuple[str, ...]
    marks: tuple[str, ...]


def look_into(
    look: Look,
    *,
    key: bytes,
    ids: frozenset[str] = frozenset(),
    sought: Sought | None = None,
) -> Found | None:
    """What of a report is meant: all of it, entries with these ``ids``, or those with what is ``sought``.

    It goes whole where what is sought stands in its name, its header or between its entries, where nobody can
    tell its entries apart, and where no entry would be left.
    """
    whole = look.whole or (sought is not None and any(map(sought.in_text, look.names)))
    found: list[_Entry] = []
    if not whole:
        left, readable = 0, True
        try:
            for one in _entries(look.path, key):
                if one.id in ids or (sought is not None and one.holds(sought)):
                    found.append(one.without_item())
                else:
                    left += 1
        except BadReport:
            readable = False
        if sought is not None and (readable or not ids):
            whole = _still_holds(look.path, [one.cut for one in found], sought)
        whole = whole or bool(found and not left)
        if not whole and not found:
            return None
    if whole:
        found = list(_whole(look.path, key))
    readable_ids = tuple(one.id for one in found if one.id)
    return Found(whole, len(found), readable_ids, tuple(one.mark for one in found if one.mark))


@dataclass(frozen=True)
class _Entry:
    """``mark`` is its tombstone; there is none for a blank line, or an entry of nothing: there are many."""

    id: str
    mark: str
    cut: Cut
    header: Any = None
    item: Any = None

    def holds(self, sought: Sought) -> bool:
        if sought.in_bytes(self.item.raw):
            return True
        if not isinstance(self.item, RawEntry):
            return False
        return sought.in_value(self.item.value)

    def without_item(self) -> _Entry:
        return _Entry(self.id, self.mark, self.cut)


#: Bytes that are no entry and fewer than these say nothing of anybody: see _Entry.mark.
_NOTHING = 16


def _entries(path: Path, key: bytes) -> Iterator[_Entry]:
    marks = Marks(key)
    for one in cuttable_entries(path):
        if isinstance(one.item, RawEntry):
            named = measurement_id(key, one.header.raw, one.item.raw)
            yield _Entry(named, marks.entry(named), one.cut, one.header.value, one.item)
        else:
            mark = marks.piece(one.item.digest) if one.item.size >= _NOTHING else ""
            yield _Entry("", mark, one.cut, one.header.value, one.item)


def _whole(path: Path, key: bytes) -> Iterator[_Entry]:
    try:
        for one in _entries(path, key):
            yield one.without_item()
    except BadReport:
        return


def _still_holds(path: Path, cuts: list[Cut], sought: Sought) -> bool:
    """Whether it stands in what would be left: in the header, in a comment, in bytes that nobody can read."""
    try:
        for one in cuttable_entries(path):
            if sought.in_value(one.header.value):
                return True
            break
        sink = sought.sink()
        copy_without(path, sink, cuts)
    except BadReport:  # no report at all: a directory's name, a file that is no gzip
        return _raw_holds(path, sought)
    return sink.found


def _raw_holds(path: Path, sought: Sought) -> bool:
    sink = sought.sink()
    try:
        copy_without(path, sink, [])
    except BadReport:
        return sought.in_bytes(path.read_bytes()) if path.is_file() and not path.is_symlink() else False
    return sink.found
