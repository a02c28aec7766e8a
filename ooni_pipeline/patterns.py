"""Regular expressions that no text can make slow: google-re2, whose time grows with the text alone. Its home.

Python's own ``re`` goes back and tries again: a body that somebody wrote for the purpose keeps it busy for
years. re2 cannot, and refuses what only such an engine could do (back references, look-around).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence

import re2

#: (data, where to begin[, where to end]) -> where the first match begins and ends, or None.
Search = Callable[..., "tuple[int, int] | None"]

#: What the states of one expression may take: bytes. What needs more is slower, not wrong.
MAX_MEMORY = 64 * 1024 * 1024

_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd".encode()


def pattern(alternatives: Iterable[bytes]) -> Search:
    """A search for the first of many regular expressions, in any case: where it begins and ends (the
    longest that begins there)."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    options.longest_match = True
    options.max_mem = 256 * 1024 * 1024
    options.log_errors = False
    compiled = re2.compile(b"|".join(alternatives), options)

    def search(data: bytes, start: int, end: int | None = None) -> tuple[int, int] | None:
        match = compiled.search(data, start, len(data) if end is None else end)
        return match.span() if match else None

    return search


def check_expression(expression: str) -> None:
    """ValueError, in words, for a regular expression that cannot be taken.

    That is what re2 refuses, what the empty text matches already (it would match every text), and ``\\Q``,
    which would quote the expressions beside it.
    """
    if re.search(r"(?<!\\)(?:\\\\)*\\Q", expression):
        raise ValueError(r"\Q is not taken, write a backslash before each character instead")
    try:
        compiled = re2.compile(expression.encode(), _options())
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise ValueError(
            f"re2 does not take it: {said.decode(errors='replace') if isinstance(said, bytes) else said}"
        ) from None
    except UnicodeEncodeError:
        raise ValueError("it has half a character (a lone surrogate)") from None
    if compiled.search(b""):
        raise ValueError("it matches the empty text, so it would match every text")


class Expressions:
    """Many regular expressions, all of them looked for at once. Can be pickled.

    ``.`` takes line ends too, since where a page breaks its lines means nothing; ``^`` and ``$`` are the
    ends of the text; upper and lower case differ, but for ``(?i)``. Each must satisfy
    :func:`check_expression`.
    """

    def __init__(self, expressions: Sequence[str]) -> None:
        self._expressions = tuple(expressions)
        self._groups = _groups([expression.encode() for expression in expressions], 0)

    def __reduce__(self) -> tuple[type[Expressions], tuple[tuple[str, ...]]]:
        return Expressions, (self._expressions,)

    def found_in(self, text: bytes) -> list[int]:
        """The numbers of those that match somewhere in a text in UTF-8, in order."""
        return [group.first + number for group in self._groups for number in group.found_in(text)]


def quoted(literal: str) -> str:
    """The regular expression for a literal text."""
    return str(re2.escape(literal))


def stored_utf8(text: str) -> bytes:
    """The text as PostgreSQL holds it once loaded: in UTF-8, U+FFFD for U+0000 and for lone surrogates.

    So an expression says the same of an entry and of its row.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = _SURROGATES.sub("\ufffd", text).encode()
    return data.replace(b"\0", _REPLACEMENT)


class _Group:
    """Expressions that re2 takes as one. The number of the first is ``first``."""

    def __init__(self, expressions: list[bytes], first: int) -> None:
        self.first = first
        self._expressions = expressions
        self._any = re2.compile(b"|".join(b"(?:%b)" % one for one in expressions), _options())

    @functools.cached_property
    def _set(self) -> re2.Set | None:
        which = re2.Set.SearchSet(_options())
        try:
            for expression in self._expressions:
                which.Add(expression)
            which.Compile()
        except re2.error:  # no room for it
            return None
        return which

    def found_in(self, text: bytes) -> list[int]:
        """Nearly always nothing: then one search has said so. Which ones, the set tells in another; it
        gives up without a word where it lacks memory, and then they are asked one by one."""
        if not self._any.search(text):
            return []
        if len(self._expressions) == 1:
            return [0]
        if self._set and (found := self._set.Match(text)):
            return sorted(found)
        return [number for number, one in enumerate(self._expressions) if re2.search(one, text, _options())]


def _groups(expressions: list[bytes], first: int) -> list[_Group]:
    """As few groups as re2 takes: more than fits into its memory is halved."""
    if not expressions:
        return []
    try:
        return [_Group(expressions, first)]
    except re2.error:
        middle = len(expressions) // 2
        if not middle:
            raise
        return _groups(expressions[:middle], first) + _groups(expressions[middle:], first + middle)


def _options() -> re2.Options:
    options = re2.Options()
    options.dot_nl = True
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    return options
