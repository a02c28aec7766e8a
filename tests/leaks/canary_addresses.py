"""Canaries that are addresses of volunteers: every source that reveals one, every spelling beside it."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.leaks.addresses import parsed
from tests.leaks.canaries import (
    BYTES,
    Entry,
    Place,
    Planted,
    broken,
    cut_short,
    cut_short_yaml,
    in_base64,
    with_response,
)
from tests.leaks.entries import RESOLVERS
from tests.leaks.spellings import own_spellings


def plant(planted: Planted) -> None:
    _in_json(planted)
    _in_yaml(planted)
    _no_address(planted)
    _near_resolvers(planted)
    _numbers(planted)


def _quoting(address: str, kind: int = 11) -> Entry:
    """A packet in which a router quotes one from this address."""
    packed = parsed(address) or b""
    if len(packed) == 4:
        outer = bytes([0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 203, 0, 113, 9, 127, 0, 0, 1])
        inner = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 1, 6, 0, 0]) + packed + b"\x08" * 4
    else:
        outer = bytes([0x60, 0, 0, 0, 0, 48, 58, 64]) + b"\x20" * 16 + b"\0" * 15 + b"\1"
        inner, kind = bytes([0x60, 0, 0, 0, 0, 0, 6, 1]) + packed + b"\x20" * 16, 3
    data = base64.b64encode(outer + bytes([kind, 0, 1, 2, 0, 0, 0, 0]) + inner + b"\0" * 8).decode()
    return {"raw_packet": {"format": "base64", "data": data}, "summary": "IP / ICMP"}


def _long_summary(address: str) -> str:
    return (
        "[<IP  version=4L ihl=5L src=203.0.113.9 dst=127.0.0.1 options=[] |<ICMP  type=time-exceeded code=0 "
        f"|<IPerror  version=4L ttl=1 proto=udp src={address} dst=8.8.8.8 |<UDPerror  sport=5 |>>>>]"
    )


def _echo(address: str) -> str:
    headers = {"Host": ["a.test"], "X-Forwarded-For": [f"10.9.8.7, {address}"]}
    pairs = [["X-Forwarded-For", f"10.9.8.7, {address}"]]
    return json.dumps({"headers_dict": headers, "request_line": "GET / HTTP/1.1", "request_headers": pairs})


def _raw_echo(address: str) -> str:
    return f"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.9.8.7, {address}\r\nUser-Agent: x\r\n\r\n"


def _keys(**test_keys: Any) -> Entry:
    return {"test_keys": test_keys}


def _packet_between(source: str, destination: str) -> Entry:
    """A packet that was not masked: SYN, without what scapy says of it."""
    ends = _packed(source) + _packed(destination)
    if len(ends) == 8:
        raw = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]) + ends
    else:
        raw = bytes([0x60, 0, 0, 0, 0, 20, 6, 64]) + ends
    return {"raw_packet": in_base64(raw + b"\0\x50\1\xbb" * 5)}


def _other(address: str) -> str:
    return "2001:db8:ffff::8" if ":" in address else "203.0.113.9"


def _answered(packet: Entry) -> Entry:
    return _keys(answered_packets=[packet])


def _remote(raw: Any) -> Entry:
    return _keys(web100_snap={"RemAddress": raw})


def _client(address: str) -> Entry:
    client = f"[{address}]:5" if ":" in address else f"{address}:5"
    return _keys(download=[{"ConnectionInfo": {"Client": client}}])


def _short_summary(address: str) -> str:
    return f"IP / ICMP 203.0.113.9 > {address} time-exceeded ttl-zero-during-transit / IPerror / TCPerror"


def _guessed(address: str) -> str:
    return f"Oct 01 [notice] Guessed our IP address as {address} (source: 203.0.113.9)."


def _packed(address: str) -> bytes:
    return parsed(address) or b""


#: Where a report reveals an address as its own: nettest, name, entry.
OWN_SOURCES: tuple[tuple[str, str, Place], ...] = (
    ("web_connectivity", "probe_ip", lambda one: {"probe_ip": one}),
    ("web_connectivity", "probe_ip below", lambda one: _keys(report={"probe_ip": one})),
    ("dash", "real_address", lambda one: _keys(receiver_data=[{"real_address": one}])),
    ("dash", "internal_address", lambda one: _keys(receiver_data=[{"internal_address": one}])),
    ("ndt", "web100 hex", lambda one: _remote(_packed(one).hex())),
    ("ndt", "web100 hex reversed", lambda one: _remote("0x" + _packed(one)[::-1].hex().upper())),
    ("ndt", "web100 text", _remote),
    ("ndt", "web100 integer", lambda one: _remote(int.from_bytes(_packed(one)[:4], "big"))),
    ("ndt7", "ConnectionInfo", _client),
    ("ndt", "client_ip", lambda one: _keys(client_ip=one)),
    ("ndt", "ClientIP", lambda one: _keys(server={"ClientIP": one})),
    ("dash", "client_address", lambda one: _keys(client_address=one)),
    ("http_invalid_request_line", "client_addr", lambda one: _keys(client_addr=one)),
    ("ndt", "ClientAddress", lambda one: _keys(ClientAddress=one)),
    ("tcp_traceroute", "sent_packets", lambda one: _keys(sent_packets=[_packet_between(one, _other(one))])),
    (
        "tcp_traceroute",
        "received_packets",
        lambda one: _keys(received_packets=[_packet_between(_other(one), one)]),
    ),
    (
        "tcp_traceroute",
        "answered_packets",
        lambda one: _keys(answered_packets=[[_packet_between(_other(one), one)]]),
    ),
    ("multi_protocol_traceroute", "quoted source", lambda one: _answered(_quoting(one))),
    ("multi_protocol_traceroute", "unreachable", lambda one: _answered(_quoting(one, 3))),
    ("multi_protocol_traceroute", "long summary", lambda one: _answered({"summary": _long_summary(one)})),
    ("multi_protocol_traceroute", "short summary", lambda one: _answered({"summary": _short_summary(one)})),
    ("vanilla_tor", "guessed", lambda one: _keys(tor_log=_guessed(one))),
    ("torsf", "guessed in a list", lambda one: _keys(tor_logs=["[notice] begin", _guessed(one)])),
    ("http_host", "echo", lambda one: _keys(requests=[with_response(body=_echo(one))])),
    ("http_header_field_manipulation", "echo", lambda one: _keys(requests=[with_response(body=_echo(one))])),
    ("http_invalid_request_line", "raw echo", lambda one: _keys(received=[_raw_echo(one)])),
)
#: Of those: what holds nothing but the address, and may hold anything else.
OF_ONE_KEY = frozenset(
    {
        *("probe_ip", "probe_ip below", "real_address", "internal_address", "web100 text"),
        *("client_ip", "ClientIP", "client_address", "client_addr", "ClientAddress"),
    }
)


def _in_json(planted: Planted) -> None:
    """Each source, and each spelling in another entry before it, behind it and beside it."""
    for test_name, name, source in OWN_SOURCES:
        for version in (4, 6):
            if version == 6 and ("summary" in name or name == "web100 integer"):
                continue
            own = planted.address(f"{test_name} {name}", version)
            elsewhere = _elsewhere(own)
            revealing = source(own)
            beside = {**revealing, "test_keys": {**revealing.get("test_keys", {}), "failure": f"from {own}"}}
            resolver = {"resolver_ip": own, "client_resolver": own}
            planted.add(test_name, [*elsewhere, beside, *elsewhere[:3], resolver])
        own = planted.address(f"broken {test_name} {name}")
        entries = [source(own), _keys(failure=own)]
        if name in OF_ONE_KEY and name != "web100 text":
            entries += [source(value) for value in broken(own)]
        planted.add(test_name, entries, *cut_short(test_name, own))


def _elsewhere(own: str) -> list[Entry]:
    """Entries that hold an address without saying whose it is: in a packet, in a page, in each spelling."""
    packet = {
        "raw_packet": in_base64(b"E\0" + _packed(own) * 2 + b"\0"),
        "summary": f"IP / TCP {own}:5 > 8.8.8.8:80",
    }
    page = with_response({"Location": f"http://b.test/?{own}"}, f"you are {own}")
    spelled = [_keys(failure=f"x {text} y", other={text: text}) for text in own_spellings(own).values()]
    return [_keys(sent_packets=[packet], requests=[page]), *spelled]


def _in_yaml(planted: Planted) -> None:
    own = planted.address("probe_ip in YAML")
    planted.add_yaml("http_requests", {"test_name": "HTTP Requests Test", "probe_ip": own},
                     [{"input": "http://a.test/", "failure": f"x {own}"}], *cut_short_yaml(own))  # fmt: skip
    own = planted.address("probe_ip of an entry in YAML")
    twice = {"input": "http://a.test/", "probe_ip": own, "report": {"probe_ip": [own]}}
    planted.add_yaml("http_requests", {"test_name": "HTTP Requests Test"}, [twice])
    own = planted.address("quoted source in YAML")
    packet = _quoting(own)
    packet["raw_packet"] = BYTES + packet["raw_packet"]["data"]
    for answered in ([[packet]], [packet], packet):
        entry = {"input": None, "report": {"answered_packets": answered, "failure": own}}
        planted.add_yaml("traceroute", {"test_name": "Multi Protocol Traceroute Test"}, [entry])


def _no_address(planted: Planted) -> None:
    """What stands where the volunteer's address should, and is something else."""
    for test_name, name, source in OWN_SOURCES:
        if name in OF_ONE_KEY:
            text = planted.text(f"no address in {test_name} {name}")
            planted.add(test_name, [source(text), source(f"{text}.dsl.example"), source([text])])
    text = planted.text("no address in ConnectionInfo")
    planted.add("ndt7", [_client(text)])


def _near_resolvers(planted: Planted) -> None:
    """Resolvers in the volunteer's own network, which is what a router at home is."""
    for key in sorted(RESOLVERS):
        for version, near in ((4, "198.18.{}.7"), (6, "2001:db8:{}:9::53")):
            own = planted.address(f"near a resolver in {key}", version)
            beside = near.format(own.split(".")[2] if version == 4 else own.split(":")[2])
            entries: list[Entry] = [{key: beside}, {"test_keys": {key: beside, "queries": [{key: beside}]}}]
            planted.add("web_connectivity", [*entries, {"probe_ip": own}])


def _numbers(planted: Planted) -> None:
    """An address as a number in JSON: as it is, and where no marker can be put for it."""
    own = planted.address("own address as a number")
    numbers = [int.from_bytes(_packed(own), order) for order in ("big", "little")]
    planted.add("ndt", [{"probe_ip": own, "test_keys": {"a": numbers, "b": {"c": numbers[0]}}}])
    own = planted.address("own address as a negative number")
    planted.add("ndt", [{"probe_ip": own}, _keys(x=-int.from_bytes(_packed(own), "big"))])
