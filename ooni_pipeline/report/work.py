"""What a stage is asked to do with one report, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.report.tally import Tally


@dataclass(frozen=True)
class Job:
    """One report for one stage: read ``source``, write ``destination``.

    Bytes of bad entries go below ``rejected``, entries that a person must look at below ``held``.
    """

    report: str
    bucket_date: str
    source: Path
    destination: Path
    rejected: Path
    held: Path


@dataclass
class Outcome:
    """What the work made of one report.

    ``size`` and ``digest`` (hexadecimal) are those of the file written; an empty digest means no
    file, because no entry was left. ``rejected`` is a reason when the report as a whole could not be
    taken. ``ids`` are the 16-byte ids of the entries written, in order, where the stage looks for
    duplicates.
    """

    counts: Tally
    size: int = 0
    digest: str = ""
    rejected: str = ""
    detail: str = ""
    ids: bytes = field(default=b"", repr=False)
