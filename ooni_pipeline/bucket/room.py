"""Is there room for a stage? Asked before it begins, because a disk that is full stops more than this stage.

The estimates are on the low side: a night that would have fitted must not be stopped. What fills the disk
all the same fails in its middle, and the next run heals it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.errors import BucketError

MB = 1_000_000

#: Bytes that a stage writes for each byte of its source, plain and gzipped. Measured over the demo and the
#: corpus of real reports, the lower of the two: normalised 1.08 and 0.87 (from gzip 7.3 and 2.5), sanitised
#: 0.99 and 1.0, published 0.10 and 0.41.
_FACTORS = {
    Stage.RAW: (1.0, 1.0),
    Stage.BACKUP: (1.0, 1.0),
    Stage.NORMALISED: (0.85, 2.4),
    Stage.SANITISED: (0.99, 0.99),
    Stage.PUBLISHED: (0.1, 0.1),
}


def needed(stage: Stage, sources: Iterable[ReportRecord]) -> int:
    """About so many bytes a stage writes for these reports of the stage above."""
    plain, packed = _FACTORS[stage]
    return int(sum(r.size * (packed if str(r.name).endswith(".gz") else plain) for r in sources))


@dataclass(frozen=True)
class Room:
    """Looks whether there is room, and ``keep_free`` bytes more. None: it does not look."""

    keep_free: int | None = None

    def check(self, what: str, directory: Path, needs: int) -> None:
        """Raise BucketError, which says what to do, where less than ``needs`` bytes are free for us in
        ``directory`` (it may still have to be made)."""
        free = _free(directory)
        if self.keep_free is None or needs <= 0 or free is None or free >= needs + self.keep_free:
            return
        raise BucketError(
            f"{what} needs about {_mb(needs)} in {directory}, where {_mb(free)} are free and "
            f"{_mb(self.keep_free)} are to stay so ([processing] keep_free_mb). Nothing was begun: make room "
            "and run it again, or set keep_free_mb = -1 to try it without looking"
        )


def _free(directory: Path) -> int | None:
    """Bytes that are free for us; None where the file system does not say."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize if status.f_blocks else None


def _mb(size: int) -> str:
    return f"{size / MB:.1f} MB" if size < 10 * MB else f"{size / MB:.0f} MB"
