"""What reports take for a time: the many forms in which ten years of probes wrote one."""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from typing import Any

_TEXT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T ](\d\d):?(\d\d):?(\d\d)(?:\.\d{1,9})? ?(?:Z|UTC|([+-])(\d\d):?(\d\d))?\Z",
    re.ASCII,
)


def parse_time(value: Any) -> dt.datetime | None:
    """The UTC time that a value names, to the second: seconds since 1970 as a number or text, or a date
    and time in any of the forms that reports hold. None for anything else, and outside years 1 to 9999."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return _from_seconds(float(value)) if -1e12 < value < 1e12 else None
    if isinstance(value, str) and len(value) <= 40:
        return _parse_text(value)
    return None


@functools.lru_cache(maxsize=4096)
def _parse_text(text: str) -> dt.datetime | None:
    match = _TEXT.match(text.strip())
    if not match:
        try:
            return _from_seconds(float(text))
        except ValueError:
            return None
    try:
        time = dt.datetime(*(int(match[group]) for group in range(1, 7)))  # type: ignore[arg-type]
        if match[7]:
            offset = dt.timedelta(hours=int(match[8]), minutes=int(match[9]))
            time = time - offset if match[7] == "+" else time + offset
    except (ValueError, OverflowError):
        return None
    return time


def _from_seconds(seconds: float) -> dt.datetime | None:
    if not math.isfinite(seconds):
        return None
    try:
        return dt.datetime(1970, 1, 1) + dt.timedelta(seconds=math.floor(seconds))
    except OverflowError:
        return None
