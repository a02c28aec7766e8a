"""What older normalisers did wrong, one row each, and that this one does not.

The rows quote the defect in a few words. Each is a whole report as a probe submitted it, so that reading,
merging and normalising are tested together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.normalise import FAMILIES
from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.report.nettests import canonical_test_name
from ooni_pipeline.report.work import Job
from tests.write_golden_reports import cases

ROOT = Path(__file__).parents[2]
HEADER = {"probe_cc": "IT", "probe_asn": "AS1", "software_name": "ooniprobe", "start_time": 1425982210.0}


def entries(folder: Path, name: str, entry: str, **header: Any) -> list[dict[str, Any]]:
    """The normalised entries of a YAML report with one entry document, in YAML."""
    said = json.dumps({**HEADER, "test_name": name, **header})
    path = folder / "20150310T101010-x-no_report_id-AS1-IT-probe-0.1.0.yaml"
    path.write_text(f"---\n{said}\n...\n---\n{entry}\n...\n", "utf-8")
    return normalised(path, "2015-03-11")


def normalised(report: Path, bucket_date: str) -> list[dict[str, Any]]:
    """What the stage writes for a report."""
    written = report.with_name("normalised")
    job = Job(report.stem, bucket_date, report, written, report.parent / "rejected", report.parent / "held")
    outcome = normalise_report(job, key=b"a key")
    assert not outcome.rejected and outcome.counts.missing() == 0
    assert set(outcome.counts.rejected) <= {"null_entry"}
    return [json.loads(line) for line in written.read_text().splitlines()] if outcome.digest else []


def at(value: Any, path: str) -> Any:
    """What stands at a path of keys and numbers; the word ``missing`` where nothing does."""
    for key in path.split("."):
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return "missing"
    return value


RESPONSE = "test_keys.requests.0.response"
ANSWER = "test_keys.queries.0.answers.0"


def response(what: str) -> str:
    return f"requests: [{{request: {{url: u}}, response: {what}}}]"


def answered(kind: str, payload: str) -> str:
    head = f"<RR name=a type={kind} class=IN ttl=9s auth=False>"
    return f"queries: [{{answers: [[{head!r}, {json.dumps(payload)}]]}}]"


ROWS: tuple[tuple[str, str, str, str, Any], ...] = (
    # what was wrong, nettest, entry, where to look, what must stand there
    ("headers: order and duplicates lost", "http_requests",
     response("{headers: [[B, [x, y]], [A, [z]], [B, [w]]]}"), f"{RESPONSE}.headers_list",
     [["B", "x"], ["B", "y"], ["A", "z"], ["B", "w"]]),
    ("headers: the first of several values", "http_requests",
     response("{headers: [[B, [x, y]]]}"), f"{RESPONSE}.headers", {"B": "x"}),
    ("headers: of a plain value its first character", "http_requests",
     response("{headers: [[Server, nginx]]}"), f"{RESPONSE}.headers", {"Server": "nginx"}),
    ("headers that are a mapping: names of two letters mangled", "http_requests",
     response("{headers: {TE: trailers}}"), f"{RESPONSE}.headers", {"TE": "trailers"}),
    ("headers: a name without values crashed", "http_requests",
     response("{headers: [[A, []]]}"), f"{RESPONSE}.headers", {"A": None}),
    ("no headers, no body: crashed", "http_requests", response("{code: 200}"), RESPONSE,
     {"body": None, "code": 200, "headers": {}, "headers_list": []}),
    ("a request that is no mapping: no url, KeyError", "http_requests",
     "requests: [{request: null, response: {}}]", "test_keys.requests.0.request.url", None),
    ("NULs stripped before base64: the body corrupted", "http_requests",
     response("{body: !!binary AP8A}"), f"{RESPONSE}.body", {"data": "AP8A", "format": "base64"}),
    ("NULs of a text lost", "http_requests", response('{body: "a\\0b"}'), f"{RESPONSE}.body", "a\0b"),
    ("a body that is a number crashed", "http_requests", response("{body: 5}"), f"{RESPONSE}.body", 5),
    ("an option -u at the end of the list: IndexError", "http_requests", "{input: null, options: [-u]}",
     "input", None),
    ("bytes outside of the known fields: the report lost", "bridge_reachability",
     "tor_log: !!binary gA==", "test_keys.tor_log", {"data": "gA==", "format": "base64"}),
    ("headers_diff, a set, not serialisable", "http_header_field_manipulation",
     "tampering: {headers_diff: !!set {Via: null}}", "test_keys.tampering.headers_diff", ["Via"]),
    ("MX: its name searched for as an address", "dns_consistency",
     answered("MX", "<MX preference=10 name=mail.example ttl=9>"), ANSWER,
     {"answer_type": "MX", "ttl": "9", "preference": "10", "hostname": "mail.example", "name": "a"}),
    ("AAAA: the address lost", "dns_consistency",
     answered("AAAA", "<AAAA address=2001:db8::1 ttl=9>"), f"{ANSWER}.ipv6", "2001:db8::1"),
    ("NS: the name lost", "dns_consistency",
     answered("NS", "<NS name=ns.example ttl=9>"), f"{ANSWER}.hostname", "ns.example"),
    ("TXT: the text lost", "dns_consistency",
     answered("TXT", "<TXT data=['v=spf1 -all'] ttl=9>"), f"{ANSWER}.text", "['v=spf1 -all']"),
    ("a host name ended at its first _", "dns_consistency",
     answered("CNAME", "<CNAME name=a_b.example ttl=9>"), f"{ANSWER}.hostname", "a_b.example"),
    ("a host name of hyphens took exponential time", "dns_consistency",
     answered("CNAME", f"<CNAME name=a{'-' * 60}! ttl=9>"), f"{ANSWER}.hostname", f"a{'-' * 60}!"),
    ("failed had the successful ones too", "dns_consistency",
     "tampering: {a: false, b: true, c: reverse_match, d: timeout}", "test_keys.failed", ["d"]),
    ("reverse_match counted as failed", "dns_consistency",
     "tampering: {a: false, b: true, c: reverse_match, d: timeout}", "test_keys.successful", ["a", "c"]),
    ("successful of the probe overwritten", "dns_consistency",
     "{successful: [a], tampering: {}}", "test_keys.successful", ["a"]),
    ("inconsistent of the probe overwritten", "dns_consistency",
     "{inconsistent: [a], tampering: null}", "test_keys.inconsistent", ["a"]),
    ("the probe's failures not taken for failed", "dns_consistency",
     "{failures: [a]}", "test_keys.failed", ["a"]),
    ("tampering that is no mapping crashed", "dns_consistency", "tampering: true", "test_keys.tampering",
     True),
    ("tampering false of another nettest lost", "dns_injection", "tampering: false", "test_keys.tampering",
     False),
    ("a list as a key: the entry lost", "dns_consistency", "tampering: {[192.0.2.1, 53]: true}",
     "test_keys.inconsistent.0", '["192.0.2.1",53]'),
    ("packets of a group but the first lost", "multi_protocol_traceroute",
     "sent_packets: [[{summary: a}, {summary: b}], [], [{summary: c}]]", "test_keys.sent_packets",
     [{"summary": "a"}, {"summary": "b"}, {"summary": "c"}]),
    ("a packet of another shape crashed", "dns_spoof", "sent_packets: [5, null, {raw_packet: 7}]",
     "test_keys.sent_packets", [5, None, {"raw_packet": 7}]),
    ("cert_subject always []", "tls_handshake", "cert_subject: [[CN, a]]", "test_keys.cert_subject",
     [["CN", "a"]]),
    ("cert_issuer always []", "tls_handshake", "cert_issuer: [[CN, ca]]", "test_keys.cert_issuer",
     [["CN", "ca"]]),
    ("cert_serial_no null: crashed", "tls_handshake", "cert_serial_no: null", "test_keys.cert_serial_no",
     None),
    ("cert_serial_no made up (0x0)", "tls_handshake", "a: 1", "test_keys.cert_serial_no", "missing"),
    ("cert_serial_no with an L at its end", "tls_handshake", f"cert_serial_no: {2**70}",
     "test_keys.cert_serial_no", "0x400000000000000000"),
    ("session_key made up (empty)", "tls_handshake", "a: 1", "test_keys.session_key", "missing"),
    ("the sets of google_dns_cp never became lists", "captive_portal",
     "google_dns_cp: {addresses: !!set {a: null}}", "test_keys.google_dns_cp.addresses", ["a"]),
    ("the process branch crashed on any psiphon", "psiphon", "ssh x: {stdout: a}",
     "test_keys.ssh x.stdout", "a"),
    ("test_start_time null: the report lost", "tcp_connect", "test_start_time: null",
     "measurement_start_time", "2015-03-10 10:10:10"),
    ("test_start_time an integer: the report lost", "tcp_connect", "test_start_time: 1425982215",
     "measurement_start_time", "2015-03-10 10:10:15"),
    ("test_started never used", "tcp_connect", "test_started: 1425982212.0", "measurement_start_time",
     "2015-03-10 10:10:12"),
    ("a null entry after it", "tcp_connect", "input: a\n...\n---\nnull", "input", "a"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "entry", "where", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_the_defect_is_gone(tmp_path: Path, name: str, entry: str, where: str, expected: Any) -> None:
    (found,) = entries(tmp_path, name, entry)
    assert at(found, where) == expected


def test_the_start_of_a_test_is_never_1970(tmp_path: Path) -> None:
    (found,) = entries(tmp_path, "tcp_connect", "test_start_time: 1425982211.5", start_time=None)
    assert found["test_start_time"] == "2015-03-10 10:10:10"
    assert found["measurement_start_time"] == "2015-03-10 10:10:11"


def test_a_string_of_the_collector_is_not_thrown_away(tmp_path: Path) -> None:
    said = {"test_start_time": "2015-03-10 18:10:10"}
    (found,) = entries(tmp_path, "tcp_connect", "test_start_time: 1425982211.5", **said)
    assert found["test_start_time"] == "2015-03-10 18:10:10"


def test_a_city_that_is_not_ascii_does_not_cost_the_report(tmp_path: Path) -> None:
    (found,) = entries(tmp_path, "tcp_connect", "input: a", probe_city="Reykjav\u00edk")
    assert found["input"] == "a"


def test_a_header_alone_is_an_empty_report(tmp_path: Path) -> None:
    """(A generator that ends with StopIteration is an error since Python 3.7, PEP 479.)"""
    assert entries(tmp_path, "tcp_connect", "null") == []


@pytest.mark.parametrize("version", ["0.2.1", "0.3.0", "0.5.0"])
@pytest.mark.parametrize("name", ["psiphon", "web_connectivity", "dns_consistency", "tls_handshake"])
def test_newer_formats_are_not_taken_for_legacy(tmp_path: Path, version: str, name: str) -> None:
    """psiphon 0.3.0 crashed in production in 2020 and left an empty file."""
    test_keys = {"requests": None, "queries": [{"answers": None}], "tampering": {"a": False}}
    entry = {"test_name": name, "data_format_version": version, "test_keys": test_keys}
    path = tmp_path / "20200310T101010-x-no_report_id-AS1-IT-probe-0.3.0.json"
    path.write_text(json.dumps({**entry, "resolver_ip": "192.0.2.1"}) + "\n")
    (found,) = normalised(path, "2020-03-11")
    assert {key: found[key] for key in entry} == entry
    assert found["resolver_ip"] == "192.0.2.1"


#: Every row of the table of names, and how those that it did not know are spoken.
NAMES: dict[str, tuple[Any, ...]] = {
    "http_host": ("http_host", "HTTP Host"),
    "http_requests": ("http_requests", "http_requests_test", "HTTP Requests Test"),
    "bridge_reachability": ("bridge_reachability", "bridgereachability", "bridge reachability"),
    "tcp_connect": ("TCP Connect", "tcp_connect"),
    "dns_consistency": ("DNS tamper", "dnstamper", "dns_consistency", "dns consistency"),
    "http_invalid_request_line": (
        "HTTP Invalid Request Line", "http_invalid_request_line",
        "test_random_big_request_method", "test_random_invalid_field_count",
    ),
    "http_header_field_manipulation": (
        "HTTP Header Field Manipulation", "http_header_field_manipulation",
        "test_get_random_capitalization", "test_put_random_capitalization", "test_post_random_capitalization",
    ),
    "multi_protocol_traceroute": (
        "Multi Protocol Traceroute Test", "multi_protocol_traceroute_test", "multi_protocol_traceroute",
        "traceroute",
    ),
    "parasitic_traceroute": ("parasitic_traceroute_test", "parasitic_tcp_traceroute_test"),
    "tls_handshake": ("tls-handshake", "tls_handshake"),
    "dns_injection": ("dns_injection", "DNS Injection"),
    "captive_portal": ("captivep", "captiveportal"),
    "http_filtering_bypass": ("HTTPFilteringBypass", "httpfilteringbypass"),
    "http_trix": ("HTTPTrix", "httptrix"),
    "http_test": ("http_test",),
    "http_url_list": ("http_url_list",),
    "dns_spoof": ("dns_spoof", "DNS Spoof"),
    "this_test_is_nameless": ("this_test_is_nameless",),
    "netalyzr_wrapper": ("netalyzrwrapper",),
    "meek_fronted_requests_test": ("meek_fronted_requests_test", "meek fronted requests test"),
    "lantern_circumvention_tool_test": ("lantern_circumvention_tool_test",),
    "psiphon_test": ("psiphon_test",),
    "invalid": ("summary", "test_get", "test_post", "test_put", "test_send_host_header", None, ""),
    "some_new_test": ("Some New Test", "some_new_test"),
}  # fmt: skip


@pytest.mark.parametrize(("canonical", "raw"), [(name, raw) for name, raws in NAMES.items() for raw in raws])
def test_names(canonical: str, raw: Any) -> None:
    """By the table, else in lower case; null did crash."""
    assert canonical_test_name(raw) == canonical


NEVER_MATCHED = {
    "meek_fronted_requests_test": "requests", "psiphon_test": "requests", "dom_class_collector": "requests",
    "http_uk_mobile_network_redirect_test": "requests", "squid_test": "requests",
    "keyword_filtering_detection_based_on_rst_packets": "sent_packets",
}  # fmt: skip


@pytest.mark.parametrize("name", NEVER_MATCHED)
def test_a_family_whose_name_never_matched(tmp_path: Path, name: str) -> None:
    assert name in FAMILIES
    entry = "requests: [{request: {url: a}}]\nsent_packets: [[{raw_packet: a}]]"
    (found,) = entries(tmp_path, name.replace("_", " "), entry)
    first = found["test_keys"][NEVER_MATCHED[name]][0]
    if NEVER_MATCHED[name] == "requests":
        assert first["request"]["tor"]["is_tor"] is False
    else:
        assert first["raw_packet"]["data"] == "YQ=="


PRINT_ALL = """
import sys, time
from tests.write_golden_reports import cases, process, raw_of
assert time.timezone == -9 * 3600
for case in cases():
    sys.stdout.buffer.write(process(raw_of(case)).normalised)
"""


def test_no_local_time() -> None:
    """All legacy times were one or two hours late, those in report ids too: the machine was in Europe."""
    environment = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT)}
    tokyo = subprocess.run(
        [sys.executable, "-c", PRINT_ALL], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert tokyo.stdout == b"".join((case / "normalised.json").read_bytes() for case in cases())
