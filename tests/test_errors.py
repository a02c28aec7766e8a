"""What is told of an exception quotes nothing, and says enough to find the fault."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

import pytest
import ujson
import yaml

from ooni_pipeline.errors import BucketError, UnforeseenError, told

CANARY = "canary-7f3a"


def _of_nothing(text: str) -> object:
    nothing: dict[str, object] = {}
    return nothing[text]


def _of_bytes(text: str) -> object:
    return (text.encode() + b"\xff").decode()


def _own(text: str) -> object:
    kind = type("OddError", (Exception,), {"__str__": lambda self: text, "__repr__": lambda self: text})
    raise kind(text)


def _noted(text: str) -> object:
    error = ValueError("with notes")
    error.__notes__ = [text]  # type: ignore[attr-defined]  # as add_note of Python 3.11 does
    raise error


QUOTING: list[Callable[[str], object]] = [
    int, _of_nothing, _of_bytes, _own, _noted,
    lambda text: json.loads(f'{{"{text}": {text}'),
    lambda text: ujson.loads(f'{{"{text}": {text}'),
    lambda text: yaml.safe_load(f"a: [{text}\n{text}: {{"),
    lambda text: zlib.decompress(text.encode()),
]  # fmt: skip


@pytest.mark.parametrize("fails", QUOTING)
def test_no_library_quotes_a_report(fails: Callable[[str], object]) -> None:
    with pytest.raises(Exception) as caught:
        fails(CANARY)
    error = caught.value
    line = told(error)
    assert CANARY not in line and "\n" not in line
    assert type(error).__qualname__ in line
    assert f" < {__name__}:" in line or f" at {__name__}:" in line


def test_what_led_to_it_is_told_too_without_its_text() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            int(CANARY)
        except ValueError as error:
            raise RuntimeError(f"no number: {CANARY}") from error
    line = told(caught.value)
    assert line.startswith(f"unforeseen RuntimeError at {__name__}:")
    assert f"; after ValueError at {__name__}:" in line
    assert CANARY not in line


def test_what_we_raise_ourselves_is_told_as_it_is() -> None:
    assert told(BucketError("run bucket 2016-08-01 again")) == "run bucket 2016-08-01 again"
    assert told(UnforeseenError(told(KeyError(CANARY)))) == told(KeyError(CANARY))


def test_a_deep_traceback_is_one_short_line() -> None:
    def deep(level: int) -> None:
        deep(level - 1) if level else int(CANARY)

    with pytest.raises(ValueError) as caught:
        deep(500)
    assert told(caught.value).count(" < ") == 11
