"""Walking through an entry without recursion: every string, every mapping, bytes in base64 as well."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Container, Iterator
from typing import Any

from ooni_pipeline.report.entry import OVERRULED


def change_strings(root: dict[str, Any] | list[Any], change: Callable[[str], str]) -> None:
    """Put ``change(string)`` in the place of every string in ``root``, keys included.

    Keys that become alike are told apart by a number behind them, so that no value is lost.
    """
    waiting: list[Any] = [root]
    for container in waiting:
        if isinstance(container, dict):
            _change_keys(container, change)
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, str):
                container[key] = change(value)
            elif isinstance(value, (dict, list)):
                waiting.append(value)


def strings_in(value: Any) -> list[str]:
    """Every string in ``value``, which may be one itself; keys included."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    change_strings([value], keep)
    return found


def decoded(value: Any) -> bytes:
    """The bytes of ``{"format": "base64", "data": …}``; none for anything else."""
    if isinstance(value, dict) and value.get("format") == "base64" and isinstance(value.get("data"), str):
        try:
            return base64.b64decode(value["data"])
        except (binascii.Error, ValueError):
            return b""
    return b""


def texts_in(value: Any) -> list[str]:
    """Every string in a value, and what is base64 in it as text."""
    texts = strings_in(value)
    waiting: list[Any] = [[value]]
    for container in waiting:
        for inner in container.values() if isinstance(container, dict) else container:
            if raw := decoded(inner):
                texts.append(raw.decode("utf-8", "replace"))
            elif isinstance(inner, (dict, list)):
                waiting.append(inner)
    return texts


def change_texts(root: list[Any], change: Callable[[str], str]) -> None:
    """Put ``change(string)`` in the place of every string; what is base64 of bytes stays that."""
    waiting: list[Any] = [root]
    for container in waiting:
        for value in container.values() if isinstance(container, dict) else container:
            if raw := decoded(value):
                text = raw.decode("utf-8", "surrogateescape")
                if (changed := change(text)) != text:
                    value["data"] = encoded(changed.encode("utf-8", "surrogateescape"))
            elif isinstance(value, (dict, list)):
                waiting.append(value)
    change_strings(root, change)


def encoded(data: bytes) -> str:
    """The bytes as such a ``data``."""
    return base64.b64encode(data).decode("ascii")


def mappings_in(root: dict[str, Any], without: Container[str] = ()) -> Iterator[dict[str, Any]]:
    """``root`` and every mapping below it, each before what it holds; nothing below the keys ``without``."""
    waiting: list[Any] = [root]
    for container in waiting:
        if isinstance(container, dict):
            yield container
            waiting += [
                value
                for key, value in container.items()
                if isinstance(value, (dict, list)) and not (without and plain_key(key) in without)
            ]
        else:
            waiting += [value for value in container if isinstance(value, (dict, list))]


def plain_key(key: str) -> str:
    """The key that a value had before another one overruled it."""
    while key.startswith(OVERRULED):
        key = key[len(OVERRULED) :]
    return key


def _change_keys(mapping: dict[str, Any], change: Callable[[str], str]) -> None:
    names = {key: name for key in mapping if (name := change(key)) != key}
    if not names:
        return
    parts = list(mapping.items())
    taken = {key for key in mapping if key not in names}
    numbers: dict[str, int] = {}
    mapping.clear()
    for key, value in parts:
        if key in names:
            name = key = names[key]
            while key in taken:
                numbers[name] = numbers.get(name, 1) + 1
                key = f"{name} {numbers[name]}"
            taken.add(key)
        mapping[key] = value
