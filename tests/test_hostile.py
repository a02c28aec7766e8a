"""Bad input, end to end: each case goes through one night together with good reports.

For each: what the operator sees (reasons in manifests and ledger), where the bytes are afterwards, what is
in the database, and that the good entries around it are loaded. Every byte is generated here.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import functools
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.bucket.stage import process_bucket
from ooni_pipeline.errors import RejectReason
from ooni_pipeline.normalise import normalise_entry, reports
from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.normalise.source import ReportContext
from ooni_pipeline.report.entry import MAX_ENTRY_BYTES, MAX_NODES, MAX_REJECTED_BYTES, RawEntry
from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.report.work import Job, Outcome
from tests.conftest import migrated_database
from tests.tasks.conftest import LUIGI, TOP, Pipeline

pytestmark = pytest.mark.one_server

NAMED_TIME = "2016-08-01T00:00:00"
#: What the alias bombs and the unsafe tags would leave behind if anything ran them.
EVIL = Path(tempfile.gettempdir(), "ooni-pipeline-was-here")

Report = bytes | Callable[[], bytes]


def name_of(case: str, extension: str) -> str:
    """The file name of a case's report in the archive of the collector."""
    return f"20160801T000000Z-tcp_connect-{case.replace('-', '_')}-AS1-GR-probe-0.2.0.{extension}"


def header(case: str, more: str = "") -> bytes:
    """A YAML header of 2014; each has its own report_id, so that no two entries have one id."""
    more = more if "test_name:" in more else f"{more}test_name: tcp_connect\n"
    return (
        f"---\nprobe_asn: AS1\nprobe_cc: GR\nreport_id: {case}\nsoftware_name: ooniprobe\n"
        f"software_version: 1.2.2\ntest_version: '0.1'\n{more}...\n"
    ).encode()


def document(text: str | bytes) -> bytes:
    return b"---\n%b\n...\n" % (text.encode() if isinstance(text, str) else text)


def good_document(name: str) -> bytes:
    return document(f"connection: success\ninput: {name}\ntest_start_time: 1470009600.5")


def yaml(case: str, *pieces: bytes, more: str = "") -> bytes:
    """A report whose hostile pieces stand between two good entries."""
    return header(case, more) + good_document("good 1") + b"".join(pieces) + good_document("good 2")


def line(case: str, **values: object) -> bytes:
    """A JSON entry in today's format, whose keys may be changed."""
    entry = {
        "data_format_version": "0.2.0",
        "input": f"entry of {case}",
        "measurement_start_time": "2016-08-01 00:00:01",
        "probe_asn": "AS1",
        "probe_cc": "GR",
        "probe_ip": "127.0.0.1",
        "report_id": case,
        "software_name": "ooniprobe",
        "software_version": "2.3.0",
        "test_keys": {"connection": "success"},
        "test_name": "tcp_connect",
        "test_start_time": "2016-08-01 00:00:00",
        "test_version": "0.1",
    }
    return dump_entry({**entry, **values})


def lines(case: str, *hostile: bytes) -> bytes:
    """A JSON report whose hostile lines stand between two good ones."""
    good = [line(case, input=f"good {number}") for number in (1, 2)]
    return b"\n".join([good[0], *hostile, good[1], b""])


@dataclass(frozen=True)
class Case:
    """One report. ``out`` is how many of its entries go on, ``rejected`` how many do not, by reason;
    ``whole`` the reason where the report as a whole does not. ``notes`` are those of the normalised
    manifest. ``seen`` tells what stands in the database in the one row that is no good entry: dotted path
    below the row -> value."""

    name: str
    extension: str
    report: Report
    out: int = 2
    rejected: dict[str, int] = field(default_factory=dict)
    whole: str = ""
    notes: dict[str, int] = field(default_factory=dict)
    duplicate: int = 0
    seen: Mapping[str, object] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return name_of(self.name, self.extension)

    def content(self) -> bytes:
        return self.report() if callable(self.report) else self.report


def bad_report(name: str, report: Report, whole: str, extension: str = "yaml") -> Case:
    return Case(name, extension, report, 0, whole=whole)


def bad_document(name: str, text: str | bytes, reason: str) -> Case:
    return Case(name, "yaml", yaml(name, document(text)), rejected={reason: 1})


def bad_line(name: str, text: bytes, reason: str) -> Case:
    return Case(name, "json", lines(name, text), rejected={reason: 1})


def taken_document(name: str, text: str, seen: Mapping[str, object], more: str = "", **notes: int) -> Case:
    """A YAML entry that looks bad and goes on."""
    text = text if "input:" in text else f"{text}\ninput: entry of {name}"
    return Case(name, "yaml", yaml(name, document(text), more=more), 3, notes=notes, seen=seen)


def taken_line(name: str, seen: Mapping[str, object], text: bytes | None = None, /, **values: object) -> Case:
    """A JSON entry that looks bad and goes on."""
    hostile = line(name, **values) if text is None else line(name)[:-1] + b"," + text + b"}"
    nonfinite = len(re.findall(rb"NaN|Infinity|1e400", text or b""))
    return Case(name, "json", lines(name, hostile), 3, notes={"nonfinite": nonfinite}, seen=seen)


def alias_bomb(first: str, other: str) -> str:
    """Nine levels, each nine times the one before."""
    rows = [f"a0: &a0 {first}"]
    rows += [f"a{n}: &a{n} " + other.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 10)]
    return "\n".join(rows)


def measured_at(name: str, value: object, expected: object, source: object) -> list[Case]:
    """A time in a YAML entry of 2014, where it means the start of the measurement."""
    seen = {"measurement_start_time": expected, "extra.time_source.measurement_start_time": source}
    nonfinite = int(value == ".inf")
    return [taken_document(f"yaml-time-{name}", f"test_start_time: {value}", seen, nonfinite=nonfinite)]


DEEP = (10_000, 100_000)
#: As many levels as an entry may have, with its own.
NESTED: list[Any] = functools.reduce(lambda inner, _: [inner], range(997), [])
#: What may stand under ``requests`` of an entry in today's format.
REQUESTS: tuple[Any, ...] = (
    {"a": 1}, "text", [], [None, 5, "x", [], [[]], True],
    [{"response": None, "request": None}], [{"response": [], "request": "x"}],
    [{"response": {"body": 5, "headers": "x", "code": "200"}}],
    [{"response": {"body": ["a"], "headers": [["a"], [], None, 5, [["a"], ["b"]], {"a": 1}]}}],
    [{"response": {"body": {"data": "%%%", "format": "base64"}, "headers": {"a": None}}}],
    [{"response": {"body": {"data": 5, "format": "base64"}, "headers": {"": {"a": [1]}}}}],
    [{"response": {"headers_list": [["Location", {"data": "/w==", "format": "base64"}], None]}}],
    [{"request": {"tor": "yes"}, "response": {"body": "x" * 100_000}}],
)  # fmt: skip
#: Keys of an entry of bridge_reachability.
BRIDGES: tuple[dict[str, Any], ...] = (
    {"input": None, "test_keys": None}, {"input": 5, "test_keys": {"tor_log": 5}},
    {"input": ["obfs4"], "test_keys": {"tor_log": ["a", None]}}, {"test_keys": {"tor_log": None}},
    {"test_keys": {"bridge_address": {"a": 1}, "transport_name": []}},
    {"options": {"a": 1}, "test_keys": "text"}, {"options": [None, ["-b"]], "test_keys": []},
    {"input": "obfs4 " * 2000, "test_keys": {"tor_log": "[notice] " * 50_000}},
)  # fmt: skip
#: Nettests of every family, each with keys in a shape that its step does not expect.
SHAPES = (
    ("dns_consistency", "queries: null\ntampering: null"),
    ("dns_consistency", "queries: text\ntampering: text\ncontrol_resolver: 5"),
    ("dns_consistency", "queries: {a: 1}\ntampering: [a, b]\nfailures: {a: 1}"),
    ("dns_consistency", "queries: [null, 5, [], {}, {query: 5, answers: 5, resolver: text, addrs: {}}]"),
    ("dns_consistency", "queries: [{answers: [[a, b], [1, 2], [[], {}], 5, null], resolver: [null, null]}]"),
    ("dns_consistency", "tampering: {[8.8.8.8, 53]: {}, ~: [], 1: true}\nerrors: 1\nsuccessful: 2"),
    ("dns_consistency", f"queries: [{{query: \"[Query('a{'-' * 50_000}\", answers: [['<RR', '<A a=']]}}]"),
    ("dns_injection", 'queries: {answers: [["<RR name=a type=A ttl=s>", "<A address=>"]]}'),
    ("captive_portal", "queries: 1\nrequests: 1\ngoogle_dns_cp: !!set {a}"),
    ("multi_protocol_traceroute", "sent_packets: text\nanswered_packets: {a: 1}"),
    ("multi_protocol_traceroute", "sent_packets: [null, 5, [], [[]], [{raw_packet: [], summary: {}}]]"),
    ("dns_spoof", "sent_packets: [[{raw_packet: !!binary /w==}, {raw_packet: null}]]"),
    ("tls_handshake", "cert_serial_no: -1\nsession_key: []\ncert_subject: 5"),
    ("tls_handshake", "cert_serial_no: true\nsession_key: null\nserver_cert: !!binary /w=="),
    ("tls_handshake", f"cert_serial_no: {'9' * 4000}\nsession_key: !!binary /w=="),
    ("http_requests", "requests: [{request: 5, response: [1]}, 5, [], null]\nheaders_diff: !!set {a, [b]}"),
    ("http_requests", "requests: [{request: {url: 5, tor: [], headers: 5}, response_length: {}}]"),
    ("http_requests", "request: [1]\nresponse: text\nrequests: {a: 1}\noptions: {subargs: 5}"),
    ("http_requests", "input: null\noptions: [-u]\nrequests: []"),
    ("http_invalid_request_line", "received: {a: !!binary /w==}\nsent: 5\ntampering: text"),
    ("psiphon_test", "stdout: 5\nrequests: text\n/tmp/x: [a]"),
    ("tcp_connect", "report: {report: {report: 5}, input: b, connection: {}}\ntest_keys: 5"),
    ("tcp_connect", "report: [a]\ntest_keys: {connection: a}\nconnection: b\noptions: text"),
)
OVER_64_MB = MAX_ENTRY_BYTES + 1
NO_REQUESTS = {"test_keys.requests": [], "test_name": "http_requests"}
OF_THE_NAME = {"test_start_time": NAMED_TIME, "extra.time_source.test_start_time": "report_filename"}

CASES = [
    # whole reports
    bad_report("empty-file", b"", "empty_report"),
    bad_report("comments-only", b"###\n# OONI Probe Report\n###\n", "empty_report"),
    Case("header-only", "yaml", header("header-only"), 0),
    bad_report("header-null", document("null") + good_document("header-null"), "bad_header"),
    bad_report("header-a-list", document("[probe_cc, GR]") + good_document("header-list"), "bad_header"),
    bad_report("header-not-utf-8", document(b"city: Reykjav\xedk") + good_document("a"), "bad_header"),
    bad_report("header-cut", header("header-cut")[:60], "bad_header"),
    bad_report("header-not-yaml", document("a: [") + good_document("b"), "bad_header"),
    bad_report("header-unsafe", document("!!python/object/apply:os.getpid []"), "bad_header"),
    bad_report("header-deep", document("[" * 100_000), "bad_header"),
    bad_report("header-over-64-kb", header("header-over-64-kb", f"a: {'x' * 65_536}\n"), "bad_header"),
    bad_report("no-header", b"input: a\n" + good_document("no-header"), "bad_header"),
    bad_report("header-is-an-entry", good_document("no header 1") + good_document("no header 2"),
               "bad_header"),
    Case("gzip-by-name-only", "yaml.gz", yaml("gzip-by-name-only")),
    bad_report("gzip-cut-in-header", gzip.compress(yaml("gzip-cut-in-header"))[:40], "bad_gzip", "yaml.gz"),
    Case(
        "gzip-cut",
        "json.gz",
        gzip.compress(lines("gzip-cut", *(line("gzip-cut", input=os.urandom(9).hex()) for _ in range(999))))[
            :-9
        ],
        1001,
        {"bad_gzip": 1},
    ),
    Case(
        "gzip-bomb",
        "json.gz",
        lambda: gzip.compress(lines("gzip-bomb", b'"' + b"0" * 300_000_000 + b'"'), 1),
        rejected={"too_large": 1},
    ),
    # YAML entries
    bad_document("entry-null", "null", "null_entry"),
    bad_document("entry-empty", "", "null_entry"),
    bad_document("entry-empty-mapping", "{}", "null_entry"),
    bad_document("entry-a-list", "[input, a]", "not_a_mapping"),
    bad_document("entry-a-number", "12", "not_a_mapping"),
    bad_document("entry-a-string", "input", "not_a_mapping"),
    bad_document("entry-not-yaml", "a: [1, 2\nb: }", "not_yaml"),
    bad_document("yaml-binary-is-none", "a: !!binary $$$$AAAA$$$$", "not_yaml"),
    bad_document("entry-not-utf-8", b"input: \xff\xfe", "not_yaml"),
    bad_document("entry-control-character", b"input: a\x00b", "not_yaml"),
    bad_document("entry-unsafe-apply", f"a: !!python/object/apply:os.mkdir ['{EVIL}']", "unsafe_tag"),
    bad_document("entry-unsafe-new", "!!python/object/new:os.system [id]", "unsafe_tag"),
    bad_document("entry-unsafe-name", "a: !!python/name:os.system ''", "unsafe_tag"),
    bad_document("entry-unsafe-own", "a: !mine 1", "unsafe_tag"),
    bad_document("alias-bomb", alias_bomb("[x, x, x]", "[{}]"), "too_many_nodes"),
    bad_document("alias-bomb-strings", alias_bomb("x" * 200_000, "[{}]"), "too_large"),
    bad_document("alias-bomb-keys", alias_bomb("{k: 1}", "{{? [{}] : 1}}"), "too_large"),
    bad_document("merge-key-bomb", alias_bomb("{k: 1, l: 2}", "{{<<: [{}]}}"), "too_many_nodes"),
    bad_document("alias-of-itself", "a: &a [*a]", "too_deep"),
    bad_document("alias-of-nothing", "a: *b", "not_yaml"),
    *(bad_document(f"yaml-flow-deep-{n}", "a: " + "[" * n, "too_deep") for n in DEEP),
    *(bad_document(f"yaml-flow-closed-deep-{n}", "a: " + "[" * n + "]" * n, "too_deep") for n in DEEP),
    *(bad_document(f"yaml-mapping-deep-{n}", "{a: " * n, "too_deep") for n in DEEP),
    *(bad_document(f"yaml-block-deep-{n}", "- " * n + "x", "too_deep") for n in DEEP),
    Case(
        "yaml-over-64-mb",
        "yaml.gz",
        lambda: gzip.compress(yaml("yaml-over-64-mb", document(b"input: " + b"x" * OVER_64_MB)), 1),
        rejected={"too_large": 1},
    ),
    Case("truncated-in-a-line", "yaml", yaml("truncated-in-a-line") + b"---\ninput: cu", 2, {"truncated": 1}),
    Case(
        "truncated-in-a-list",
        "yaml",
        yaml("truncated-in-a-list") + b"---\ninput: a\nqueries: [{a: 1},\n",
        2,
        {"truncated": 1},
    ),
    Case(
        "truncated-after-a-line",  # there were writers that ended no document: it may be whole
        "yaml",
        yaml("truncated-after-a-line") + b"---\ninput: entry\nconnection: success\n",
        3,
        notes={"without_end": 1},
    ),
    Case(
        "no-end-between-documents",
        "yaml",
        yaml("no-end-between-documents", b"---\ninput: entry\n---\ninput: good 3\n"),
        4,
    ),
    Case("ends-too-many", "yaml", yaml("ends-too-many", b"...\n...\n") + b"...\n...\n"),
    Case(
        "comments-between-documents",
        "yaml",
        yaml("comments-between-documents", b"# OONI\n\n#---\n# -- x\n") + b"# the end",
    ),
    Case(
        "text-between-documents",
        "yaml",
        yaml("text-between-documents", b"Traceback (most recent call last):\n  File\n"),
        rejected={"outside_a_document": 1},
    ),
    taken_document("yaml-duplicate-keys", "connection: a\nconnection: b", {"test_keys.connection": "b"},
                   duplicate_keys=1),
    taken_document("yaml-not-finite", "a: .inf\nb: -.inf\nc: [.nan]", {"test_keys.c": [None]}, nonfinite=3),
    taken_document("yaml-400-digits", "number: " + "7" * 400, {"test_keys.number": int("7" * 400)}),
    bad_document("yaml-5000-digits", "number: " + "7" * 5000, "not_yaml"),
    taken_document("yaml-surrogates", r'a: "\ud83d\ude00 \ud800"', {"test_keys.a": "\U0001f600 \ufffd"}),
    taken_document("yaml-nul", r'"k\0": "a\0b"', {"test_keys": {"k\ufffd": "a\ufffdb"}}),
    taken_document("yaml-binary", "a: !!binary /////w==",
                   {"test_keys.a": {"data": "/////w==", "format": "base64"}}),
    taken_document("yaml-list-as-key", "a: {[8.8.8.8, 53]: 1}", {"test_keys.a": {'["8.8.8.8",53]': 1}}),
    # JSON lines
    bad_line("line-cut", line("line-cut")[:40], "not_json"),
    bad_line("line-blank", b"  ", "blank_line"),
    bad_line("lines-blank", b" \n \n\n\t\n", "blank_line"),
    bad_line("line-null", b"null", "null_entry"),
    bad_line("line-empty-object", b"{}", "null_entry"),
    bad_line("line-a-list", b"[1, 2]", "not_a_mapping"),
    bad_line("line-a-number", b"17", "not_a_mapping"),
    bad_line("line-a-string", b'"input"', "not_a_mapping"),
    bad_line("line-not-utf-8", b'{"input": "\xff\xfe\xed\xa0"}', "not_json"),
    bad_line("line-utf-16", '{"input": "a"}'.encode("utf-16-le"), "not_json"),
    bad_line("line-two-values", b'{"input": "a"} {"input": "b"}', "not_json"),
    bad_line("line-closing", b"]" * 1000, "not_json"),
    bad_line("line-5000-digits", b'{"a": ' + b"7" * 5000 + b"}", "not_json"),
    *(bad_line(f"json-list-deep-{n}", b'{"a": ' + b"[" * n, "too_deep") for n in DEEP),
    *(bad_line(f"json-closed-deep-{n}", b'{"a": ' + b"[" * n + b"]" * n + b"}", "too_deep") for n in DEEP),
    *(bad_line(f"json-object-deep-{n}", b'{"a": ' * n, "too_deep") for n in DEEP),
    Case("line-cut-at-the-end", "json", lines("line-cut-at-the-end") + b'{"input": "a', 2, {"truncated": 1}),
    Case("line-without-end", "json", lines("line-without-end", line("line-without-end"))[:-1], 3),
    Case(
        "json-over-64-mb",
        "json.gz",
        lambda: gzip.compress(lines("json-over-64-mb", b'{"input": "' + b"x" * OVER_64_MB + b'"}'), 1),
        rejected={"too_large": 1},
    ),
    Case("json-controls", "json.gz",
         lambda: gzip.compress(lines("json-controls", b'{"a": "' + b"\x01" * 40_000_000 + b'"}'), 1),
         rejected={"too_large": 1}),
    taken_line("json-raw-control", {"extra.a": "\x01\t"}, b'"a": "\x01\t"'),
    Case("json-nodes", "json", lambda: lines("json-nodes", b'{"a":[' + b"0," * MAX_NODES + b"0]}"),
         rejected={"too_many_nodes": 1}),
    Case("yaml-nodes", "yaml", lambda: yaml("yaml-nodes", document(b"a: [" + b"0," * MAX_NODES + b"0]")),
         rejected={"too_many_nodes": 1}),
    Case("json-requests", "json",
         lambda: lines("json-requests", line("json-requests", data_format_version="0.1.0",
                                             test_name="http_requests", requests=[{}] * 400_000)),
         rejected={"too_many_nodes": 1}),
    Case("yaml-queries", "yaml",
         lambda: yaml("yaml-queries", document(b"queries: [" + b"{}," * 400_000 + b"{}]"),
                      more="test_name: dns_consistency\n"),
         rejected={"too_many_nodes": 1}),
    taken_line("json-quotes", {"extra.a": '",' * MAX_NODES}, a='",' * MAX_NODES),
    taken_line("json-nan", {"extra.a": None, "extra.b": [None, 1]}, b'"a": NaN, "b": [NaN, 1]'),
    taken_line("json-infinity", {"extra.b": [None, None]}, b'"b": [Infinity, -Infinity]'),
    taken_line("json-1e400", {"test_runtime": None}, b'"test_runtime": 1e400'),
    taken_line("json-400-digits", {"extra.a": int("7" * 400)}, b'"a": ' + b"7" * 400),
    taken_line("json-surrogate-value", {"extra.a": "\ufffd x"}, b'"a": "\\ud800 x"'),
    taken_line("json-surrogate-key", {"extra": {"\ufffd": 1}}, b'"\\udfff": 1'),
    taken_line("json-nul-value", {"extra.a": "a\ufffdb"}, a="a\0b"),
    taken_line("json-nul-in-text", {"test_version": "\ufffd"}, test_version="\0"),
    taken_line("json-nul-key", {"test_keys": {"a\ufffd": 1}}, test_keys={"a\0": 1}),
    taken_line("json-nul-as-text", {"test_keys": {"a": "\\u0000"}}, test_keys={"a": "\\u0000"}),
    taken_line("json-duplicate-keys", {"test_version": "2"}, b'"test_version": "1", "test_version": "2"'),
    # values
    taken_line("input-of-8-kb", {"input": "é" * 1000, "extra.input": "é" * 4096}, input="é" * 4096),
    taken_line("report-id-of-8-kb", {"report_id": "r" * 2000, "extra.report_id": "r" * 8192},
               report_id="r" * 8192),
    taken_line("input-a-list", {"input": '["a",1]', "extra.input": ["a", 1]}, input=["a", 1]),
    taken_line("input-a-mapping", {"input": '{"a":1}', "extra.input": {"a": 1}}, input={"a": 1}),
    taken_line("test-keys-a-list", {"test_keys": [1]}, test_keys=[1]),
    taken_line("test-keys-a-string", {"test_keys": "x"}, test_keys="x"),
    taken_line("annotations-a-string", {"test_version": "0.1"}, annotations="x"),
    taken_line("cc-null", {"probe_cc": "ZZ"}, probe_cc=None),
    taken_line("cc-lower-case", {"probe_cc": "IT"}, probe_cc="it"),
    taken_line("cc-question-marks", {"probe_cc": "ZZ"}, probe_cc="??"),
    taken_line("cc-a-number", {"probe_cc": "39", "extra.probe_cc": 39}, probe_cc=39),
    taken_line("asn-null", {"probe_asn": "AS0"}, probe_asn=None),
    taken_line("asn-int", {"probe_asn": "AS3269"}, probe_asn=3269),
    taken_line("asn-a-list", {"probe_asn": "[3269]", "extra.probe_asn": [3269]}, probe_asn=[3269]),
    taken_line("test-name-null", {"test_name": "invalid"}, test_name=None),
    taken_line("test-name-with-spaces", {"test_name": "http_requests"}, test_name="HTTP Requests Test"),
    taken_line("test-name-with-a-slash", {"test_name": "a_b"}, test_name="a/b"),
    taken_line("test-name-that-climbs", {"test_name": "x", "extra.client_test_name": "../../x"},
               test_name="../../x"),
    taken_line("test-name-a-list", {"test_name": "invalid", "extra.client_test_name": ["a"]},
               test_name=["a"]),
    taken_line("test-name-not-latin", {"test_name": "invalid", "extra.client_test_name": "тест"},
               test_name="тест"),
    taken_line("report-id-dashes", {"report_id": "2016-08-01T00-x"}, report_id="2016-08-01T00-x"),
    taken_line("report-id-climbs", {"report_id": "../../x"}, report_id="../../x"),
    taken_line("report-id-a-number", {"extra.client_report_id": 5}, report_id=5),
    taken_line("ours-claimed", {"extra.client_id": "1", "extra.client_bucket_date": "1970-01-01",
                                "extra.client_sanitised": {}},
               id="1", bucket_date="1970-01-01", sanitised={}),
    # headers and requests, in YAML reports of http_requests
    *(
        taken_document(f"headers-{name}", f"requests: [{{response: {{code: 200, headers: {headers}}}}}]",
                       {"test_keys.requests.0.response.headers": mapping,
                        "test_keys.requests.0.response.headers_list": pairs},
                       more="test_name: http_requests\n", duplicate_keys=0)
        for name, headers, mapping, pairs in (
            ("a-list", "[[Server, [a]], [Server, [b]]]", {"Server": "a"}, [["Server", "a"], ["Server", "b"]]),
            ("a-mapping", "{Server: a}", {"Server": "a"}, [["Server", "a"]]),
            ("null", "null", {}, []),
            ("a-string", "Server", {}, []),
            ("one-letter", "{X: a, '1': b}", {"X": "a", "1": "b"}, [["X", "a"], ["1", "b"]]),
            ("one-letter-list", "[[X, a], [Y, [b, c]]]", {"X": "a", "Y": "b"},
             [["X", "a"], ["Y", "b"], ["Y", "c"]]),
            ("strange", "[[], [null, 1], 5, [[a], b], {a: b}]", {}, [[None, 1], [["a"], "b"]]),
        )
    ),
    taken_document("requests-null", "requests: null", NO_REQUESTS, more="test_name: http_requests\n"),
    taken_document("requests-a-string", "requests: none", {"test_keys.requests": ["none"]},
                   more="test_name: http_requests\n"),
    taken_line("requests-null-json", {"test_keys": {"requests": None}}, test_keys={"requests": None},
               test_name="web_connectivity"),
    # every family, in shapes that no probe ever wrote
    *(
        taken_document(f"shape-{number}", text, {"test_name": name}, more=f"test_name: {name}\n")
        for number, (name, text) in enumerate(SHAPES)
    ),
    # today's formats pass through as they are: what matches and sanitises must take any shape
    *(
        taken_line(f"responses-{number}", {"test_keys.requests": requests},
                   test_name="web_connectivity", test_keys={"requests": requests})
        for number, requests in enumerate(REQUESTS)
    ),
    *(
        taken_line(f"bridge-{number}", {"test_name": "bridge_reachability"},
                   test_name="bridge_reachability", **values)
        for number, values in enumerate(BRIDGES)
    ),
    taken_line("tcp-connect-null", {"input": None}, input=None),
    taken_line("probe-ip-a-list", {"probe_ip": "127.0.0.1"}, probe_ip=["192.0.2.1"]),
    taken_line("probe-ip-a-text", {"probe_ip": "127.0.0.1"}, probe_ip="my own address " * 1000),
    taken_line("as-deep-as-may-be", {"extra.a" + ".0" * 997: []}, a=NESTED),
    Case("yaml-as-deep-as-may-be", "yaml",
         yaml("yaml-as-deep-as-may-be", document("input: a\na: " + "[" * 998 + "]" * 998)), 3),
    # times
    *measured_at("null", "null", NAMED_TIME, "test_start_time"),
    *measured_at("int", "1470000000", "2016-07-31T21:20:00", "entry.test_start_time"),
    *measured_at("float", "1470000000.9", "2016-07-31T21:20:00", "entry.test_start_time"),
    *measured_at("infinite", ".inf", NAMED_TIME, "test_start_time"),
    *measured_at("bool", "true", NAMED_TIME, "test_start_time"),
    *measured_at("a-list", "[1470000000]", NAMED_TIME, "test_start_time"),
    *measured_at("1970", "0", NAMED_TIME, "test_start_time"),
    *measured_at("2099", "4070908800", NAMED_TIME, "test_start_time"),
    *measured_at("20000", "568971820800", NAMED_TIME, "test_start_time"),
    *measured_at("huge", "1" + "0" * 400, NAMED_TIME, "test_start_time"),
    *(
        taken_document(f"yaml-time-text-{number}", f"test_start_time: '{text}'",
                       {"test_start_time": "2016-08-01T01:02:03",
                        "extra.time_source.test_start_time": "entry.test_start_time"})
        for number, text in enumerate(
            ("2016-08-01 01:02:03", "2016-08-01T01:02:03Z", "20160801T010203Z", "2016-08-01T01:02:03.987654",
             "2016-08-01 03:02:03 +02:00", "1470013323")
        )
    ),
    taken_line("json-time-null", OF_THE_NAME, test_start_time=None),
    taken_line("json-time-int", {"test_start_time": "2016-07-31T21:20:00"}, test_start_time=1470000000),
    taken_line("json-time-float", {"test_start_time": "2016-07-31T21:20:00"}, test_start_time=1470000000.5),
    taken_line("json-time-iso", {"test_start_time": "2016-08-01T01:02:03"},
               test_start_time="2016-08-01T01:02:03Z"),
    taken_line("json-time-1970", {"test_start_time": "1970-01-01T00:00:00",
                                  "extra.time_source.test_start_time": "entry.test_start_time, implausible"},
               test_start_time="1970-01-01 00:00:00"),
    taken_line("json-time-2099", {"test_start_time": "2099-01-01T00:00:00",
                                  "extra.time_source.test_start_time": "entry.test_start_time, implausible"},
               test_start_time="2099-01-01 00:00:00"),
    taken_line("json-time-20000", {**OF_THE_NAME, "extra.client_test_start_time": "20000-01-01 00:00:00"},
               test_start_time="20000-01-01 00:00:00"),
    taken_line("json-time-february-30", OF_THE_NAME, test_start_time="2016-02-30 00:00:00"),
    taken_line("runtime-a-text", {"test_runtime": None, "extra.test_runtime": "fast"}, test_runtime="fast"),
    taken_line("runtime-huge", {"test_runtime": None, "extra.test_runtime": 10**308}, test_runtime=1e308),
    # the same entry twice, one after the other
    Case("entry-twice", "json", lines("entry-twice", *[line("entry-twice")] * 2), 3, duplicate=1),
    Case("document-twice", "yaml", yaml("document-twice", good_document("good 1")), 2, duplicate=1),
]  # fmt: skip


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path; None where there is no such place."""
    for step in path.split("."):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


@dataclass
class Night:
    """What one night over all cases left."""

    pipeline: Pipeline
    ledger: str
    raw: dict[str, ReportRecord]
    normalised: dict[str, ReportRecord]
    sanitised: dict[str, ReportRecord]
    rows: dict[str, list[dict[str, Any]]]
    #: The names that cases of files get in the archive.
    archived: dict[str, bytes]

    def row(self, case: Case) -> dict[str, Any]:
        """The row of a case that is no good entry."""
        (row,) = [
            row for row in self.rows[case.name.replace("-", "_")] if not str(row["input"]).startswith("good ")
        ]
        return row


@contextlib.contextmanager
def fresh_pipeline(root: Path, postgres_url: str) -> Iterator[Pipeline]:
    """A pipeline below ``root`` with a database of its own, as the fixture ``pipeline`` is for one test."""
    with migrated_database(postgres_url) as url:
        made = Pipeline(root, url)
        made.archive.mkdir(parents=True)
        made.configure()
        yield made


#: A good report, which comes in yesterday's bucket, and today once more, twice, under other names.
GOOD = lines("good_report", line("good_report", input="good 3"))
#: File names that a collector should never have, but may; the bytes are those of good reports.
STRANGE_NAMES = (
    b"a..%2f..%2f..%2fetc%2fpasswd.json",
    b"a..\\..\\windows.json",
    b"20160801T000000Z-..-..-AS1-GR-probe-0.2.0.json/../../x.json".replace(b"/", b"\\"),
    b"-rf.yaml",
    b"$(reboot).json",
    b"new\nline.json",
    b"\xff\xfe.json",
    b"x" * 250 + b".json",
)
#: Names of what somebody is still writing: left alone until they get their real name.
HIDDEN_NAMES = (".20160801T000000Z-http_requests-x.json", "..%2f..%2fx.json", "x.json.part", "x.yaml~")
#: Names that are understood although they try: what is written from them stays where it belongs.
ODD_NAMES = (
    "20160801T000000Z-..-odd1-AS1-GR-probe-0.2.0.json",
    "20160801T000000Z-web_connectivity-..-AS1-GR-probe-0.2.0.json",
    "20160801T000000Z-tls-handshake-2016-08-01T000000Z_AS1_x-AS1-GR-probe-0.2.0.json",
    "GR/20160801T000000Z-a b;c-odd3-AS1-GR-probe-0.2.0.json",
)


def _fill_archive(archive: Path) -> dict[str, bytes]:
    """Every case, and what is no report at all, into the archive of a collector; what lies there."""
    contents = {case.file: case.content() for case in CASES}
    for number in (1, 2):
        contents[name_of(f"good-again-{number}", "json")] = GOOD
    for number, name in enumerate(ODD_NAMES):
        contents[name] = lines(f"odd_{number}")
    for name, content in contents.items():
        (archive / name).parent.mkdir(exist_ok=True)
        (archive / name).write_bytes(content)
    for hidden in HIDDEN_NAMES:
        (archive / hidden).write_bytes(lines("hidden"))
    for number, strange in enumerate(STRANGE_NAMES):
        Path(os.fsdecode(os.fsencode(archive) + b"/" + strange)).write_bytes(lines(f"strange_{number}"))
    (archive / "x.json").mkdir()
    (archive / "x.json" / name_of("in-a-directory", "json")).write_bytes(lines("in-a-directory"))
    (archive / name_of("a-link", "json")).symlink_to("/etc/passwd")
    (archive / name_of("a-broken-link", "json")).symlink_to("/nowhere")
    os.mkfifo(archive / name_of("a-fifo", "json"))
    return contents


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Night]:
    """Yesterday's bucket with one good report, and tonight's with everything."""
    root = tmp_path_factory.mktemp("hostile")
    with fresh_pipeline(root, postgres_url) as pipeline:
        yesterday = pipeline.today - dt.timedelta(days=1)
        bucket = pipeline.layout.bucket(Stage.RAW, yesterday)
        bucket.mkdir(parents=True)
        (bucket / name_of("good-report", "json")).write_bytes(GOOD)
        pipeline.verb("adopt", yesterday, yesterday)
        pipeline.nightly(yesterday)
        contents = _fill_archive(pipeline.archive)
        pipeline.nightly()
        rows: dict[str, list[dict[str, Any]]] = {}
        for filename, row in pipeline.query(
            "SELECT report_filename, row_to_json(metrics)::text FROM metrics"
        ):
            rows.setdefault(filename.split("-")[4], []).append(loads(row))
        yield Night(
            pipeline,
            pipeline.verb("ledger", yesterday, pipeline.today),
            {record.path: record for record in pipeline.manifest(Stage.RAW).reports},
            {record.report: record for record in pipeline.manifest(Stage.NORMALISED).reports},
            {record.report: record for record in pipeline.manifest(Stage.SANITISED).reports},
            rows,
            contents,
        )


def test_names_of_cases_are_names() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, night: Night) -> None:
    """What the operator sees of it, where its bytes are, and which of its entries are in the database."""
    raw = night.raw[case.file]
    assert (raw.rejected, raw.duplicate_of) == ("", "")
    record = night.normalised[raw.report]
    assert record.rejected == case.whole
    assert dict(record.counts.rejected) == case.rejected
    assert (record.counts.out, record.counts.duplicate) == (case.out, case.duplicate)
    assert record.counts.missing() == 0
    assert dict(record.counts.notes) == {note: count for note, count in case.notes.items() if count}

    content = night.archived[case.file]
    _check_rejected_bytes(case, night, record, content)
    for reason in [*case.rejected, *([case.whole] if case.whole else [])]:
        assert f"{reason} " in night.ledger

    rows = night.rows.get(case.name.replace("-", "_"), [])
    assert len(rows) == case.out
    if case.out:
        assert night.sanitised[raw.report].counts.held == 0
        assert {row["input"] for row in rows} >= {"good 1", "good 2"}
    if case.seen:
        row = night.row(case)
        assert {path: at(row, path) for path in case.seen} == case.seen


def _check_rejected_bytes(case: Case, night: Night, record: ReportRecord, content: bytes) -> None:
    """Rejected whole: the file itself. Rejected entries: a JSON line each, with its place and its bytes."""
    directory = night.pipeline.layout.rejected(Stage.NORMALISED, night.pipeline.today)
    whole = directory / str(night.raw[case.file].name)  # what it is called here, never .gz
    kept = directory / f"{record.report}.jsonl"
    assert whole.exists() == bool(case.whole)
    assert kept.exists() == bool(case.rejected)
    if case.whole:
        assert whole.read_bytes() == content
    if case.rejected:
        if case.extension.endswith(".gz") and "bad_gzip" not in case.rejected:
            content = gzip.decompress(content)
        found = [json.loads(row) for row in kept.read_bytes().splitlines()]
        assert Counter(row["reason"] for row in found) == case.rejected
        for row in found:
            assert row["source"] == night.raw[case.file].name
            if row["reason"] == "bad_gzip":  # the bytes that it stands for never came out
                continue
            piece = memoryview(content)[row["offset"] : row["offset"] + row["size"]]
            assert row["size"] == len(piece) > 0 or case.name == "entry-empty"
            assert row["digest"] == hashlib.sha256(piece).hexdigest()
            assert base64.b64decode(row["base64"]) == bytes(piece[:MAX_REJECTED_BYTES])


def test_the_ledger_adds_up(night: Night) -> None:
    assert "DOES NOT" not in night.ledger
    assert night.ledger.count("adds up") == 2
    assert "PROBLEM" not in night.ledger


def test_every_good_entry_is_loaded_and_published(night: Night) -> None:
    pipeline = night.pipeline
    expected = sum(case.out for case in CASES)
    expected += 2 * len(ODD_NAMES) + 2  # one is in a directory that is called like a report
    tonight = [(pipeline.today,)]
    assert pipeline.query(f"SELECT count(*) FROM metrics WHERE bucket_date = '{pipeline.today}'") == [
        (expected,)
    ]
    assert pipeline.query("SELECT max(bucket_date) FROM metrics") == tonight
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    index = json.loads((bucket / "index.json").read_bytes())
    assert index["measurements"] == expected
    for report in index["reports"]:
        assert re.fullmatch(r"[0-9A-Za-z_.-]+", report["file"])
        assert (bucket / report["file"]).is_file()


def test_what_jsonb_cannot_hold_is_counted_and_stays_on_the_mirror(night: Night) -> None:
    pipeline = night.pipeline
    ((notes,),) = pipeline.query(f"SELECT notes FROM loads WHERE bucket_date = '{pipeline.today}'")
    assert notes["nul"] >= 4
    assert notes["lone_surrogate"] >= 3
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    for case, text in (("json_nul_value", b"a\\u0000b"), ("json_surrogate_value", b"\\ud800 x")):
        (path,) = bucket.glob(f"*-{case}-*.json.gz")
        assert text in gzip.decompress(path.read_bytes())


def test_the_same_report_twice_in_one_bucket_and_in_two(night: Night) -> None:
    pipeline = night.pipeline
    yesterday = pipeline.today - dt.timedelta(days=1)
    first = Manifest.read(pipeline.layout.manifest(Stage.RAW, yesterday)).reports[0].report
    for number in (1, 2):
        record = night.raw[name_of(f"good-again-{number}", "json")]
        assert record.duplicate_of == f"{yesterday}/{first}"
        assert record.name is not None  # its bytes are in the raw bucket all the same
        assert (pipeline.layout.bucket(Stage.RAW, pipeline.today) / record.name).read_bytes() == GOOD
    assert "2 duplicate" in night.ledger
    assert len(night.rows["good_report"]) == 3
    assert "good_again_1" not in night.rows


def test_what_is_no_regular_file_is_not_touched(night: Night) -> None:
    pipeline = night.pipeline
    for case in ("a-link", "a-broken-link", "a-fifo"):
        record = night.raw[name_of(case, "json")]
        assert (record.rejected, record.name) == ("not_a_regular_file", None)
        assert os.path.lexists(pipeline.archive / name_of(case, "json")), "nothing of ours, so it stays"
    assert "not_a_regular_file 3" in night.ledger
    assert len(night.rows["in_a_directory"]) == 2
    for path in pipeline.layout.private.rglob("*"):
        assert not path.is_symlink()
        assert path.is_file() or path.is_dir()


def test_file_names_stay_names(night: Night) -> None:
    """Those that nobody understands are kept, made harmless, below rejected/raw; no path is followed."""
    pipeline = night.pipeline
    unnamed = [record for record in night.raw.values() if record.rejected == "name_not_understood"]
    assert len(unnamed) == len(STRANGE_NAMES)
    assert f"name_not_understood {len(STRANGE_NAMES)}" in night.ledger
    directory = pipeline.layout.rejected(Stage.RAW, pipeline.today)
    kept = {path.read_bytes() for path in directory.iterdir()}
    assert kept == {lines(f"strange_{number}") for number in range(len(STRANGE_NAMES))}
    for path in [*directory.iterdir(), *pipeline.layout.bucket(Stage.RAW, pipeline.today).iterdir()]:
        assert re.fullmatch(r"[0-9A-Za-z_.-]+", path.name)
        assert not path.name.startswith((".", "-"))
    assert all((pipeline.archive / name).exists() for name in HIDDEN_NAMES)
    assert not any(record.path in HIDDEN_NAMES for record in night.raw.values())
    for number, name in enumerate(ODD_NAMES):
        record = night.normalised[night.raw[name].report]
        assert (record.counts.out, record.rejected) == (2, ""), number
    # Nothing was written beside the trees of the pipeline, and nothing was run.
    assert {path.name for path in pipeline.root.iterdir()} == {
        "backup", "collector", "luigi.cfg", "private", "public"
    }  # fmt: skip
    assert not EVIL.exists()


def test_every_reason_of_reading_has_a_case() -> None:
    """The reasons that no case here gives have theirs elsewhere."""
    given = {reason for case in CASES for reason in (*case.rejected, case.whole) if reason}
    given |= {"not_a_regular_file", "name_not_understood", "unreadable", "killed_its_worker"}
    given |= {"cannot_be_normalised"}
    elsewhere = {
        "changed_while_copied": "tests/transfer/test_fetch.py",
        "addresses_beside_bridge": "tests/tasks/test_held.py",
        "bridge_elsewhere": "tests/tasks/test_held.py",
        "bridge_in_its_name": "tests/tasks/test_held.py",
        "dropped_by_a_person": "tests/tasks/test_held.py",
        "known_leaker": "tests/tasks/test_held.py",
        "withdrawn": "tests/tasks/test_withdraw.py",
        "refused_by_database": "tests/chaos/test_database.py",
        "report_too_large": "tests/report/test_reader.py",  # 16 GB
        "still_leaks": "tests/sanitise/test_reports.py",
    }
    assert given | set(elsewhere) == {reason.value for reason in RejectReason}
    for reason, path in elsewhere.items():
        text = (TOP / path).read_text(encoding="utf-8")
        assert reason in text or reason.upper() in text, path


# An input that kills the process which reads it, and one that a fault of ours cannot take.


def hurt(raw: RawEntry, report: ReportContext) -> dict[str, Any]:
    """Normalise, as long as the entry does not ask for worse."""
    wish = raw.value.get("input")
    if wish == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if wish == "raise":
        raise ValueError(wish)
    return normalise_entry(raw, report)


def normalise_or_die(job: Job, *, key: bytes) -> Outcome:
    """The work of the stage, in whose process some entries are fatal."""
    with mock.patch.object(reports, "normalise_entry", hurt):
        return normalise_report(job, key=key)


def test_an_input_that_kills_its_worker(tmp_path: Path, postgres_url: str) -> None:
    killers = [name_of(f"killer-{number}", "json") for number in range(3)]
    contents = {name: lines(name, line(name, input="kill")) for name in killers}
    contents |= {name_of(f"fine-{number}", "json"): lines(f"fine-{number}") for number in range(6)}
    contents[name_of("raises", "json")] = lines("raises", line("raises", input="raise"))
    with fresh_pipeline(tmp_path, postgres_url) as pipeline:
        for name, content in contents.items():
            (pipeline.archive / name).write_bytes(content)
        date = str(pipeline.today)
        pipeline.luigi("--module", "tasks.fetch", "FetchReports", "--bucket-date", date)
        manifest = process_bucket(
            pipeline.layout,
            Stage.NORMALISED,
            Stage.RAW,
            pipeline.today,
            functools.partial(normalise_or_die, key=id_key(pipeline.layout.id_key())),
            version="hurt",
            now=dt.datetime(2016, 8, 1),
            workers=2,
        )
        assert Counter(record.rejected for record in manifest.reports) == {"killed_its_worker": 3, "": 7}
        assert dict(manifest.tally().rejected) == {"cannot_be_normalised": 1}

        pipeline.nightly()
        ledger = pipeline.verb("ledger", pipeline.today)
        assert "adds up" in ledger
        assert "3 (killed_its_worker 3) rejected whole" in ledger
        assert "cannot_be_normalised 1" in ledger
        assert pipeline.query("SELECT count(*) FROM metrics") == [(14,)]
        kept = pipeline.layout.rejected(Stage.NORMALISED, pipeline.today)
        whole = sorted(path.read_bytes() for path in kept.glob("*.json"))
        assert whole == sorted(contents[name] for name in killers)
        (row,) = [
            json.loads(text) for path in kept.glob("*.jsonl") for text in path.read_bytes().splitlines()
        ]
        assert (row["reason"], row["detail"]) == ("cannot_be_normalised", "ValueError")
        assert base64.b64decode(row["base64"]) == line("raises", input="raise")


def test_a_file_without_read_permission(tmp_path: Path, postgres_url: str) -> None:
    """It stays on the collector for whoever may mend it; the night takes the others."""
    without: list[str] = []
    if os.geteuid() == 0:  # who may read everything, unless those powers are given up
        without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        if shutil.which("setpriv") is None or subprocess.run([*without, "true"], check=False).returncode:
            pytest.skip("root reads every file, and setpriv cannot give that up here")
    with fresh_pipeline(tmp_path, postgres_url) as pipeline:
        secret, good = (pipeline.archive / name_of(name, "json") for name in ("secret", "readable"))
        secret.write_bytes(lines("secret"))
        good.write_bytes(lines("readable"))
        closed = pipeline.archive / "closed"
        closed.mkdir()
        (closed / name_of("below", "json")).write_bytes(lines("below"))
        secret.chmod(0)
        closed.chmod(0)
        try:
            date = str(pipeline.today)
            pipeline.run(*without, str(LUIGI), "--module", "tasks.nightly", "Nightly", "--bucket-date", date)
            records = {record.path: record for record in pipeline.manifest(Stage.RAW).reports}
            assert records[secret.name].rejected == records["closed"].rejected == "unreadable"
            assert records[good.name].usable
            ledger = pipeline.verb("ledger", pipeline.today)
            assert "adds up" in ledger
            assert "unreadable 2" in ledger
            assert pipeline.query("SELECT count(*) FROM metrics") == [(2,)]
            assert secret.exists()
            assert not good.exists()
        finally:
            closed.chmod(0o700)
        assert len(list(closed.iterdir())) == 1


# What the README says of all this.

SECTION = "## Bad input"


def test_the_readme_names_every_reason() -> None:
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    if SECTION not in readme:
        pytest.skip(f"README.md has no section {SECTION!r} yet")
    section = readme.partition(SECTION)[2].partition("\n## ")[0]
    table = next(block for block in section.split("\n\n") if block.startswith("|"))  # of what is rejected
    reasons = [row.split("|")[2] for row in table.splitlines()[2:]]
    named = Counter(name for cell in reasons for name in re.findall(r"`([a-z_]+)`", cell))
    assert named == Counter(reason.value for reason in RejectReason)
