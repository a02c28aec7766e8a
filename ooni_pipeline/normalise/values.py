"""Rules for values of all families: byte strings (only YAML reports hold them) and how many there may be."""

from __future__ import annotations

import base64
import re
from typing import Any

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.normalise.source import Source
from ooni_pipeline.report.entry import MAX_RECORDS, EntryRejected

#: A byte string has a tag, however it is written, and a tag begins with an exclamation mark that stands
#: behind none of these (as that of ``<!DOCTYPE`` does, which most bodies hold). The mark comes first here,
#: because only then it is looked for at the speed of memory.
_MAY_BE_TAG = re.compile(rb"!(?<![<A-Za-z0-9_.);>=/]!)")


def binary_to_text(entry: dict[str, Any], source: Source) -> None:
    """Turn every byte string of the entry into text or a base64 mapping (keys are text already)."""
    header = source.report.header
    if header.value and (_MAY_BE_TAG.search(source.raw.raw) or _MAY_BE_TAG.search(header.raw)):
        textual(entry)


def bounded(records: list[Any]) -> list[Any]:
    """The records, each of which normalising fills up. Raises EntryRejected TOO_MANY_NODES for too many."""
    if len(records) > MAX_RECORDS:
        raise EntryRejected(RejectReason.TOO_MANY_NODES, f"over {MAX_RECORDS} requests or queries")
    return records


def text_or_base64(value: bytes) -> str | dict[str, str]:
    """UTF-8 as a string; anything else as ``{"data": <base64 of the bytes>, "format": "base64"}``."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"data": base64.b64encode(value).decode("ascii"), "format": "base64"}


def textual(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without byte strings. It and what it holds are changed in place, without recursion."""
    waiting: list[Any] = [entry]
    for container in waiting:
        for key, item in container.items() if type(container) is dict else enumerate(container):
            kind = type(item)
            if kind is dict or kind is list:
                waiting.append(item)
            elif kind is bytes:
                container[key] = text_or_base64(item)
    return entry
