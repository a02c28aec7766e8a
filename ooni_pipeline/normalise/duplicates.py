"""The same entry twice in one bucket: the first (by report, then by place in it) stays."""

from __future__ import annotations

import struct

from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter

_BEFORE_ID = len(b'{"id":"')  # the id is the first key of a normalised entry
_ID_TEXT, _ID_BYTES = 36, 16
_PLACE = struct.Struct(">II")


def drop_duplicates(outcomes: list[tuple[Job, Outcome]]) -> None:
    """Rewrite the files that repeat an entry of an earlier report or line, and count what went.

    ``outcomes`` are in the order of the reports. Memory: 40 bytes an entry of the bucket.
    """
    repeated = repeated_lines([ids_of(job, outcome) for job, outcome in outcomes])
    for number, lines in repeated.items():
        job, outcome = outcomes[number]
        if len(lines) == outcome.counts.out:
            job.destination.unlink()
            outcome.size, outcome.digest = 0, ""
        else:
            with job.destination.open("rb") as old, LinesWriter(job.destination) as new:
                for place, line in enumerate(old):
                    if place not in lines:
                        new.write_lines(line, 1)
            outcome.size, outcome.digest = new.size, new.digest
        outcome.counts.out -= len(lines)
        outcome.counts.duplicate += len(lines)


def repeated_lines(reports: list[bytes]) -> dict[int, set[int]]:
    """Which lines of which reports repeat an id: ``{number of report: {number of line}}``.

    Each item of ``reports`` holds the 16-byte ids of one report's lines.
    """
    parts = [bytearray() for _ in range(256)]  # by the first byte: one set of ids at a time stays small
    for number, ids in enumerate(reports):
        for line in range(len(ids) // _ID_BYTES):
            one = ids[line * _ID_BYTES : (line + 1) * _ID_BYTES]
            parts[one[0]] += one + _PLACE.pack(number, line)
    repeated: dict[int, set[int]] = {}
    for part in parts:
        seen: set[bytes] = set()
        for start in range(0, len(part), _ID_BYTES + _PLACE.size):
            one = bytes(part[start : start + _ID_BYTES])
            if one in seen:
                number, line = _PLACE.unpack_from(part, start + _ID_BYTES)
                repeated.setdefault(number, set()).add(line)
            seen.add(one)
    return repeated


def ids_of(job: Job, outcome: Outcome) -> bytes:
    """The ids of a report's lines: told by the work, or read from the file of one that is carried over."""
    if outcome.ids or not outcome.digest:
        return outcome.ids
    with job.destination.open("rb") as lines:
        return b"".join(
            bytes.fromhex(line[_BEFORE_ID : _BEFORE_ID + _ID_TEXT].replace(b"-", b"").decode())
            for line in lines
        )
