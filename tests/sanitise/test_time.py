"""No text of any kind takes long, however often a piece of it is repeated and however many are different."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.report.json_lines import dump_entry, dumps, loads
from ooni_pipeline.report.work import Job
from ooni_pipeline.sanitise import Sanitiser, expected, fields, headers, logs, own, paths
from ooni_pipeline.sanitise.addresses import addresses_in
from ooni_pipeline.sanitise.bridge_lines import parse_bridge_line
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable, load_bridge_table
from ooni_pipeline.sanitise.cuts import Cuts, cut_everywhere
from ooni_pipeline.sanitise.packets import own_addresses
from ooni_pipeline.sanitise.reports import sanitise_report
from ooni_pipeline.sanitise.search import MAX_OWN, OwnAddresses, Secrets
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.tor_logs import without_addresses

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
TABLE = BridgeTable.of([Bridge("192.0.2.1", 443, FINGERPRINT, None, None)])
SANITISER = Sanitiser(TABLE)
SECRETS = Secrets(["192.0.2.1", "2001:db8::1"], [FINGERPRINT])
OWN = ["203.0.113.7", "2001:db8:5::7"]
#: Of a text for one function, and of one for a whole line, which many of them look through.
SIZE, IN_A_LINE = 50_000, 20_000
SECONDS = 5

PIECES = [
    "/home/", "/home/a ", "C:\\Users\\", "a://", "//a:", "a=", "a@", "%2e1", "%25252e1", "%31", "%25", "%",
    "\\u00", "\\u0031", "\\", "http://a:", "http://a:b@", " /", " a/", "~/", "../", " -f/", "-f", "file:/",
    "file:", "X-Forwarded-For: ", "X-Forwarded-For: 1\n", "IMSI", "IMSI:", "X-UP-a\n", "1.", "1", "192.0.2.",
    "192.0.2.10 ", "203.0.113.7 ", "7.113.0.203", "1-1-", "a:", "0:", "::", "abc", "0123456789abcdef",
    "MTky", base64.b64encode(b"1.2").decode(), "IPerror", "IPerror src=", "<IP ", "<IP src=1 ", "IP / ",
    "IP / 1.1 > ", "1:a", "guessed our IP address as ", '"headers"', "Bridge 203.0.113.7:1 ", "#", " ", "\n",
    "\t", "é", "\x01", "{", "[", '"', "192%2e0%2e2%2e1 ", "MTkyLjAuMi4x",
]  # fmt: skip


def _entry(text: str) -> list[dict[str, Any]]:
    """Entries with a text wherever something looks into it."""
    named = {"headers": {"X-Real-IP": text}}
    places: list[dict[str, Any]] = [
        {"test_name": "http_host", "test_keys": {"body": text}},
        {"test_keys": {"response": {**named, "body": text}}},
        {"test_keys": {"response": {"headers_list": [[text, "a"]]}}},
        {"input": text, "options": [text], "annotations": {text: text}},
        {"test_keys": {"tor_log": text, "x_log": text}},
        {"test_keys": {"resolver_ip": text, "client_ip": text}},
        {"test_keys": {"answered_packets": [{"summary": text}], "ConnectionInfo": {"Client": text}}},
        {"test_name": "tor", "input": text, "test_keys": {"targets": {text: {"target_address": text}}}},
        {"test_name": "bridge_reachability", "input": text, "test_keys": {"bridge_address": text}},
        {"test_name": "ndt", "test_keys": {"uuid": text}},
    ]
    return [{"id": "x", "probe_ip": None, **place} for place in places]


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "paths": lambda text: paths.Paths().cut_directories(text, relative=True),
    "users": lambda text: paths.Paths({"me", "a"}).cut_users(text),
    "addresses": lambda text: list(addresses_in(text)),
    "bridge line": parse_bridge_line,
    "tor log": lambda text: without_addresses(text, TABLE),
    "sent packets": lambda text: list(own_addresses("sent_packets", [text])),
    "find": lambda text: list(SECRETS.find(dumps(text).encode())),
    "find own": lambda text: list(OwnAddresses(OWN).find(dumps(text).encode())),
    "cut": lambda text: cut_everywhere({"a": text}, SECRETS),
    "wanted": lambda text: list(SANITISER.of_report(OWN).wanted(dump_entry({"a": text}) + b"\n")),
    "inputs": lambda text: fields.sanitise({"input": text, "options": [text]}, Cuts(TABLE)),
    "command line": lambda text: logs.clean({"options": [text], "stdout": text}, Cuts(TABLE)),
    "scrub": lambda text: headers.scrub({str(n): one for n, one in enumerate(_entry(text))}, Cuts(TABLE)),
    "reveal": lambda text: [own.reveal(one, Settings()) for one in _entry(text)],
    "reveals": lambda text: SANITISER.reveals(dump_entry({"a": text}), 0),
    "expected": lambda text: expected.all_expected({"a": text, "input": text}, SECRETS),
    "names more": lambda text: expected.names_more_than(200, [dumps(text).encode()]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_takes_for_ever(name: str) -> None:
    for piece in PIECES:
        text = (piece * (SIZE // len(piece) + 1))[:SIZE]
        begin = time.process_time()  # of ours alone: the machine may be busy
        with contextlib.suppress(ValueError):  # too many: held
            FUNCTIONS[name](text)
        assert time.process_time() - begin < SECONDS, piece


@pytest.mark.parametrize("piece", PIECES)
def test_no_line_takes_for_ever(piece: str) -> None:
    for entry in _entry((piece * (IN_A_LINE // len(piece) + 1))[:IN_A_LINE]):
        line = dump_entry(entry)
        begin = time.process_time()  # of ours alone: the machine may be busy
        with contextlib.suppress(ValueError):  # the entry is held
            SANITISER.of_report(OWN, released=True).sanitise_line(line, Counter())
        assert time.process_time() - begin < SECONDS, entry.get("test_name")


def _many(number: int) -> list[str]:
    return [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} 2001:db8:{n:x}::7" for n in range(1, number)]


@pytest.mark.parametrize("number", [50, 8_000])
@pytest.mark.parametrize(
    "entry",
    [
        lambda many: {"test_keys": {"r": {"headers": {"X-Forwarded-For": ", ".join(many)}, "body": many[3]}}},
        lambda many: {"options": ["Bridge " + " ".join(many)]},
        lambda many: {"test_name": "tcp_connect", "input": "obfs3 " + " ".join(many)},
        lambda many: {"test_keys": {"resolver_ip": [one.replace("db8", "db8:5") for one in many]}},
        lambda many: {"test_keys": {"x_log": " ".join(f"/home/{one}/ {one}" for one in many)}},
        lambda many: {"input": [f"http://{one}@a.test" for one in many]},
        lambda many: {"test_name": "ndt", "test_keys": {"uuid": many}},
    ],
)
def test_many_different_ones_are_cut_or_held(
    entry: Callable[[list[str]], dict[str, Any]], number: int
) -> None:
    line, clean = dump_entry({"id": "x", **entry(_many(number))}), None
    begin = time.process_time()
    with contextlib.suppress(ValueError):
        clean = SANITISER.of_report(OWN).sanitise_line(line, Counter())
    assert time.process_time() - begin < SECONDS
    if number == 50:
        assert clean is not None, "none is held that may be honest"


@pytest.mark.parametrize("number", [2, 60, MAX_OWN + 1, 30_000])
def test_a_report_with_many_own_addresses(tmp_path: Path, number: int) -> None:
    """Each in a line of its own, so that every pass reveals another one. Too many are held."""
    table = tmp_path / "bridge_table.json"
    table.write_text(json.dumps({"192.0.2.1:443": {"fingerprint": FINGERPRINT}}))
    addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(1, number + 1)]
    entries = [
        {"id": n, "probe_ip": one, "test_keys": {"a": f"{one} and {addresses[-1 - n]}"}}
        for n, one in enumerate(addresses)
    ]
    source = tmp_path / "in.json"
    source.write_bytes(b"".join(dump_entry(entry) + b"\n" for entry in entries))
    job = Job("r", "2016-08-02", source, tmp_path / "out.json", tmp_path / "rejected", tmp_path / "held")
    begin = time.process_time()
    outcome = sanitise_report(job, table=table, digest=load_bridge_table(table).digest)
    assert time.process_time() - begin < SECONDS
    assert outcome.counts.missing() == 0
    if number > MAX_OWN:
        assert (outcome.counts.held, job.destination.exists()) == (number, False)
        return
    written = [loads(line) for line in job.destination.read_bytes().splitlines()]
    assert [one["test_keys"]["a"] for one in written] == ["[scrubbed] and [scrubbed]"] * number
    assert {one["probe_ip"] for one in written} == {"127.0.0.1"}
