"""The rule for byte strings, which only YAML reports hold: text where they are text, else base64."""

from __future__ import annotations

import base64
from typing import Any

from ooni_pipeline.normalise.source import Source


def binary_to_text(entry: dict[str, Any], source: Source) -> None:
    """Turn every byte string of the entry into text or a base64 mapping, in keys as text."""
    if b"binary" in source.raw.raw or b"binary" in source.report.header.raw:
        for key, value in entry.items():
            entry[key] = textual(value)


def text_or_base64(value: bytes) -> str | dict[str, str]:
    """UTF-8 as a string; anything else as ``{"data": <base64 of the bytes>, "format": "base64"}``."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"data": base64.b64encode(value).decode("ascii"), "format": "base64"}


def textual(value: Any) -> Any:
    """The value without byte strings. Containers are changed in place, without recursion."""
    if isinstance(value, bytes):
        return text_or_base64(value)
    waiting = [value]
    while waiting:
        container = waiting.pop()
        pairs: Any
        if isinstance(container, dict):
            pairs = list(container.items())
        elif isinstance(container, list):
            pairs = enumerate(container)
        else:
            continue
        for key, item in pairs:
            if isinstance(item, bytes):
                container[key] = text_or_base64(item)
            elif isinstance(item, (dict, list)):
                waiting.append(item)
    return value
