"""Clients that want the service's memory, its time, its log or the places of others."""

from __future__ import annotations

import gzip
import json
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.collector.http.client import (
    CREATE,
    ask,
    connect,
    create,
    post,
    read_reply,
    until_closed,
    update,
)
from tests.parts.collector import Collector, StartCollector

MB = 1024 * 1024


def memory(collector: Collector) -> int:
    """The most bytes that the process ever had in memory."""
    assert collector.process is not None
    status = Path(f"/proc/{collector.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def poured(client: socket.socket, begin: bytes, piece: bytes, most: int) -> int:
    """Send a piece again and again, until the other side has enough; how many bytes it took."""
    client.sendall(begin)
    sent = 0
    try:
        while sent < most:
            client.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


_CHUNKED = b"POST /report HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"POST /", b"a" * 65536),
        (b"POST /report HTTP/1.1\r\nX: ", b"a" * 65536),
        (b"POST /report HTTP/1.1\r\n", b"X: y\r\n" * 10000),
        (_CHUNKED + b"1\r\n{\r\n0\r\n", b"X: y\r\n" * 10000),
        (_CHUNKED + b"1\r\n{\r\n0\r\nX: ", b"a" * 65536),
        (_CHUNKED + b"1;", b"a" * 65536),
    ],
    ids=["url", "one header", "many headers", "many trailers", "one trailer", "chunk extension"],
)
def test_a_head_without_end(collector: Collector, begin: bytes, piece: bytes) -> None:
    before = memory(collector)
    with connect(collector.url) as client:
        sent = poured(client, begin, piece, 50 * MB)
        told = until_closed(client)
    assert sent < 20 * MB, "what nobody will ever read is taken"
    assert memory(collector) - before < 16 * MB
    assert told == b"" or told.startswith(b"HTTP/1.1 431 ")
    assert create(collector.url)


def test_a_head_that_is_too_long_is_told(shared: Collector) -> None:
    with connect(shared.url) as client:
        client.sendall(b"POST /report HTTP/1.1\r\nX: " + b"a" * 70_000)
        assert read_reply(client)[:2] == (431, {"error": "request-head-too-large"})
    assert ask(shared.url, "POST", "/report", CREATE, {"X": "a" * 30_000}).status == 200


def test_a_body_in_the_smallest_chunks_is_no_head(shared: Collector) -> None:
    body = json.dumps(CREATE | {"content": "x" * 30_000}).encode()
    with connect(shared.url) as client:
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        client.sendall(_CHUNKED + chunks + b"0\r\nX-After: y\r\n\r\n")
        assert read_reply(client).status == 200


def test_what_comes_after_a_body_is_no_header(start_collector: StartCollector) -> None:
    collector = start_collector(requests_per_second_per_address=1)
    request = _CHUNKED + b"2\r\n{}\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    for _ in range(15):
        with connect(collector.url) as client:
            client.sendall(request)
            assert read_reply(client).status == 400


def test_who_asks_for_another_protocol_is_answered_and_let_go(shared: Collector) -> None:
    """The parser reads nothing of a connection after such a request, its body neither."""
    for method, status in ((b"GET /api/v1/collectors", 200), (b"POST /report", 400)):
        with connect(shared.url, 20) as client:
            lines = [b"Host: x", b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 2", b"", b"{}"]
            client.sendall(b"\r\n".join([method + b" HTTP/1.1", *lines]))
            assert until_closed(client).startswith(b"HTTP/1.1 %d " % status)


def test_a_body_of_a_million_members(collector: Collector) -> None:
    report_id = create(collector.url)
    before = memory(collector)
    many = b"{" + b'"":0,' * 4_000_000 + b'"a":0}'
    for body in (many, b'{"content":' + many + b"}"):
        packed = gzip.compress(body, 1)
        reply = ask(collector.url, "POST", f"/report/{report_id}", packed, {"Content-Encoding": "gzip"})
        assert reply.error == (400, "invalid-request")
    assert memory(collector) - before < 200 * MB
    some = b"{" + b",".join(b'"%d":0' % number for number in range(50_000)) + b"}"
    assert update(collector.url, report_id, some).status == 200


def test_what_is_no_http_writes_no_log(collector: Collector) -> None:
    before = collector.log
    for _ in range(20):
        with connect(collector.url) as client:
            client.sendall(b"\x16\x03\x01 10.9.8.7\r\n\r\n")
            assert read_reply(client).error == (400, "invalid-request")
    assert collector.log == before


@pytest.mark.parametrize("address", [True, False], ids=["of an address", "of all"])
def test_reports_that_are_asked_for_at_the_same_time_count(
    start_collector: StartCollector, address: bool
) -> None:
    option = "open_reports_per_address" if address else "open_reports"
    collector = start_collector(**{option: 5})
    request = post("/report", json.dumps(CREATE).encode(), ["X-Forwarded-For: 192.0.2.1"] if address else [])
    clients = [connect(collector.url) for _ in range(40)]
    try:
        for client in clients:
            client.sendall(request[:-1])
        for client in clients:
            client.sendall(request[-1:])
        answered = Counter(read_reply(client).status for client in clients)
    finally:
        for client in clients:
            client.close()
    assert answered == {200: 5, 429 if address else 503: 35}
    assert collector.metrics()["ooni_collector_open_reports"] == 5


def test_who_goes_away_before_the_answer_has_opened_a_report_all_the_same(
    start_collector: StartCollector,
) -> None:
    collector = start_collector(open_reports_per_address=5)
    request = post("/report", json.dumps(CREATE).encode(), ["X-Forwarded-For: 192.0.2.1"])
    for _ in range(200):
        with connect(collector.url) as client:
            client.sendall(request)
    for _ in range(6):
        with connect(collector.url) as client:
            client.sendall(request)
            last = read_reply(client).status
    assert last == 429
    assert collector.metrics()["ooni_collector_open_reports"] == 5
