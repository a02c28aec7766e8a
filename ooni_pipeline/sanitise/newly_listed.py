"""Whether what was sanitised with an older bridge table names a bridge of today's."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.lines import whole_lines
from ooni_pipeline.sanitise.search import Secrets


@dataclass(frozen=True)
class Sanitised:
    """One sanitised report of a bucket: its name, and its file with the SHA-256 that the proof says (None:
    every entry of it is held, or none was left)."""

    bucket_date: str
    report: str
    path: Path | None
    digest: str = ""


def names_a_bridge(sanitised: Sanitised, *, table: Path, digest: str) -> bool:
    """Whether any private bridge of ``table`` (in the state ``digest``) stands in the report or its name.

    True as well where the file is not there or not what was proven: nobody knows what it says. What is on
    the mirror and in the database was made from these very bytes.
    """
    known = _secrets(table, digest)
    if known.stand_in(sanitised.report.encode()):
        return True
    if sanitised.path is None:
        return False
    read = hashlib.sha256()
    try:
        with sanitised.path.open("rb") as file:
            for chunk in whole_lines(file):
                if known.stand_in(chunk):
                    return True
                read.update(chunk)
    except OSError:
        return True
    return read.hexdigest() != sanitised.digest


@functools.lru_cache(maxsize=1)
def _secrets(table: Path, digest: str) -> Secrets:
    found = load_bridge_table(table, digest)
    return Secrets(found.addresses, found.fingerprints)
