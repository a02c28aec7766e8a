"""A JSON body as text of which parts can be cut out as they were sent.

Values that nobody looks at are read to find their end and thrown away: numbers of any size cost nothing,
and what a large body costs in memory has a bound.
"""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed lacks it
from typing import Any, NamedTuple

from ooni_pipeline.collector.http.answers import RefusedError
from ooni_pipeline.report.entry import MAX_NODES

_BYTE_ORDER_MARK = "\ufeff"
_BLANKS = " \t\n\r"
_BLANK_RUN = re.compile(f"[{_BLANKS}]*")
_ONE_LINE = str.maketrans("\r\n", "  ")
#: Each array or object in a body costs 60 bytes or more while it is read: the pipeline takes none with more.
_MOST_CONTAINERS = MAX_NODES
#: So many members of one object are told apart: an entry has some dozens, and each costs 250 bytes.
_MOST_MEMBERS = 100_000
#: Below this a body cannot hold that many.
_SMALL = 2 * _MOST_CONTAINERS


def _nothing(_: object) -> None:
    """In the place of a value: no number is too large, no object costs memory for longer than a moment."""


_skipper = json.JSONDecoder(
    object_pairs_hook=_nothing, parse_int=_nothing, parse_float=_nothing, parse_constant=_nothing
)


class Value(NamedTuple):
    """A member's value and where it stands in the text. ``value`` of a number or an object is None, of a list
    a list of such."""

    value: Any
    start: int
    end: int


class Members:
    """The members of a JSON object, of its ``content`` too where that is one."""

    def __init__(self, text: str, members: list[tuple[str, Value]], inner: Members | None) -> None:
        self._text = text
        self.all = members
        self._last = dict(members)
        #: Those of the last ``content``, where it is an object.
        self.inner = inner

    def __contains__(self, name: str) -> bool:
        return name in self._last

    def get(self, name: str) -> Any:
        """The value of a string or a literal, a list; None for an object, a number, and what is not there."""
        found = self._last.get(name)
        return found.value if found else None

    def kind(self, name: str) -> str:
        """The first character of the value as sent; empty where there is none."""
        found = self._last.get(name)
        return self._text[found.start] if found else ""

    def says_nothing(self, said: Value) -> bool:
        """Whether a value is null or an empty string."""
        return said.value == "" or self._text.startswith("null", said.start)

    def cut(self, name: str) -> bytes:
        """The bytes of a value as sent, in one line: line ends can only stand between two tokens."""
        found = self._last[name]
        return _as_line(self._text[found.start : found.end])

    def whole(self) -> bytes:
        """The bytes of the object itself as sent, in one line."""
        return _as_line(self._text.strip(_BLANKS))


def read_object(body: bytes | bytearray) -> Members:
    """The object that a body is. Raises RefusedError for a body that is no UTF-8, no JSON or no object."""
    if len(body) > _SMALL and body.count(b"[") + body.count(b"{") > _MOST_CONTAINERS:
        raise RefusedError(400, "invalid-request")
    try:
        text = body.decode().removeprefix(_BYTE_ORDER_MARK)
        members, end = _members(text, _after_blanks(text, 0), content=True)
        if _after_blanks(text, end) != len(text):
            raise ValueError
    except (ValueError, IndexError, RecursionError):  # it quotes what it choked on
        raise RefusedError(400, "invalid-request") from None
    return members


def _as_line(text: str) -> bytes:
    if "\n" in text or "\r" in text:
        text = text.translate(_ONE_LINE)
    return text.encode()


def _after_blanks(text: str, at: int) -> int:
    found = _BLANK_RUN.match(text, at)
    return found.end() if found else at


def _members(text: str, at: int, content: bool) -> tuple[Members, int]:
    """The object that begins at ``at``, and where it ends. Raises ValueError or IndexError for none."""
    if text[at] != "{":
        raise ValueError
    members: list[tuple[str, Value]] = []
    inner = None
    at = _after_blanks(text, at + 1)
    if text[at] == "}":
        return Members(text, members, None), at + 1
    while True:
        if text[at] != '"':
            raise ValueError
        name, at = scanstring(text, at + 1, True)
        if text[at] != ":":  # nobody writes a blank before it, and a call for each costs
            at = _after_blanks(text, at)
            if text[at] != ":":
                raise ValueError
        start = at + 2 if text[at + 1] == " " else at + 1
        if text[start] in _BLANKS:
            start = _after_blanks(text, start)
        if content and name == "content":
            inner = None
        if content and name == "content" and text[start] == "{":
            inner, at = _members(text, start, content=False)
            members.append((name, Value(None, start, at)))
        else:
            value, at = _skipper.raw_decode(text, start)
            members.append((name, Value(value, start, at)))
        if text[at] in _BLANKS:
            at = _after_blanks(text, at)
        if text[at] == "}":
            return Members(text, members, inner), at + 1
        if len(members) >= _MOST_MEMBERS:
            raise ValueError
        if text[at] != ",":
            raise ValueError
        at = at + 2 if text[at + 1] == " " else at + 1
        if text[at] in _BLANKS:
            at = _after_blanks(text, at)
