"""What only the pipeline may say: no client can pose as it at the top level of an entry.

A client's own value under such a key is kept under ``client_<key>``. A key that a client itself calls so
gets the prefix once more, hence ``client_id`` is always what the client had under ``id``.
"""

from __future__ import annotations

import re
from typing import Any

from ooni_pipeline.normalise.source import Source

#: Keys that the pipeline sets, whatever the client says there.
OURS = frozenset(("bucket_date", "id", "report_filename", "sanitised", "time_source"))
#: Keys that the pipeline sets where it cannot use what the client says there.
MENDED = frozenset(
    ("data_format_version", "measurement_start_time", "report_id", "test_name", "test_start_time")
)
PREFIX = "client_"

_CLIENT_KEY = re.compile(f"(?:{PREFIX})+(?:{'|'.join(sorted(OURS | MENDED))})")


def is_client_key(key: str) -> bool:
    """Whether ``key`` is one under which a client's own value is kept."""
    return key.startswith(PREFIX) and _CLIENT_KEY.fullmatch(key) is not None


def keep_apart(entry: dict[str, Any], source: Source) -> None:
    """Move what the client says under our keys to ``client_<key>``; nulls say nothing and go."""
    claims = [key for key in entry if key in OURS or is_client_key(key)]
    moved = {PREFIX + key: entry.pop(key) for key in claims}
    entry.update((key, value) for key, value in moved.items() if value is not None)


def keep_beside(entry: dict[str, Any], key: str) -> None:
    """Keep what the client says under ``key``, which is about to be mended, under ``client_<key>``."""
    if entry.get(key) not in (None, ""):
        entry[PREFIX + key] = entry[key]
