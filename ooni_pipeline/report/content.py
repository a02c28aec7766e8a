"""The digest by which the same report is known again, compressed or not."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.source import CHUNK, Source


def content_digest(path: Path, digest: str) -> str:
    """The SHA-256 of a report's uncompressed bytes, whatever its name says.

    ``digest``, that of the file, where it is not compressed, or cannot be uncompressed to its end: half a
    report must not pass for another one.
    """
    try:
        with Source(path) as source:
            if not source.compressed:
                return digest
            content = hashlib.sha256()
            while chunk := source.read(CHUNK):
                content.update(chunk)
            return digest if source.fault else content.hexdigest()
    except BadReport:
        return digest
