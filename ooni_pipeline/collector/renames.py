"""What RenameReports did for one date: a line for each file, and the proof that counts them.

``renames/2016-08-01.jsonl`` gets its line right before a file is renamed, so that a run which dies leaves
nothing out; ``renames/2016-08-01.json`` is the proof, written last. A date that is run again adds to both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ooni_pipeline.bucket.files import sweep_parts, whole_file
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.outgoing import is_half_moved

RENAMED = "renamed"
#: A line has two names of at most 4096 bytes, each of which may be written with six characters.
_LONGEST_LINE = 64 * 1024


@dataclass
class RenamesProof:
    """The proof of one date. ``files`` counts by what became of them (renamed, empty, invalid, failed),
    ``reasons`` by why they were set aside, over all runs; the others are what the last run left: finalised
    too late, still being written (``changing`` by name, although finalised in time), of endings that are no
    report's, not to be read by this account. ``recorded`` is the size of the list of files, in bytes."""

    bucket_date: str
    cut_off: str
    files: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    being_written: int = 0
    changing: list[str] = field(default_factory=list)
    other: int = 0
    unreadable: int = 0
    recorded: int = 0

    def write(self, path: Path) -> None:
        with whole_file(path) as part:
            part.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="ascii")

    @classmethod
    def read(cls, path: Path) -> RenamesProof | None:
        """None where there is none, or one that nobody can read: then the date is to be done again, which
        changes nothing that was done."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def proof_path(layout: CollectorLayout, bucket_date: dt.date) -> Path:
    return layout.renames / f"{bucket_date}.json"


def list_path(layout: CollectorLayout, bucket_date: dt.date) -> Path:
    return layout.renames / f"{bucket_date}.jsonl"


class RenamesList:
    """The list of one date, to be added to. Lines: {"kind", "from", "to", "why"}, ``from`` relative to the
    archive, ``to`` to the collector's directory. One writer at a time."""

    def __init__(self, layout: CollectorLayout, bucket_date: dt.date) -> None:
        self._layout = layout
        proof = RenamesProof.read(proof_path(layout, bucket_date))
        self._proved = proof.recorded if proof else 0
        self._path = list_path(layout, bucket_date)
        self._file = -1
        self._last = 0  # where the last line begins

    def __enter__(self) -> RenamesList:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._end_what_a_run_left()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def intend(self, kind: str, source: str, destination: Path, why: str = "") -> None:
        """Write down what is about to be done."""
        to = destination.relative_to(self._layout.directory).as_posix()
        line = json.dumps({"kind": kind, "from": source, "to": to, "why": why}).encode("ascii") + b"\n"
        self._last = os.fstat(self._file).st_size
        if os.write(self._file, line) != len(line):  # the disk is full: the next one says so, or goes
            self.retract()
            os.write(self._file, line)

    def retract(self) -> None:
        """It was not done."""
        os.ftruncate(self._file, self._last)

    @property
    def size(self) -> int:
        return os.fstat(self._file).st_size

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """How many files by kind, and by why."""
        kinds: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for line in read_list(self._path):
            kinds[line["kind"]] += 1
            if line["why"]:
                reasons[line["why"]] += 1
        return kinds, reasons

    def _end_what_a_run_left(self) -> None:
        """A run that died wrote at most one line more than it did, and perhaps half a one."""
        size = self.size
        begin = max(min(self._proved, size), size - _LONGEST_LINE)
        tail = os.pread(self._file, size - begin, begin)
        whole = tail.rfind(b"\n") + 1
        if whole != len(tail):
            os.ftruncate(self._file, begin + whole)
        if not whole:
            return
        last = tail.rfind(b"\n", 0, whole - 1) + 1
        line = _parsed(tail[last:whole])
        if line is None:
            return
        source, destination = self._layout.archive / line["from"], self._layout.directory / line["to"]
        if is_half_moved(source, destination):
            source.unlink()
        elif os.path.lexists(source):
            os.ftruncate(self._file, begin + last)


def end_what_the_last_run_left(layout: CollectorLayout) -> None:
    """Make the list true to which the last run added, of whatever date; and half a proof goes. It may have
    died."""
    sweep_parts(layout.renames)
    lists = {path.stat().st_mtime: path.stem for path in layout.renames.glob("????-??-??.jsonl")}
    if lists:
        with contextlib.suppress(ValueError), _last(layout, lists[max(lists)]):
            pass


def _last(layout: CollectorLayout, date: str) -> RenamesList:
    """Raises ValueError for a date that is none: somebody else's file."""
    return RenamesList(layout, dt.date.fromisoformat(date))


def read_list(path: Path) -> Iterator[dict[str, str]]:
    """Every line of a list of renamed files, as :class:`RenamesList` writes it."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for text in file:
            if line := _parsed(text):
                yield line


def _parsed(text: bytes) -> dict[str, str] | None:
    """A line, or None for one that somebody edited until it is none."""
    with contextlib.suppress(ValueError):
        line: Any = json.loads(text)
        if isinstance(line, dict) and all(isinstance(line.get(key), str) for key in _KEYS):
            return line
    return None


_KEYS = ("kind", "from", "to", "why")
