"""What genuine clients sent, sent again to the real service: its replies, and what it archives."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from ooni_pipeline.report.names import parse_report_name
from tests.collector.wire_log import BOUNCER_LOGS, LOGS, Exchange, Reply, Run, exchanges, replay, runs, send
from tests.parts.collector import Collector, StartCollector

RUNS = [(log, number) for log in LOGS for number in range(len(runs(log)))]


def archived(collector: Collector, report_id: str) -> Path:
    (path,) = [path for path in collector.layout.archive.rglob("*") if report_id in path.name]
    return path


@pytest.mark.parametrize(("log", "number"), RUNS, ids=lambda value: getattr(value, "stem", str(value)))
def test_a_genuine_client_notices_no_difference(collector: Collector, log: Path, number: int) -> None:
    run = runs(log)[number]
    report_id, seen = replay(collector.url, run)
    for exchange, reply in seen:
        assert reply.status == exchange.reply.status
        assert reply.headers["content-type"] == "application/json"
        if exchange is run.close:  # the genuine one says nothing, the specification this; no client looks
            assert reply.json() == {"status": "success"}
            continue
        told, before = reply.json(), exchange.reply.json()
        assert list(told) == list(before)
        for key in set(before) - {"report_id", "backend_version"}:
            assert told[key] == before[key]
    path = archived(collector, report_id)
    if log.stem == "ooniprobe-1.3.2":
        _check_yaml(run, report_id, path)
    else:
        _check_json(run, report_id, path)


def _check_json(run: Run, report_id: str, path: Path) -> None:
    """The bytes that were sent, an entry a line; where it is here, the values of what oonib stored."""
    text = path.read_bytes()
    sent = [one.body.replace(run.report_id.encode(), report_id.encode()) for one in run.updates]
    assert text == b"".join(
        body[len(b'{"content": ') : -len(b', "format": "json"}')] + b"\n" for body in sent
    )
    if run.stored is not None:
        stored = run.stored.read_text(encoding="utf-8").replace(run.report_id, report_id)
        assert [json.loads(line) for line in text.splitlines()] == list(map(json.loads, stored.splitlines()))
    name, said = parse_report_name(path.name), run.create.said()
    assert (name.test_name, name.probe_cc, name.data_format_version) == (said["test_name"], "FR", "0.2.0")


def _check_yaml(run: Run, report_id: str, path: Path) -> None:
    """oonib's header but for the id and our clock, then the entries byte for byte."""
    assert run.stored is not None
    begin, middle, entries = path.read_text(encoding="utf-8").partition("...\n")
    before, _, stored_entries = run.stored.read_text(encoding="utf-8").partition("...\n")
    header, stored = yaml.safe_load(begin + middle), yaml.safe_load(before)
    assert entries == stored_entries
    assert stored["report_id"] is None and header["report_id"] == report_id
    ours = {"report_id", "test_start_time"}
    assert {key: header[key] for key in header.keys() - ours} == {
        key: stored[key] for key in stored.keys() - ours
    }
    name = parse_report_name(path.name)
    assert (name.test_name, name.probe_cc) == (stored["test_name"], "ZZ")


CREATE = {
    "software_name": "ooniprobe-ios", "software_version": "2.1.0", "test_name": "web_connectivity",
    "test_version": "0.0.1", "probe_asn": "AS0", "probe_cc": "IT", "test_start_time": "2019-03-01 10:00:00",
    "data_format_version": "0.2.0", "format": "json",
}  # fmt: skip


def entry(report_id: str, number: int) -> dict[str, object]:
    return {"report_id": report_id, "input": f"http://{number}.example/", "probe_cc": "IT", "test_keys": {}}


def ask(
    url: str, method: str, path: str, headers: Mapping[str, str], value: object | bytes | None = None
) -> Reply:
    """Like a client that says how long its body is, if it has one."""
    body = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
    length = {"Content-Length": str(len(body))} if value is not None else {}
    return send(url, method, path, {"Host": "collector.example", **headers, **length}, body, seconds=10)


def test_measurement_kit_closes_without_a_length(collector: Collector) -> None:
    headers = {"Content-Type": "application/json"}
    report_id = str(ask(collector.url, "POST", "/report", headers, CREATE).json()["report_id"])
    for number in range(2):
        update = {"content": entry(report_id, number), "format": "json"}
        assert ask(collector.url, "POST", f"/report/{report_id}", headers, update).status == 200
    # The connection stays open: a service that waits for a body is late.
    closed = ask(collector.url, "POST", f"/report/{report_id}/close", headers)
    assert (closed.status, closed.json()) == (200, {"status": "success"})
    lines = archived(collector, report_id).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [entry(report_id, number) for number in range(2)]


PROBE_CLI = {
    "User-Agent": "ooniprobe-cli/3.20.0 ooniprobe-engine/3.20.0",
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
}


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
def test_probe_cli_packs_and_never_closes(collector: Collector, encoding: str) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "gzip": gzip.compress,
        "zstd": zstandard.compress,
    }
    pack = packers[encoding]
    headers = {**PROBE_CLI, "Content-Encoding": encoding} if encoding else PROBE_CLI
    header = {**CREATE, "software_name": "ooniprobe-cli", "software_version": "3.20.0"}
    created = ask(collector.url, "POST", "/report", headers, pack(json.dumps(header).encode()))
    report_id = str(created.json()["report_id"])
    assert "json" in created.json()["supported_formats"]  # type: ignore[operator]  # else it goes away
    for number in range(2):
        update = pack(json.dumps({"content": entry(report_id, number), "format": "json"}).encode())
        assert ask(collector.url, "POST", f"/report/{report_id}", headers, update).status == 200
    found = [path for path in collector.layout.staging.iterdir() if report_id in path.name]
    assert found and not any(report_id in path.name for path in collector.layout.archive.rglob("*"))


def test_an_old_client_reads_the_reply_to_each_update(collector: Collector) -> None:
    """The first generation: PUT /report, and the id in the body. After the end no update is a success."""
    run = runs(LOGS[0])[0]
    report_id, seen = replay(collector.url, run)
    exchange: Exchange = run.updates[0]
    body = exchange.body.replace(run.report_id.encode(), report_id.encode())
    late = send(collector.url, "PUT", "/report", exchange.headers, body)
    assert (late.status, late.json()) == (404, {"error": "report-not-found"})
    again = ask(collector.url, "POST", f"/report/{report_id}/close", {}, b"")
    assert (again.status, again.json()) == (404, {"error": "report-not-found"})
    assert len(seen) == 4


#: What the genuine bouncer of the logs was set up with.
AS_THERE = {
    "collectors": "\n    onion httpo://abcdefghijklmnop.onion\n    https https://collector.example",
    "test_helpers": "\n    dns legacy 127.0.0.1:18257\n    web-connectivity legacy http://127.0.0.1:18281"
    "\n    web-connectivity https https://collector.example:4443",
}


def net_test(reply: Reply) -> dict[str, Any]:
    """The one that was asked for."""
    (told,) = json.loads(reply.body)["net-tests"]
    return dict(told)


@pytest.mark.parametrize("log", BOUNCER_LOGS, ids=lambda log: str(log.stem))
def test_a_genuine_client_is_sent_where_it_was_sent(start_collector: StartCollector, log: Path) -> None:
    """The same collector and helpers, and the same others."""
    collector = start_collector(bouncer=AS_THERE)
    for exchange in exchanges(log):
        reply = send(collector.url, exchange.method, exchange.path, exchange.headers, exchange.body)
        assert (reply.status, reply.headers["content-type"]) == (exchange.reply.status, "application/json")
        if exchange.method == "GET":
            # 2.3.0 looks whether its collector is there: any other text, or none, and it is not.
            assert reply.json() == exchange.reply.json() == {"error": 404}
            continue
        assert net_test(reply) == net_test(exchange.reply)
