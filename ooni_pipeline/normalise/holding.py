"""Which normalised reports hold entries that are asked for by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ooni_pipeline.normalise.duplicates import BEFORE_ID, ID_TEXT


def holding(paths: Iterable[Path], meant: Callable[[str], bool]) -> list[Path]:
    """Those of these files that hold an entry whose id is ``meant``. One that is not there holds none."""
    return [path for path in paths if path.is_file() and _holds(path, meant)]


def _holds(path: Path, meant: Callable[[str], bool]) -> bool:
    with path.open("rb") as lines:
        return any(meant(line[BEFORE_ID : BEFORE_ID + ID_TEXT].decode("ascii", "replace")) for line in lines)
