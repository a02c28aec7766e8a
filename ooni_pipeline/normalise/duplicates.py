"""The same entry twice in one bucket: the first (by report, then by place in it) stays."""

from __future__ import annotations

import hashlib
import zlib

from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter

BEFORE_ID = len(b'{"id":"')  # the id is the first key of a normalised entry
ID_TEXT, _ID_BYTES = 36, 16
#: About as many ids are looked at in one go: 50 MB of memory.
_AT_ONCE = 500_000


class IdsAndCrc:
    """The digest of a file of normalised entries: SHA-256 over their ids and the CRC-32 of its bytes.

    An id is a keyed digest of what was submitted, so together they name what the file was made from; the
    CRC notices damage. A SHA-256 of all bytes would cost as much as that of the raw entries does already.
    """

    def __init__(self) -> None:
        self.ids = bytearray()
        self._crc = 0

    def update(self, data: bytes, /) -> None:
        self._crc = zlib.crc32(data, self._crc)

    def hexdigest(self) -> str:
        return hashlib.sha256(self.ids + self._crc.to_bytes(4, "big")).hexdigest()


def drop_duplicates(outcomes: list[tuple[Job, Outcome]]) -> None:
    """Rewrite the files that repeat an entry of an earlier report or line, and count what went.

    ``outcomes`` are in the order of the reports. Memory: 17 bytes an entry of the bucket, and 50 MB.
    """
    repeated = repeated_lines([ids_of(job, outcome) for job, outcome in outcomes])
    for number, flags in repeated.items():
        job, outcome = outcomes[number]
        count = sum(flags)
        if count == len(flags):
            job.destination.unlink()
            outcome.size, outcome.digest = 0, ""
        else:
            ids, checksum = ids_of(job, outcome), IdsAndCrc()
            with job.destination.open("rb") as old, LinesWriter(job.destination, checksum) as new:
                for place, (line, is_repeated) in enumerate(zip(old, flags, strict=True)):
                    if not is_repeated:
                        checksum.ids += ids[place * _ID_BYTES : (place + 1) * _ID_BYTES]
                        new.write_lines(line, 1)
            outcome.size, outcome.digest = new.size, new.digest
        outcome.counts.out -= count
        outcome.counts.duplicate += count


def repeated_lines(reports: list[bytes]) -> dict[int, bytearray]:
    """Which lines of which reports repeat an id: number of the report -> a flag (0 or 1) for each line.

    Each item of ``reports`` holds the 16-byte ids of one report's lines.
    """
    shares = min(256, 1 + sum(map(len, reports)) // (_ID_BYTES * _AT_ONCE))
    repeated: dict[int, bytearray] = {}
    for share in range(shares):  # by the first byte of the id
        seen: set[bytes] = set()
        for number, ids in enumerate(reports):
            for start in range(0, len(ids), _ID_BYTES):
                if ids[start] % shares != share:
                    continue
                one = ids[start : start + _ID_BYTES]
                if one in seen:
                    flags = repeated.setdefault(number, bytearray(len(ids) // _ID_BYTES))
                    flags[start // _ID_BYTES] = 1
                seen.add(one)
    return repeated


def ids_of(job: Job, outcome: Outcome) -> bytes:
    """The ids of a report's lines: told by the work, or read from the file of one that is carried over."""
    if outcome.ids or not outcome.digest:
        return outcome.ids
    with job.destination.open("rb") as lines:
        return b"".join(
            bytes.fromhex(line[BEFORE_ID : BEFORE_ID + ID_TEXT].replace(b"-", b"").decode()) for line in lines
        )
