"""Where a known address or fingerprint stands, in JSON as it is written."""

from __future__ import annotations

import base64
import ipaddress
import itertools
import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ooni_pipeline.report.json_lines import dumps
from ooni_pipeline.sanitise.search import Secrets

V4, V6 = "192.0.2.1", "2001:db8::1"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
ALL_DIGITS = "1234567890123456789012345678901234567890"
SECRETS = Secrets([V4, V6], [FINGERPRINT, ALL_DIGITS])


def cut(text: str) -> tuple[str, int]:
    """``text`` as a JSON string, cut, and read again."""
    line, count = SECRETS.cut(dumps(text).encode(), b"#")
    return json.loads(line), count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "#"),
        ("192.0.2.1:443", "#:443"),
        ("(192.0.2.1)", "(#)"),
        ("x192.0.2.1x", "x#x"),
        ("192.0.2.1.", "#."),
        ("192.0.2.1/32", "#/32"),
        ("é192.0.2.1", "é#"),
        ("\u0131192.0.2.1", "\u0131#"),  # whose escape ends in a digit
        ("\U0001f601192.0.2.1", "\U0001f601#"),
        ("\n192.0.2.1\n", "\n#\n"),
        ("\b192.0.2.1\f192.0.2.1\t", "\b#\f#\t"),
        ("\x00192.0.2.1\x1f192.0.2.1", "\x00#\x1f#"),
        ("192.0.2.1,192.0.2.1 192.0.2.1", "#,# #"),
        ("::ffff:192.0.2.1", "::ffff:#"),
        ("2001:db8::1", "#"),
        ("[2001:DB8::1]:443", "[#]:443"),
        ("\b2001:db8::1\f2001:db8::1", "\b#\f#"),
        ("é2001:db8::1", "é#"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "#"),
        ("2001:db8:0:0:0:0:0:1", "#"),
        ("2001:0db8::0001", "#"),
        ("2001:0db8::1", "#"),
        ("2001:db8:0::1", "#"),
        ("2001:db8::0:0:1", "#"),
        (FINGERPRINT, "#"),
        (FINGERPRINT.lower(), "#"),
        (f"${FINGERPRINT}~nick", "$#~nick"),
        (f"x{FINGERPRINT}x", "x#x"),
        ("0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567", "#"),
        (ALL_DIGITS, "#"),
        (f"{FINGERPRINT}192.0.2.1", "##"),
        (f"192.0.2.1\n{FINGERPRINT}", "#\n#"),
    ],
)
def test_what_is_found(text: str, expected: str) -> None:
    assert cut(text) == (expected, expected.count("#"))


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.10", "192.0.2.1" + "0" * 9, "1192.0.2.1", "0192.0.2.1", "192.0.2", "192.0.2.2", "192x0x2x1",
        "2001:db8::12", "2001:db8::1f", "12001:db8::1", "a2001:db8::1", "2001:db8::2", FINGERPRINT[:-1], "",
    ],
)  # fmt: skip
def test_what_is_not(text: str) -> None:
    assert cut(text) == (text, 0)


def test_where_it_stands() -> None:
    line = b'{"a":"192.0.2.10 192.0.2.1","192.0.2.1":"' + FINGERPRINT.encode() + b'"}'
    assert [line[start:end] for start, end, _ in SECRETS.find(line)] == [
        b"192.0.2.1",
        b"192.0.2.1",
        FINGERPRINT.encode(),
    ]


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        (V4, b"192.0.2.1 192%2E0%2E2%2E1"),
        (V4, b"192.0.2.1 \\u0031\\u00392.0.2.1"),
        ("1::2", base64.b64encode(b":1::2:1::2 1::2")),
    ],
)
def test_one_that_stands_before_a_coded_one_is_not_found_for_it(secret: str, line: bytes) -> None:
    """Again and again: the search would not come to an end, and any probe could write such a report."""
    places = [(start, end) for start, end, _ in itertools.islice(Secrets([secret]).find(line), 10)]
    assert len(places) == 2
    assert places[0][1] <= places[1][0]
    if secret == V4:
        assert places[1] == (10, len(line))


def test_no_secrets() -> None:
    assert Secrets([], []).cut(b"192.0.2.1", b"#") == (b"192.0.2.1", 0)
    assert not Secrets([], []).stand_in(b"192.0.2.1")


PIECES = st.sampled_from(
    [
        V4,
        V6,
        FINGERPRINT,
        "0",
        "1",
        "9",
        "a",
        "f",
        ".",
        ":",
        " ",
        "é",
        "\n",
        "\b",
        "\f",
        "\\",
        '"',
        "u",
        "\U0001f601",
    ]
)


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=7).map("".join))
@example(f"{V4}::{V4}")
@example(f"%3a192.0.2.11::{V4}")
def test_ipv4_against_a_naive_search(text: str) -> None:
    """What a cut lays bare (an address glued to a fingerprint) the last search sees, so it is held."""
    stays, _ = cut(text)
    bare = re.search(rf"(?<![0-9]){re.escape(V4)}(?![0-9])", stays) or FINGERPRINT.lower() in stays.lower()
    assert not bare or SECRETS.stand_in(dumps(stays).encode())
    if "\\" not in text and FINGERPRINT not in text:
        assert not bare


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        (f"{V6}.443 > b", "#.443 > b"),  # as tcpdump writes a port
        (f"{V6}.", "#."),
        (f"::1.{V6}", "::1.#"),
        (f"{V6}.{V6}", "#.#"),
        (f"{V6}:443", "#:443"),
    ],
)
def test_ipv6_with_dots_around(text: str, stays: str) -> None:
    assert Secrets([V6], []).cut(text.encode(), b"#")[0] == stays.encode()


ADDRESSES = st.lists(
    st.sampled_from([0, 0, 0, 1, 0xDB8, 0xFFFF]) | st.integers(0, 0xFFFF), min_size=8, max_size=8
)


@given(ADDRESSES, st.data())
def test_every_spelling_of_an_address_is_found(values: list[int], data: st.DataObject) -> None:
    groups = [data.draw(st.sampled_from([f"{value:x}", f"{value:04x}", f"{value:02X}"])) for value in values]
    runs = [(a, b) for a in range(8) for b in range(a + 1, 9) if not any(values[a:b])]
    run = data.draw(st.none() | st.sampled_from(runs)) if runs else None
    text = ":".join(groups)
    if run:
        text = ":".join(groups[: run[0]]) + "::" + ":".join(groups[run[1] :])
    address = ipaddress.ip_address(":".join(f"{value:x}" for value in values))
    assert ipaddress.ip_address(text) == address
    assert Secrets([str(address)], []).cut(text.encode(), b"#") == (b"#", 1)


@given(ADDRESSES, ADDRESSES)
def test_no_other_address_is_found(one: list[int], other: list[int]) -> None:
    first, second = (str(ipaddress.ip_address(":".join(f"{value:x}" for value in v))) for v in (one, other))
    found = Secrets([first], []).stand_in(b" " + second.encode() + b" ")
    assert found == (first == second) or first in second or second.startswith("::") or "::" in first
