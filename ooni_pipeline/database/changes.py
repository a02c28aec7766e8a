"""Two makings of the same sanitised reports, compared as rows: added, gone, altered in which column."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ooni_pipeline.database.rows import COLUMNS
from ooni_pipeline.report.json_lines import dumps, loads

#: What matches an entry, (kind, name) of each: FingerprintTable.match, as a load does.
Matches = Callable[[dict[str, Any]], Iterable[tuple[str, str]]]

_ID = re.compile(rb'\{"id":"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"')
#: About as many entries are looked up in one go: 90 MB of memory.
_AT_ONCE = 500_000
_OFFSET_BITS = 48
#: Keys of ``test_keys`` and ``extra`` that are shown: the words of our formats. A stranger chooses keys, and
#: may choose an address, a fingerprint or a command to the terminal.
_SHOWN = re.compile(r"[A-Za-z_]{1,36}[0-9]{0,2}")
_MOST_SHOWN = 200
OTHER = "(another key)"


@dataclass
class Changes:
    """How rows would change.

    ``columns`` counts altered rows by column, and by the first level of ``test_keys`` and ``extra``; ``form``
    counts those that are altered in none: only their bytes on the mirror are others. ``gained`` and ``lost``
    count the matches, by kind and name, that the new entries have and the old had not, and the reverse.
    """

    added: int = 0
    gone: int = 0
    altered: int = 0
    form: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    gained: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.added or self.gone or self.altered or self.form)

    def add(self, other: Changes) -> None:
        """Add those of another bucket."""
        for name in ("added", "gone", "altered", "form"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("columns", "gained", "lost"):
            getattr(self, name).update(getattr(other, name))


def row_changes(old: Sequence[Path], new: Sequence[Path], matches: Matches = lambda entry: ()) -> Changes:
    """Compare the entries of the ``old`` files with those of the ``new`` ones, by their ids, wherever they
    stand. Memory: about 90 MB, and a few times the two largest entries; each file is read once more for every
    500,000 old entries. Raises OSError."""
    changes = Changes()
    entries = sum(1 for _ in _entries(old))
    shares = min(256, 1 + entries // _AT_ONCE)
    with _Lines(old) as lines:
        for share in range(shares):
            _compare(old, new, share, shares, lines, matches, changes)
    return changes


def _compare(
    old: Sequence[Path],
    new: Sequence[Path],
    share: int,
    shares: int,
    lines: _Lines,
    matches: Matches,
    changes: Changes,
) -> None:
    """The entries of which the first byte of the id says that they are of this share."""
    places: dict[bytes, int] = {}
    for key, number, offset, _ in _entries(old):
        if key[0] % shares == share:
            places[key] = number << _OFFSET_BITS | offset
    for key, _, _, line in _entries(new):
        if key[0] % shares != share:
            continue
        place = places.pop(key, None)
        if place is None:
            changes.added += 1
            changes.gained.update(matches(_entry(line)))
        elif (before := lines.at(place)) != line:
            _altered(_entry(before), _entry(line), matches, changes)
    changes.gone += len(places)
    for place in places.values():
        changes.lost.update(matches(_entry(lines.at(place))))


def _altered(before: dict[str, Any], after: dict[str, Any], matches: Matches, changes: Changes) -> None:
    columns = set(altered_columns(before, after))
    changes.altered += bool(columns)
    changes.form += not columns
    for column in columns:
        known = column in changes.columns or len(changes.columns) < _MOST_SHOWN
        changes.columns[column if known else OTHER] += 1
    then, now = Counter(matches(before)), Counter(matches(after))
    changes.gained.update(now - then)
    changes.lost.update(then - now)


def altered_columns(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """The columns in which two entries make other rows: ``input``, ``test_keys.requests``,
    ``extra.sanitised``."""
    for key in before.keys() | after.keys():
        then, now = before.get(key), after.get(key)
        if _same(then, now):
            continue
        if key not in COLUMNS:
            yield f"extra.{_shown(key)}"
        elif key == "test_keys" and isinstance(then, dict) and isinstance(now, dict):
            for inner in then.keys() | now.keys():
                if (inner in then) != (inner in now) or not _same(then.get(inner), now.get(inner)):
                    yield f"test_keys.{_shown(inner)}"
        else:
            yield key


def _shown(key: str) -> str:
    return key if _SHOWN.fullmatch(key) else OTHER


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same to PostgreSQL: the order of keys says nothing, true is not 1."""
    if dumps(one) == dumps(other):
        return True
    todo = [(one, other)]
    while todo:
        left, right = todo.pop()
        if isinstance(left, dict) and isinstance(right, dict):
            if left.keys() != right.keys():
                return False
            todo += [(value, right[key]) for key, value in left.items()]
        elif isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                return False
            todo += zip(left, right, strict=True)
        elif left != right or isinstance(left, bool) != isinstance(right, bool):
            return False
    return True


def _entries(files: Sequence[Path]) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Every line: the 16 bytes that name its entry, the number of its file, its offset, the line."""
    for number, path in enumerate(files):
        offset = 0
        with path.open("rb") as lines:
            for line in lines:
                yield _key(line), number, offset, line
                offset += len(line)


def _key(line: bytes) -> bytes:
    """The id of an entry; of a line that has none, a digest, by which it is the same line or another."""
    if found := _ID.match(line):
        return bytes.fromhex(found[1].replace(b"-", b"").decode())
    try:
        return bytes.fromhex(str(_entry(line)["id"]).replace("-", "")).rjust(16, b"\0")
    except (ValueError, KeyError):
        return hashlib.sha256(line).digest()[:16]


def _entry(line: bytes) -> dict[str, Any]:
    """The entry; an empty one where the line is none."""
    try:
        entry = loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


class _Lines:
    """Lines of files, read again where they stand; one file is open at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._number = -1
        self._opened: Any = None

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._opened is not None:
            self._opened.close()

    def at(self, place: int) -> bytes:
        number, offset = place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1)
        if number != self._number:
            self.__exit__()
            self._opened, self._number = self._files[number].open("rb"), number
        self._opened.seek(offset)
        return bytes(self._opened.readline())
