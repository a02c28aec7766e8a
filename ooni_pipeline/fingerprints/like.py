"""SQL's LIKE in Python, so that a fingerprint means the same here and in ``psql``.

Regular expressions are avoided on purpose: a body is chosen by whoever is measured, and a pattern with
several wildcards must not make a backtracking engine slow. Every matcher here walks the text once, in
time proportional to its length (times, at worst, the length of the pattern).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

ESCAPE = "\\"


@dataclass(frozen=True)
class _Segment:
    """What stands between two ``%``: ``length`` characters, of which ``runs`` are fixed.

    ``runs`` are ``(offset, literal)`` pairs; the characters between them are ``_``. ``anchor`` is the
    longest run, the one that is searched for; a segment of ``_`` alone has none.
    """

    length: int
    runs: tuple[tuple[int, str], ...]
    anchor: tuple[int, str] | None

    def stands_at(self, text: str, position: int) -> bool:
        """True if the segment's fixed characters stand at ``position``; the caller has checked the room."""
        return all(text.startswith(literal, position + offset) for offset, literal in self.runs)

    def find(self, text: str, start: int, end: int) -> int:
        """The leftmost place of the segment within ``text[start:end]``, or -1."""
        if start + self.length > end:
            return -1
        if self.anchor is None:
            return start
        offset, literal = self.anchor
        last = end - (self.length - offset - len(literal))
        found = text.find(literal, start + offset, last)
        while found >= 0 and not self.stands_at(text, found - offset):
            found = text.find(literal, found + 1, last)
        return found - offset if found >= 0 else -1


def compile_like(pattern: str) -> Callable[[str], bool]:
    """A function that says whether a whole text is LIKE ``pattern``, as PostgreSQL would.

    ``%`` stands for any run of characters, line ends included, ``_`` for exactly one, and a backslash
    takes the next character literally; upper and lower case differ. The result can be pickled.
    ValueError if the pattern ends with a lone backslash, which PostgreSQL refuses too.
    """
    segments = _split(pattern)
    literals = [_literal(segment) for segment in segments]
    # Nearly every fingerprint is one piece of text with % around it: one call of a str method.
    match literals:
        case [str(whole)]:
            return partial(_equals, whole)
        case ["", str(inner), ""]:
            return partial(_contains, inner)
        case [str(prefix), ""]:
            return partial(_starts, prefix)
        case ["", str(suffix)]:
            return partial(_ends, suffix)
    if len(segments) == 1:
        return partial(_is_segment, segments[0])
    return partial(_in_order, segments[0], tuple(s for s in segments[1:-1] if s.length), segments[-1])


def _split(pattern: str) -> list[_Segment]:
    """The segments of a pattern: one more than it has unescaped ``%``."""
    segments: list[_Segment] = []
    cells: list[str | None] = []  # None is the one-character wildcard
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            segments.append(_segment(cells))
            cells = []
        elif character == ESCAPE:
            escaped = next(characters, None)
            if escaped is None:
                raise ValueError("a LIKE pattern must not end with its escape character, a backslash")
            cells.append(escaped)
        else:
            cells.append(None if character == "_" else character)
    segments.append(_segment(cells))
    return segments


def _segment(cells: list[str | None]) -> _Segment:
    runs: list[tuple[int, str]] = []
    for offset, cell in enumerate(cells):
        if cell is None:
            continue
        if runs and runs[-1][0] + len(runs[-1][1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + cell)
        else:
            runs.append((offset, cell))
    anchor = max(runs, key=lambda run: len(run[1]), default=None)
    return _Segment(len(cells), tuple(runs), anchor)


def _literal(segment: _Segment) -> str | None:
    """The segment as plain text, or None if it has a ``_``."""
    text = "".join(literal for _, literal in segment.runs)
    return text if len(text) == segment.length else None


def _equals(whole: str, text: str) -> bool:
    return text == whole


def _contains(inner: str, text: str) -> bool:
    return inner in text


def _starts(prefix: str, text: str) -> bool:
    return text.startswith(prefix)


def _ends(suffix: str, text: str) -> bool:
    return text.endswith(suffix)


def _is_segment(segment: _Segment, text: str) -> bool:
    return len(text) == segment.length and segment.stands_at(text, 0)


def _in_order(head: _Segment, middle: tuple[_Segment, ...], tail: _Segment, text: str) -> bool:
    position, end = head.length, len(text) - tail.length
    if position > end or not head.stands_at(text, 0) or not tail.stands_at(text, end):
        return False
    # Taking the leftmost place each time leaves the most room for what follows, so no place that was
    # taken has ever to be given up.
    for segment in middle:
        found = segment.find(text, position, end)
        if found < 0:
            return False
        position = found + segment.length
    return True
