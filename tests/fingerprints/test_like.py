"""LIKE in Python means what LIKE means in PostgreSQL, and takes time in proportion to the text."""

from __future__ import annotations

import pickle
import re
import time

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.fingerprints import compile_like

#: Few letters, so that patterns and texts meet often; a line end, an accent and a character beyond the BMP.
ALPHABET = "abA\nş\U0001f30d%_\\"
PATTERNS = st.text("ab%_\\Aş\n", max_size=14)
TEXTS = st.text(ALPHABET, max_size=24)


def naive_like(pattern: str, text: str) -> bool:
    """The definition, one character at a time, with the positions that a pattern's beginning can reach."""
    reached = {0}
    cells = iter(pattern)
    for cell in cells:
        if cell == "%":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        elif cell == "_":
            reached = {at + 1 for at in reached if at < len(text)}
        else:
            wanted = next(cells) if cell == "\\" else cell
            reached = {at + 1 for at in reached if at < len(text) and text[at] == wanted}
    return len(text) in reached


def ends_with_lone_escape(pattern: str) -> bool:
    return (len(pattern) - len(pattern.rstrip("\\"))) % 2 == 1


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("%", "", True),
        ("%%", "any\nthing", True),
        ("_", "", False),
        ("_", "\n", True),
        ("_", "\U0001f30d", True),
        ("_", "ab", False),
        ("abc", "abc", True),
        ("abc", "ABC", False),
        ("abc", "abc\n", False),
        ("abc%", "abc\ndef", True),
        ("abc%", "xabc", False),
        ("%abc", "x\nabc", True),
        ("%abc", "abcx", False),
        ("%abc%", "x\nabc\ny", True),
        ("%abc%", "x\nab\nc", False),
        ("a%b%c", "a1b2c", True),
        ("a%b%c", "a1c2b", False),
        ("aba%aba", "aba", False),  # head and tail may not share characters
        ("aba%aba", "ababa", False),
        ("aba%aba", "abaaba", True),
        ("%a___%bbbbb", "abbbbb", False),  # the middle may not reach into the tail
        ("%aba%aba%", "xababax", False),  # nor may two pieces in the middle
        ("%aba%aba%", "xabaabax", True),
        ("%a_c%", "xabc a-c", True),
        ("%a_c%", "ac abbc", False),
        ("%ab%ab%", "xab", False),
        ("%__%", "a", False),
        ("%__%", "ab", True),
        (r"100\%", "100%", True),
        (r"100\%", "1000", False),
        (r"a\_b", "a_b", True),
        (r"a\_b", "axb", False),
        (r"a\\b", r"a\b", True),
        (r"\a%", "ab", True),
        (r"%\%%", "50% off", True),
    ],
)
def test_examples(pattern: str, text: str, expected: bool) -> None:
    assert compile_like(pattern)(text) is expected
    assert naive_like(pattern, text) is expected


@pytest.mark.parametrize("pattern", ["\\", "abc\\", "%\\", "\\\\\\"])
def test_lone_escape_at_the_end_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="escape"):
        compile_like(pattern)


@settings(max_examples=1000)
@given(PATTERNS.filter(lambda pattern: not ends_with_lone_escape(pattern)), TEXTS)
def test_same_as_the_definition(pattern: str, text: str) -> None:
    assert compile_like(pattern)(text) is naive_like(pattern, text)


@given(st.lists(st.tuples(st.text(ALPHABET, max_size=5), st.sampled_from(["as it is", "%", "_"]))))
def test_a_pattern_made_from_a_text_matches_it(pieces: list[tuple[str, str]]) -> None:
    """Random pairs seldom match, so here pieces of the text itself are turned into wildcards."""
    text = "".join(piece for piece, _ in pieces)
    pattern = "".join(
        {"as it is": re.sub(r"([%_\\])", r"\\\1", piece), "%": "%", "_": "_" * len(piece)}[how]
        for piece, how in pieces
    )
    assert compile_like(pattern)(text)
    assert naive_like(pattern, text)


def test_can_be_pickled() -> None:
    for pattern in ("a", "a%", "%a", "%a%", "a_", "a%b_%c"):
        assert pickle.loads(pickle.dumps(compile_like(pattern)))("zzz") is False  # noqa: S301 (our own bytes)


@pytest.mark.parametrize(
    "pattern", ["%a%a%a%a%a%a%a%a%b", "%a_a_a_a_b%", "%" + "a" * 50 + "b%", "%_%_%_%ab_%"]
)
def test_no_text_makes_a_pattern_slow(pattern: str) -> None:
    """A backtracking engine needs ages for these; the bound is generous, for busy machines."""
    matches, text = compile_like(pattern), "a" * 500_000
    start = time.perf_counter()
    assert not matches(text)
    assert time.perf_counter() - start < 5


def test_same_as_postgresql(database_url: str) -> None:
    """Patterns and texts of many kinds, all pairs, in one query to a real server."""
    patterns, texts = _some_patterns(), _some_texts()
    connection = psycopg2.connect(database_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SHOW server_encoding")
            assert cursor.fetchone() == ("UTF8",)
            cursor.execute(
                "SELECT p, t, t LIKE p FROM unnest(%s::text[]) AS p, unnest(%s::text[]) AS t",
                (patterns, texts),
            )
            rows = cursor.fetchall()
    finally:
        connection.close()
    assert len(rows) == len(patterns) * len(texts)
    assert {expected for _, _, expected in rows} == {True, False}
    matchers = {pattern: compile_like(pattern) for pattern in patterns}
    assert [row for row in rows if matchers[row[0]](row[1]) is not row[2]] == []


def _some_patterns() -> list[str]:
    pieces = ["", "%", "_", "a", "ab", "ş", "\n", r"\%", r"\_", "\\\\", r"\a", "%a_", "A", "\U0001f30d"]
    return sorted({first + second + third for first in pieces for second in pieces for third in pieces})


def _some_texts() -> list[str]:
    pieces = ["", "a", "b", "ş", "\n", "%", "_", "\\", "A", "\U0001f30d"]
    return sorted({first + second + third for first in pieces for second in pieces for third in pieces})
