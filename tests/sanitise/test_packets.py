"""Whose address in a packet is the volunteer's own, and how it goes from the packet."""

from __future__ import annotations

import base64
import ipaddress
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.sanitise import Sanitiser
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable
from ooni_pipeline.sanitise.packets import own_addresses
from ooni_pipeline.sanitise.strings import change_texts, decoded

MASKED, ROUTER, SERVER = "127.0.0.1", "198.51.100.1", "203.0.113.80"
OWN, OWN_V6, ROUTER_V6 = "192.0.2.77", "2001:db8:77::7", "2001:db8:1::1"


def ip(source: str, destination: str, protocol: int, payload: bytes = b"", options: int = 0) -> bytes:
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if len(ends) == 32:
        return bytes([0x60, 0, 0, 0, 0, len(payload), protocol, 64]) + ends + payload
    return (
        bytes([0x45 + options, 0, 0, 56, 0, 0, 0, 0, 64, protocol, 0, 0])
        + ends
        + bytes(4 * options)
        + payload
    )


def icmp(kind: int, quoted: bytes) -> bytes:
    return bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + quoted


QUOTED = ip(OWN, SERVER, 6, b"\0" * 8)
QUOTED_V6 = ip(OWN_V6, ROUTER_V6, 6, b"\0" * 20)


def raw(packet: bytes) -> dict[str, str]:
    return {"format": "base64", "data": base64.b64encode(packet).decode()}


@pytest.mark.parametrize(
    ("packet", "sent", "answered"),
    [
        (ip(ROUTER, MASKED, 1, icmp(11, QUOTED)), [ROUTER, OWN], [OWN]),
        (ip(ROUTER, MASKED, 1, icmp(3, QUOTED)), [ROUTER, OWN], [OWN]),
        (ip(ROUTER, MASKED, 1, icmp(11, QUOTED), options=2), [ROUTER, OWN], [OWN]),
        (ip(ROUTER, MASKED, 1, icmp(11, QUOTED[:20])), [ROUTER, OWN], [OWN]),
        (ip(ROUTER, MASKED, 1, icmp(11, QUOTED[:16])), [ROUTER, OWN], [OWN]),
        (ip(ROUTER, MASKED, 1, icmp(11, QUOTED[:15])), [ROUTER], []),
        (ip(ROUTER, MASKED, 1, icmp(0, QUOTED)), [ROUTER], []),  # an echo reply quotes nobody
        (ip(ROUTER, MASKED, 17, icmp(11, QUOTED)), [ROUTER], []),
        (ip(ROUTER, OWN, 1, icmp(11, ip(MASKED, SERVER, 6))), [ROUTER], [OWN]),
        (ip(OWN, SERVER, 6), [OWN], [SERVER]),
        (ip(MASKED, MASKED, 6), [], []),
        (ip("0.0.0.0", "255.255.255.255", 6), [], []),  # noqa: S104
        (ip(ROUTER_V6, "::1", 58, icmp(3, QUOTED_V6)), [ROUTER_V6, OWN_V6], [OWN_V6]),
        (ip(ROUTER_V6, "::1", 58, icmp(1, QUOTED_V6[:24])), [ROUTER_V6, OWN_V6], [OWN_V6]),
        (ip(ROUTER_V6, "::1", 58, icmp(129, QUOTED_V6)), [ROUTER_V6], []),
        (b"", [], []),
        (b"\x45" * 19, [], []),
        (b"\x60" * 39, [], []),
        (b"\x25" + QUOTED[1:], [], []),
    ],
)  # fmt: skip
def test_raw_packets(packet: bytes, sent: list[str], answered: list[str]) -> None:
    for key, expected in (
        ("sent_packets", sent),
        ("answered_packets", answered),
        ("received_packets", answered),
    ):
        for packets in ([{"raw_packet": raw(packet)}], [[{"raw_packet": raw(packet)}]]):
            assert list(own_addresses(key, packets)) == expected
    assert list(own_addresses("legacy_sent_packets", [{"raw_packet": raw(packet)}])) == sent


LONG = (
    "[<IP  version=4L ihl=5L tos=0x0 len=56 proto=icmp src=198.51.100.1 dst=127.0.0.1 options=[] "
    "|<ICMP  type=time-exceeded code=ttl-zero-during-transit |<IPerror  version=4L ihl=5L tos=0x0 len=40 "
    "flags= frag=0L ttl=1 proto=tcp chksum=0x2 src=192.0.2.77 dst=203.0.113.80 options=[] "
    "|<TCPerror  sport=1 |>>>>]"
)


@pytest.mark.parametrize(
    ("summary", "sent", "answered"),
    [
        (LONG, {OWN, ROUTER}, {OWN}),
        (LONG.replace("127.0.0.1", "192.0.2.9"), {OWN, ROUTER}, {OWN, "192.0.2.9"}),
        ("<IPv6  version=6L src=2001:db8:1::1 dst=2001:db8:77::7 |>", {ROUTER_V6}, {OWN_V6}),
        ("<IPv6 |<IPv6error  version=6L src=2001:db8:77::7 dst=::1 |>", {OWN_V6}, {OWN_V6}),
        ("IP / ICMP 198.51.100.1 > 192.0.2.77 time-exceeded / IPerror / TCPerror", {ROUTER}, {OWN}),
        ("IP / TCP 192.0.2.77:ftp_data > 203.0.113.80:https PA / Raw", {OWN}, {SERVER}),
        ("IP / UDP / DNS Qry 192.0.2.77:5 > 203.0.113.80:domain", {OWN}, {SERVER}),
        ("IPv6 / TCP 2001:db8:77::7:http > 2001:db8:1::1:https A", {OWN_V6}, {ROUTER_V6}),
        ("IP / TCP 127.0.0.1:5 > 127.0.0.1:http S", set(), set()),
        ("TCP 192.0.2.77 > 203.0.113.80", set(), set()),
        ("", set(), set()),
    ],
)  # fmt: skip
def test_summaries(summary: str, sent: set[str], answered: set[str]) -> None:
    for packets in ([{"summary": summary}], [summary]):
        assert set(own_addresses("sent_packets", packets)) == sent
        assert set(own_addresses("answered_packets", packets)) == answered


JUNK = st.recursive(
    st.none() | st.text(max_size=5) | st.binary(max_size=60).map(raw),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["raw_packet", "summary", "data", "format"]), inner, max_size=3)
    ),
)


@given(JUNK)
def test_anything_may_stand_there(packets: Any) -> None:
    for key in ("sent_packets", "answered_packets"):
        for address in own_addresses(key, packets):
            ipaddress.ip_address(address)


@pytest.mark.parametrize(
    "value",
    [None, "x", {}, {"format": "base64"}, {"format": "base64", "data": 5}, {"format": "x", "data": "AAAA"},
     {"format": "base64", "data": "A"}, {"format": "base64", "data": "é"}],
)  # fmt: skip
def test_what_is_not_base64(value: Any) -> None:
    assert decoded(value) == b""


def test_texts_change_inside_base64() -> None:
    root: list[Any] = [{"a": raw(b"\xff home"), "home": ["home"]}]
    change_texts(root, lambda text: text.replace("home", "#"))
    assert root == [{"a": raw(b"\xff #"), "#": ["#"]}]


def test_in_raw_packets_the_bytes_become_zero_and_the_rest_stays() -> None:
    sanitiser = Sanitiser(BridgeTable.of([Bridge("192.0.2.1", 443, "01" * 20, None, None)]))
    packets = [ip(ROUTER, MASKED, 1, icmp(11, QUOTED)), ip(ROUTER_V6, "::1", 58, icmp(3, QUOTED_V6))]
    others = {"raw_packet": raw(ip(ROUTER, MASKED, 6)), "summary": "IP / TCP"}
    body = raw(ipaddress.ip_address(OWN).packed)
    entry = {
        "id": "x",
        "test_keys": {"p": [{"raw_packet": raw(one)} for one in packets] + [others], "b": body},
    }
    line = sanitiser.of_report([OWN, OWN_V6]).sanitise_line(dump_entry(entry), Counter())
    assert line is not None
    keys = loads(line)["test_keys"]
    found = [decoded(one["raw_packet"]) for one in keys["p"]]
    assert found[0] == packets[0].replace(ipaddress.ip_address(OWN).packed, bytes(4))
    assert found[1] == packets[1].replace(ipaddress.ip_address(OWN_V6).packed, bytes(16))
    assert keys["p"][2] == others
    assert keys["b"] == body, "four bytes elsewhere may be anything"
    assert loads(line)["sanitised"] == {"own_address": 2}
