"""What the network did comes out byte for byte: whole lines, through the whole of a report."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.report.work import Job
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.reports import sanitise_report

OWN, OTHER = "203.0.113.7", "198.51.100.20"
PAGE = (
    "<html><title>Access Denied</title>\r\n<p>Error 1009. Ray ID 2a38bd0f1c6b2a4f. Your IP: 198.51.100.99."
    "<!-- X-Forwarded-For: 198.51.100.98 http://user:pw@a.test/#top /var/www/html/index.php -->\u00e9\u4e2d"
)
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/116.0.0.0 Safari/537.36"


def based(data: bytes) -> dict[str, str]:
    return {"format": "base64", "data": base64.b64encode(data).decode()}


def response(**keys: Any) -> dict[str, Any]:
    exchange = {"request": {"url": "http://a.test/", "headers": {"User-Agent": AGENT}}, "response": keys}
    return {"test_name": "web_connectivity", "test_keys": {"requests": [exchange]}}


def _packet(source: str) -> bytes:
    return (
        bytes([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 1, 2]) + bytes(map(int, source.split("."))) + b"\x7f\0\0\1"
    )


EVIDENCE: dict[str, dict[str, Any]] = {
    "a block page": response(body=PAGE, code=403, response_length=len(PAGE)),
    "a block page in base64": response(body=based(b"\xff\xfe" + PAGE.encode() * 30)),
    "digits in base64": response(body=based(b"0123456789 10.1.2.3 " * 99)),
    "version numbers": response(body=f"{AGENT} 10.0.14.1 1.2.3.4.5", headers={"Server": "nginx/1.2.3.4"}),
    "a page in a script": response(
        body=r'var x="http:\/\/198.51.100.20\/%3Fip%3D198%2E51%2E100%2E20\u0026";'
    ),
    "Location": response(headers={"Location": f"http://{OTHER}:8080/?u=http%3A%2F%2Fa.test%2F%23x#warning"}),
    "Via, Server, X-Cache": response(
        headers={"Via": f"1.1 {OTHER} (squid/3.1)", "Server": OTHER, "X-Cache": f"MISS from {OTHER}:3128"},
        headers_list=[["Via", f"1.1 {OTHER}"], ["X-Squid-Error", "ERR_ACCESS_DENIED 0"], ["X-Cache", "HIT"]],
    ),
    "Set-Cookie": response(headers={"Set-Cookie": f"ip={OTHER}; uid=8d5f3c4e-1111-2222-3333-444455556666"}),
    "names that are nearly on the list": response(
        headers={"X-Forwarded-Proto": "http", "X-Client-IPs": OTHER}
    ),
    "answers": {
        "test_name": "web_connectivity",
        "test_keys": {
            "queries": [
                {
                    "answers": [
                        {"answer_type": "A", "ipv4": one} for one in (OTHER, "10.10.34.34", "127.0.0.1")
                    ]
                },
                {"answers": [{"answer_type": "AAAA", "ipv6": "2001:db8:9::1"}], "hostname": "a.test"},
            ],
            "tcp_connect": [{"ip": "10.10.34.34", "port": 80, "status": {"failure": "connection_reset"}}],
        },
    },
    "dns_consistency": {
        "test_name": "dns_consistency",
        "test_keys": {"inconsistent": ["10.10.34.34:53"], "tampering": {"8.8.8.8": True, OTHER: False}},
    },
    "resolvers": {"test_keys": {"client_resolver": OTHER, "resolver_ip": "2001:db8:9::53"}},
    "failures": {
        "test_name": "web_connectivity",
        "test_keys": {
            "failure": f"unknown_failure: dial tcp {OTHER}:443: connect: connection refused",
            "errors": ["[Errno 111] Connection to 2001:db8:9::1 refused", "dns_nxdomain_error"],
        },
    },
    "a traceroute": {
        "test_name": "multi_protocol_traceroute",
        "test_keys": {
            "answered_packets": [
                {
                    "raw_packet": based(_packet(OTHER)),
                    "summary": f"IP / ICMP {OTHER} > 127.0.0.1 time-exceeded",
                }
            ],
            "sent_packets": [[{"raw_packet": based(_packet("127.0.0.1")), "summary": "IP / TCP"}]],
            "hops_80": [{"ttl": 1, "address": OTHER, "rtt": 0.01}],
        },
    },
    "logs of tor": {
        "test_name": "vanilla_tor",
        "test_keys": {
            "tor_log": "Aug 01 12:30:45.000 [notice] Tor 0.2.4.20 (git-0d50b03673670de6): Bootstrapped 10%",
            "tor_logs": ["Aug 01 12:30:45.000 [notice] Bootstrapped 100% (done): Done"],
        },
    },
    "an authority": {
        "test_name": "tor",
        "test_keys": {
            "targets": {
                "128.31.0.39:9131": {
                    "target_address": "128.31.0.39:9131",
                    "target_protocol": "dir_port",
                    "failure": None,
                }
            }
        },
    },
    "times and identifiers": {
        "measurement_start_time": "2016-08-01 12:30:45",
        "report_id": "20160801T123045Z_AS3269_IT_abcdefghijklmnop",
        "test_name": "http_requests",
        "test_keys": {"uuid": "8d5f3c4e-1111-2222-3333-444455556666", "t": 1470054645.123456, "x": -0.0},
    },
    "numbers": {
        "test_keys": {"a": 3325256724, "b": "3325256724", "c": 3405803784, "d": "cb007108", "e": 10**30}
    },
    "dates with dashes": {
        "test_keys": {"a": "203-0-113-70 2016-08-01", "b": "host-198-51-100-20.example.net"}
    },
    "fingerprints that are none": {
        "test_keys": {"sha256": "ab" * 32, "x": "0" * 40, "serial": "AB:CD:EF:01:02"}
    },
    "plain annotations": {"annotations": {"platform": "linux", "engine_version": "1.2.3.4", "origin": "x"}},
    "plain input and options": {
        "input": "https://a.test:8443/a/b@c?q=198.51.100.20&x=/home/someone/",
        "options": ["-u", "a.test", "-n", "5"],
    },
    "an exotic line": {"test_keys": {"\u2028": "\ud800\x00\x7f/", "é": [1e22, 0.1, True, {}], "": ""}},
}
#: Where each reveals OWN; they lose it, and nothing else.
REVEALING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "probe_ip": (
        {"id": "r", "probe_ip": OWN},
        {"id": "r", "probe_ip": "127.0.0.1", "sanitised": {"probe_ip_withheld": 1}},
    ),
    "dash": (
        {"id": "r", "probe_ip": None, "test_keys": {"receiver_data": [{"real_address": OWN, "rate": 5}]}},
        {
            "id": "r", "probe_ip": None,
            "test_keys": {"receiver_data": [{"real_address": "[scrubbed]", "rate": 5}]},
            "sanitised": {"client_address": 1},
        },
    ),
    "tor's guess": (
        {"id": "r", "test_keys": {"x_log": f"Guessed our IP address as {OWN}."}},
        {
            "id": "r", "test_keys": {"x_log": "Guessed our IP address as [scrubbed]."},
            "sanitised": {"own_address": 1},
        },
    ),
}  # fmt: skip


def sanitised(folder: Path, *entries: dict[str, Any]) -> list[bytes]:
    """The lines of a report after the stage."""
    table = folder / "bridge_table.json"
    bridges = {"192.0.2.1:443": "01" * 20, "[2001:db8::1]:443": "02" * 20}
    table.write_text(json.dumps({place: {"fingerprint": one} for place, one in bridges.items()}))
    source = folder / "in.json"
    source.write_bytes(b"".join(dump_entry(entry) + b"\n" for entry in entries))
    job = Job("r", "2016-08-02", source, folder / "out.json", folder / "rejected", folder / "held")
    outcome = sanitise_report(job, table=table, digest=load_bridge_table(table).digest)
    assert outcome.counts.out == len(entries)
    return job.destination.read_bytes().splitlines()


@pytest.mark.parametrize("name", EVIDENCE)
def test_it_comes_out_byte_for_byte(tmp_path: Path, name: str) -> None:
    entry = {"id": "x", "probe_ip": "127.0.0.1", **EVIDENCE[name]}
    assert sanitised(tmp_path, entry) == [dump_entry(entry)]


@pytest.mark.parametrize("reveals", REVEALING)
@pytest.mark.parametrize("name", EVIDENCE)
def test_also_in_a_report_that_reveals_an_own_address(tmp_path: Path, name: str, reveals: str) -> None:
    entry = {"id": "x", "probe_ip": "127.0.0.1", **EVIDENCE[name]}
    before, clean = REVEALING[reveals]
    assert sanitised(tmp_path, entry, before, entry) == [dump_entry(one) for one in (entry, clean, entry)]


@pytest.mark.parametrize("name", EVIDENCE)
def test_and_in_an_entry_that_is_cut(tmp_path: Path, name: str) -> None:
    """It is parsed and written again, and differs at the cut alone."""
    entry = {"id": "x", "probe_ip": OWN, **EVIDENCE[name], "probe_city": "Reykjavík", "seen": f"at {OWN}:80"}
    clean = entry | {"probe_ip": "127.0.0.1", "probe_city": None, "seen": "at [scrubbed]:80"}
    clean["sanitised"] = {"own_address": 1, "probe_city": 1, "probe_ip_withheld": 1}
    assert sanitised(tmp_path, entry) == [dump_entry(clean)]


def test_an_address_that_a_third_party_names_goes_from_that_body_alone(tmp_path: Path) -> None:
    """Else a censor could have the address of his block page erased by planting it in a header."""
    planted = {"headers": {"X-Forwarded-For": OTHER, "Location": f"http://{OTHER}/"}, "body": f"you: {OTHER}"}
    elsewhere = {"response": {"body": f"blocked by {OTHER}", "headers": {"Via": OTHER}}, "failure": OTHER}
    keys = {"requests": [{"response": planted}, elsewhere], "queries": [{"answers": [{"ipv4": OTHER}]}]}
    entry = {"id": "x", "test_name": "web_connectivity", "test_keys": keys}
    other = {"id": "y", "test_keys": {"answer": OTHER}}
    line, untouched = sanitised(tmp_path, entry, other)
    planted["headers"] = {"X-Forwarded-For": "[scrubbed]", "Location": f"http://{OTHER}/"}
    planted["body"] = "you: [scrubbed]"
    assert loads(line) == entry | {"sanitised": {"headers": 1, "echoed_headers": 1}}
    assert untouched == dump_entry(other)


@pytest.mark.parametrize("name", ["http_host", "http_header_field_manipulation", "http_invalid_request_line"])
def test_what_our_helpers_echo_goes_from_the_whole_report(tmp_path: Path, name: str) -> None:
    echo = json.dumps({"headers_dict": {"X-Forwarded-For": [OTHER]}})
    said = {"id": "x", "test_name": name, "test_keys": {"requests": [{"response": {"body": echo}}]}}
    other = {"id": "y", "test_keys": {"seen": OTHER}}
    first, _, last = (loads(line) for line in sanitised(tmp_path, other, said, other))
    assert first == last == other | {"test_keys": {"seen": "[scrubbed]"}, "sanitised": {"own_address": 1}}
    raw = {
        "id": "x",
        "test_name": name,
        "test_keys": {"received": f"GET /\r\nClient-IP: {OTHER}\r\nVia: {OTHER}"},
    }
    (line,) = sanitised(tmp_path, raw)
    assert loads(line)["test_keys"]["received"] == "GET /\r\nClient-IP: [scrubbed]\r\nVia: [scrubbed]"
