"""What one thing says and another overrules is moved aside, under a name that is free; nothing is lost."""

from __future__ import annotations

from typing import Any

from ooni_pipeline.report.entry import OVERRULED


def free_key(mapping: dict[str, Any], key: str) -> str:
    """``key``, with ``legacy_`` before it as often as it takes for nothing to stand there."""
    while key in mapping:
        key = OVERRULED + key
    return key


def same(one: Any, other: Any) -> bool:
    """Whether two values say the same. What is nested too deeply to be compared does not."""
    try:
        return type(one) is type(other) and bool(one == other)
    except RecursionError:
        return False
