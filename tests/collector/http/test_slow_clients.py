"""Clients that send or read slowly, or not at all, over real sockets: each is let go at its time."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.collector.http.client import (
    CREATE,
    archived,
    ask,
    connect,
    create,
    post,
    read_reply,
    until_closed,
)
from tests.parts.collector import Collector, running_collector

HEAD, PAUSE, BODY, IDLE = 1, 2, 4, 3
GONE = 'ooni_collector_requests_total{route="/report",status="gone"}'
BEGUN = b"POST /report HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One that waits for nobody; its log must say nothing of all this."""
    with running_collector(
        tmp_path_factory.mktemp("impatient"),
        head_timeout=HEAD,
        pause_timeout=PAUSE,
        body_timeout=BODY,
        keep_alive_timeout=IDLE,
        connections=30,
    ) as collector:
        yield collector
        assert collector.log.count("\n") == 1, collector.log


def dribble(client: socket.socket, sent: bytes, seconds: float) -> None:
    """Send a byte at a time until nobody takes it any more."""
    try:
        for byte in sent:
            client.sendall(bytes([byte]))
            time.sleep(seconds)
    except OSError:
        pass


def closed_after(client: socket.socket) -> tuple[bytes, float]:
    begun = time.monotonic()
    return until_closed(client), time.monotonic() - begun


def test_slow_heads(impatient: Collector) -> None:
    """Nothing, a byte now and then, blank lines only: of the first request and of the second."""
    good = post("/report", json.dumps(CREATE).encode())

    def let_go(before: bytes, sent: bytes) -> bool:
        with connect(impatient.url) as client:
            if before:
                client.sendall(before)
                assert read_reply(client).status == 200
            threading.Thread(target=dribble, args=(client, sent, 0.1), daemon=True).start()
            said, seconds = closed_after(client)
        return said == b"" and seconds < (IDLE if before and not sent else HEAD) + 2

    heads = (b"", b"POST /report HTTP/1.1\r\nX-A: " + b"a" * 1000, b"\r\n" * 1000)
    with ThreadPoolExecutor(6) as threads:
        befores = (b"", good)
        assert all(threads.map(let_go, *zip(*itertools.product(befores, heads), strict=True)))


def test_a_body_that_does_not_come(impatient: Collector) -> None:
    with connect(impatient.url) as client:
        client.sendall(BEGUN + b"{")
        said, seconds = closed_after(client)
    assert said.startswith(b"HTTP/1.1 408") and said.endswith(b'{"error": "request-timeout"}')
    assert PAUSE - 0.5 < seconds < PAUSE + 2


def test_a_body_that_comes_drop_by_drop(impatient: Collector) -> None:
    """Each pause is short enough, all of them together are not."""
    with connect(impatient.url) as client:
        client.sendall(BEGUN)
        threading.Thread(target=dribble, args=(client, b"{" * 1000, 0.2), daemon=True).start()
        said, seconds = closed_after(client)
    assert said.startswith(b"HTTP/1.1 408")
    assert BODY - 0.5 < seconds < BODY + 2


def test_a_body_that_is_slow_but_comes(impatient: Collector) -> None:
    body = json.dumps(CREATE).encode()
    with connect(impatient.url) as client:
        sent = post("/report", body)
        client.sendall(sent[:-3])
        for byte in sent[-3:]:
            time.sleep(0.5)
            client.sendall(bytes([byte]))
        assert read_reply(client).status == 200


def test_a_content_length_that_promises_too_much_or_too_little(impatient: Collector) -> None:
    body = json.dumps(CREATE).encode()
    with connect(impatient.url) as client:
        client.sendall(post("/report", body).replace(b"%d" % len(body), b"%d" % (len(body) + 5)))
        assert until_closed(client).startswith(b"HTTP/1.1 408")
    for pause in (0, 0.5):  # what is too much is taken for the next request, which does not hide the answer
        with connect(impatient.url) as client:
            client.sendall(post("/report", body) + (b"" if pause else b"and more\r\n\r\n"))
            time.sleep(pause)
            client.sendall(b"and more\r\n\r\n")
            said = until_closed(client)
        assert said.startswith(b"HTTP/1.1 200") and b"report_id" in said
        assert (b"HTTP/1.1 400" in said) == (pause > 0)
    with connect(impatient.url) as client:
        client.sendall(b"POST /report HTTP/1.1\r\nContent-Length: -5\r\n\r\n")
        assert until_closed(client).startswith(b"HTTP/1.1 400")


def test_the_rest_of_a_body_that_was_answered_is_not_waited_for(impatient: Collector) -> None:
    with connect(impatient.url) as client:
        client.sendall(b"POST /report HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")
        said, seconds = closed_after(client)
    assert b"413" in said or b"408" in said
    assert seconds < PAUSE + HEAD + 3


def test_a_client_that_reads_nothing(impatient: Collector) -> None:
    """It asks for a long page, again and again, and looks at none: it is let go."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = impatient.url.removeprefix("http://").split(":")
        client.connect((host, int(port)))
        client.settimeout(1)
        ended = time.monotonic() + 40
        with pytest.raises(ConnectionError):
            while time.monotonic() < ended:
                with contextlib.suppress(TimeoutError):
                    client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
                time.sleep(0.05)


def test_a_client_that_asks_for_thousands_at_once(impatient: Collector) -> None:
    """Requests that wait take more memory than their bytes."""
    with connect(impatient.url) as client:
        client.settimeout(1)
        with pytest.raises(ConnectionError):
            for _ in range(100):
                client.sendall(b"GET /openapi.json HTTP/1.1\r\n\r\n" * 5000)
    assert ask(impatient.url, "POST", "/report", CREATE).status == 200


def test_idle_connections_are_closed(impatient: Collector) -> None:
    with connect(impatient.url) as client:
        client.sendall(post("/report", json.dumps(CREATE).encode()))
        read_reply(client)
        said, seconds = closed_after(client)
    assert said == b"" and IDLE - 0.5 < seconds < IDLE + 2


def test_slowloris_takes_no_place_for_long(impatient: Collector) -> None:
    """Thirty connections that say nothing fill it up; others are told so, and served a moment later."""
    silent = [connect(impatient.url) for _ in range(30)]
    try:
        with connect(impatient.url) as client:
            said = until_closed(client)
        assert said.startswith(b"HTTP/1.1 503") and b"retry-after" in said
        assert impatient.health() == 200
        time.sleep(HEAD + 1)
        assert ask(impatient.url, "POST", "/report", CREATE).status == 200
    finally:
        for client in silent:
            client.close()


def test_slow_clients_do_not_slow_down_others(impatient: Collector) -> None:
    slow = [connect(impatient.url) for _ in range(20)]
    try:
        for client in slow:
            client.sendall(BEGUN + b"{")
        begun = time.monotonic()
        for _ in range(20):
            assert ask(impatient.url, "POST", "/report", CREATE).status == 200
        assert time.monotonic() - begun < 10
    finally:
        for client in slow:
            client.close()


def test_who_goes_away_leaves_nothing_behind(impatient: Collector) -> None:
    before = impatient.metrics().get(GONE, 0)
    for sent in (b"", b"POST", post("/report", json.dumps(CREATE).encode()), BEGUN, BEGUN + b"{"):
        for _ in range(5):
            with connect(impatient.url) as client:
                client.sendall(sent)
    end = time.monotonic() + 20
    found = impatient.metrics()
    while time.monotonic() < end and (
        found["ooni_collector_bodies_bytes"] or found.get(GONE, 0) < before + 10
    ):
        time.sleep(0.1)
        found = impatient.metrics()
    assert found["ooni_collector_bodies_bytes"] == 0
    assert found[GONE] >= before + 10
    assert ask(impatient.url, "POST", "/report", CREATE).status == 200


def test_who_goes_away_before_the_answer_may_send_it_again(impatient: Collector) -> None:
    assert impatient.process is not None
    report_id = create(impatient.url)
    for number in range(20):
        sent = post(f"/report/{report_id}", b'{"content": {"number": %d}}' % number)
        impatient.process.send_signal(signal.SIGSTOP)  # it finds the request, and that nobody waits any more
        with connect(impatient.url) as client:
            client.sendall(sent)
        impatient.process.send_signal(signal.SIGCONT)
        with connect(impatient.url) as client:
            client.sendall(sent)
            assert read_reply(client).status == 200
    assert ask(impatient.url, "POST", f"/report/{report_id}/close").status == 200
    lines = archived(impatient, report_id).read_bytes().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(20))
