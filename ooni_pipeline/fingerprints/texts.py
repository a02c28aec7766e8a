"""Many patterns against one text: a body, the value of a header, an answer of a resolver.

A public list has hundreds of patterns for every body of the world, so most of them must cost nothing where
they do not match: whole texts are looked up, beginnings are compared in one call, pieces and regular
expressions are looked for all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ooni_pipeline.fingerprints.like import compile_like
from ooni_pipeline.fingerprints.rows import Rule
from ooni_pipeline.patterns import Expressions, quoted, stored_utf8

#: So many pieces of text are quicker looked for one by one than by an expression of them all.
FEW = 8


class TextRules:
    """Rules whose patterns are compared with the same text. Can be pickled."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._likes: list[tuple[str, Callable[[str], bool]]] = []
        self._whole: dict[str, list[str]] = {}
        self._prefixes: list[tuple[str, str]] = []
        pieces: list[tuple[str, str]] = []
        expressions: list[tuple[str, str]] = []
        for rule in rules:
            match rule.pattern_type:
                case "like":
                    self._likes.append((rule.name, compile_like(rule.pattern)))
                case "full":
                    self._whole.setdefault(rule.pattern, []).append(rule.name)
                case "prefix":
                    self._prefixes.append((rule.name, rule.pattern))
                case "contains":
                    pieces.append((rule.name, rule.pattern))
                case _:
                    expressions.append((rule.name, rule.pattern))
        self._lengths = frozenset(map(len, self._whole))
        self._beginnings = tuple(prefix for _, prefix in self._prefixes)
        self._pieces = pieces if len(pieces) <= FEW else []
        # Apart from each other: pieces need few states, and what expressions need, nobody knows.
        self._expressions = [
            ([name for name, _ in some], Expressions([expression for _, expression in some]))
            for some in ([(n, quoted(p)) for n, p in pieces] if len(pieces) > FEW else [], expressions)
            if some
        ]

    def found_in(self, text: str) -> Iterator[str]:
        """The names of the rules that match a text, in no order."""
        for name, like in self._likes:
            if like(text):
                yield name
        if len(text) in self._lengths:
            yield from self._whole.get(text, ())
        if self._beginnings and text.startswith(self._beginnings):
            yield from (name for name, prefix in self._prefixes if text.startswith(prefix))
        for name, piece in self._pieces:
            if piece in text:
                yield name
        if self._expressions:
            data = stored_utf8(text)
            for names, expressions in self._expressions:
                yield from (names[number] for number in expressions.found_in(data))
