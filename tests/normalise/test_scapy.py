"""The packets that were sent and that came back."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.normalise.entries import normalised

SCAPY = (
    "chinatrigger", "keyword_filtering", "keyword_filtering_detection_based_on_rst_packets", "dns_spoof",
    "parasitic_traceroute_test", "Multi Protocol Traceroute Test",
)  # fmt: skip


def base64_of(raw: bytes) -> dict[str, str]:
    return {"data": base64.b64encode(raw).decode(), "format": "base64"}


def packets(groups: Any, raw: bytes | None = b"!!binary", name: str = "multi_protocol_traceroute") -> Any:
    header = {"test_name": name}
    test_keys = normalised({"answered_packets": groups, "sent_packets": groups}, header, raw)["test_keys"]
    assert test_keys["answered_packets"] == test_keys["sent_packets"]
    return test_keys["sent_packets"]


@pytest.mark.parametrize("name", SCAPY)
def test_every_packet_of_every_group_stays_in_its_order(name: str) -> None:
    raws = [b"E\0\xff1", b"E\0\xff2", b"E\0\xff3"]
    one, two, three = ({"raw_packet": raw, "summary": f"IP {raw[-1:]!r}"} for raw in raws)
    assert packets([[one, two], [], [three]], name=name) == [
        {"raw_packet": base64_of(raw), "summary": f"IP {raw[-1:]!r}"} for raw in raws
    ]


@pytest.mark.parametrize(
    "raw", [b"plain text", b"", b"\0\0", "caf\u00e9".encode(), b"\xff\xfe", bytes(range(256))]
)
def test_a_packet_is_base64_whatever_it_looks_like(raw: bytes) -> None:
    (packet,) = packets([[{"raw_packet": raw, "summary": "s"}]])
    assert packet["raw_packet"] == base64_of(raw)


def test_a_packet_that_is_base64_already_stays() -> None:
    packet = {"raw_packet": base64_of(b"x"), "summary": "s", "more": 1}
    assert packets([packet]) == packets([[packet]]) == [packet]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (None, []), ([], []), ([[]], []), ([[], []], []), ("text", ["text"]), (5, [5]),
        ({"summary": "alone"}, [{"summary": "alone"}]), ([["x", 5, None]], ["x", 5, None]),
        ([{"raw_packet": None}], [{"raw_packet": None}]), ([{"raw_packet": 5}], [{"raw_packet": 5}]),
        ([[["deeper"]]], [["deeper"]]),
    ],
)  # fmt: skip
def test_other_shapes(groups: Any, expected: list[Any]) -> None:
    assert packets(groups) == expected


def test_lists_are_always_there_and_other_keys_stay() -> None:
    keys = {"answer_flags": ["ipsrc"], "hops_80": [{"address": "192.0.2.1", "rtt": 0.5, "ttl": 1}]}
    result = normalised({"test_name": "traceroute", **keys})["test_keys"]
    assert result == {**keys, "sent_packets": [], "answered_packets": []}
