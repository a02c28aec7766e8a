"""The SQL files: found where they are installed, or in the checkout."""

from __future__ import annotations

import functools
from pathlib import Path

from ooni_pipeline.errors import DatabaseError


def sql_directory() -> Path:
    """The directory of the SQL files: package data when installed, the top level of a checkout."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "sql", package.parent / "sql"):
        if (directory / "schema").is_dir():
            return directory
    raise DatabaseError("the SQL files are not there: install the package again")


@functools.lru_cache(maxsize=64)
def statement(name: str) -> str:
    """The text of ``sql/<name>.sql``, such as ``load/mark_loaded``."""
    return (sql_directory() / f"{name}.sql").read_text(encoding="utf-8")
