"""Many expressions at once: the same answer as each alone, in linear time; what cannot be taken is said."""

from __future__ import annotations

import pickle
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline import patterns
from ooni_pipeline.patterns import Expressions, check_expression, quoted, stored_utf8


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("a(", "missing"),
        ("a(?=b)", "perl operator"),
        (r"(a)\1", "escape"),
        ("a{2000}", "repetition"),
        (r"\Qa.b", r"\\Q is not taken"),
        (r"\\\Qa", r"\\Q is not taken"),
        ("", "empty text"),
        ("a*", "empty text"),
        ("^|b", "empty text"),
        ("a\ud800", "surrogate"),
    ],
)
def test_what_cannot_be_taken(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_expression(expression)


@pytest.mark.parametrize("expression", ["a", r"\\Q", "(?i)a.*b", "^<html>", "(?P<a>b)", "[^a]", "ş+", "$x|b"])
def test_what_can(expression: str) -> None:
    check_expression(expression)
    assert Expressions([expression]).found_in(b"") == []


SOME = ["ab", "b.c", "(?i)Q+", "^a", "c$", "(?P<x>aa)", "(?P<x>bb)", "[^a-c]", "a{2,3}b", r"\.", "ş"]


@given(st.lists(st.sampled_from(SOME)), st.text("abcqQ\n.ş", max_size=12))
def test_the_same_as_each_alone(expressions: list[str], text: str) -> None:
    found = Expressions(expressions).found_in(text.encode())
    # Python's $ is also before a line end, re2's is not.
    alone = [re.compile(one.replace("$", r"\Z"), re.DOTALL) for one in expressions]
    assert found == [number for number, one in enumerate(alone) if one.search(text)]


def test_more_than_fits_is_halved_and_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MAX_MEMORY", 8_000)
    pieces = [f"{number} is the number of a piece" for number in range(60)]
    many = Expressions([quoted(piece) for piece in pieces])
    assert len(many._groups) > 1
    assert many.found_in(b"x") == []
    text = "; ".join(pieces[::7])
    assert many.found_in(text.encode()) == [n for n, piece in enumerate(pieces) if piece in text]


def test_a_set_without_memory_is_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def Match(self, text: bytes) -> None:  # noqa: N802 - re2's own spelling
            return None

    many = Expressions(["a.c", "b", "zz"])
    monkeypatch.setattr(patterns._Group, "_set", Full())
    assert many.found_in(b"abc") == [0, 1]


def test_can_be_pickled() -> None:
    many = Expressions(["a.c", "b"])
    assert pickle.loads(pickle.dumps(many)).found_in(b"a\nc") == [0]  # noqa: S301 (our own bytes)


def test_none_at_all() -> None:
    assert Expressions([]).found_in(b"abc") == []


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)+b", "(.*)*b", "(a?){50}a{50}c", "a.*a.*a.*a.*c"])
def test_no_text_makes_an_expression_slow(expression: str) -> None:
    """A backtracking engine needs ages for these; the bound is generous, for busy machines."""
    many, text = Expressions([f"{expression}!", "other", "another"]), b"a" * 1_000_000
    begin = time.perf_counter()
    assert many.found_in(text) == []
    assert time.perf_counter() - begin < 10


def test_stored_utf8_is_what_the_database_holds() -> None:
    assert stored_utf8("a\0b\ud800ş") == "a\ufffdb\ufffdş".encode()
    assert stored_utf8("\U0001f30d") == "\U0001f30d".encode()
