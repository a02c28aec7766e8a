"""What somebody wants withdrawn is found wherever it stands, in whatever form."""

from __future__ import annotations

import base64
import ipaddress
import pickle
from typing import Any

import pytest

from ooni_pipeline.report.json_lines import dumps
from ooni_pipeline.report.yaml_reports import parse_document
from ooni_pipeline.sanitise.wanted import Wanted

V4, V6, MAIL = "203.0.113.7", "2001:db8:5::a7", "Ada@Example.org"
PACKET = bytes(12) + ipaddress.ip_address(V4).packed + bytes(30)


def found(wanted: str, value: Any) -> bool:
    travelled = pickle.loads(pickle.dumps(Wanted(wanted)))  # noqa: S301  # our own
    return bool(travelled.in_value(value))


@pytest.mark.parametrize(
    "value",
    [
        V4, f"at {V4}:443", {V4: 1}, [[{"a": [V4]}]], "203-0-113-7.dyn.example.org", "203%2E0%2E113%2E7",
        base64.b64encode(f"from {V4} to".encode()).decode(), int(ipaddress.ip_address(V4)), "cb007107",
        {"raw_packet": {"format": "base64", "data": base64.b64encode(PACKET).decode()}}, PACKET,
        f"::ffff:{V4}", dumps({"inner": dumps({"ip": V4})}),
    ],
)  # fmt: skip
def test_an_address(value: Any) -> None:
    assert found(V4, value)
    assert not found("203.0.113.8", value)


@pytest.mark.parametrize("value", [V6, "2001:0DB8:0005:0000:0000:0000:0000:00A7", f"[{V6}]:443"])
def test_an_address_of_ipv6(value: Any) -> None:
    assert found(V6, value)
    assert found(f" [{V6}]\n", value)
    assert not found("2001:db8:5::a8", value)


@pytest.mark.parametrize("value", ["203.0.113.70", "1203.0.113.7", "203.0.113", 3.5, None, True])
def test_what_is_no_such_address(value: Any) -> None:
    assert not found(V4, value)


@pytest.mark.parametrize("value", [MAIL, "to ada@example.org.", {"ADA@EXAMPLE.ORG": []}, MAIL.encode()])
def test_another_text(value: Any) -> None:
    assert found(MAIL, value)
    assert not found("bob@example.org", value)


def test_letters_that_json_writes_as_codes() -> None:
    wanted = Wanted("märta@example.org")
    assert wanted.in_bytes('{"a":"märta@example.org"}'.encode())
    assert wanted.in_bytes(b'{"a":"m\\u00e4rta@example.org"}')
    assert wanted.in_text("about Märta@example.org".replace("M", "m"))


def test_letters_that_yaml_writes_as_codes() -> None:
    raw = b'input: "\\x61\\u0064a@example.org"\nother: !!binary "%b"\n' % base64.b64encode(PACKET)
    value = parse_document(raw).value
    for text in (MAIL, V4):
        wanted = Wanted(text)
        assert wanted.in_value(value)
        assert not Wanted("bob@example.org").in_value(value)


@pytest.mark.parametrize("text", [V4, MAIL])
def test_what_is_cut_by_the_end_of_a_chunk(text: str) -> None:
    longer = V4.encode() + b"0"
    data = longer + b" " + b"x" * 50 + b" " + text.encode() + b" " + b"x" * 50
    for size in range(1, len(data)):
        sink = Wanted(text).sink()
        for start in range(0, len(data), size):
            sink.write(data[start : start + size])
        assert sink.found
        sink = Wanted(text).sink()
        without = data.replace(b" " + text.encode(), b" -")
        for start in range(0, len(without), size):
            sink.write(without[start : start + size])
        assert not sink.found, "203.0.113.70 is another one, wherever a chunk ends"
    sink = Wanted(text).sink()
    sink.write(b"x " + text.encode())
    assert sink.found


@pytest.mark.parametrize("text", ["", "a@b.c", " abc \n", "one line\nand another"])
def test_what_would_be_found_everywhere(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it is no IP address, and no line of 6 characters or more$"):
        Wanted(text)


def test_it_says_nowhere_what_is_wanted() -> None:
    assert V4 not in repr(Wanted(V4)) + str(Wanted(V4))
