"""The sample of deploy/nginx before the real service: what goes through, and what is written down."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from tests.collector.load import HEADER
from tests.collector.wire_log import LOGS, runs
from tests.parts.collector import Collector, StartCollector
from tests.parts.nginx import PEER_HEADER, Front, fronting

FORGED = "203.0.113.9"
#: Where our clients come from, as nginx sees them.
PEER = "192.0.2.77"
CANARY = "Canary-of-somebody"
ONION = f"{'a' * 56}.onion"
A_FEW = 6
MIB = 1024 * 1024


@pytest.fixture
def collector(start_collector: StartCollector) -> Collector:
    """One that lets an address open a few reports: so it shows which address it takes a client for."""
    return start_collector(open_reports_per_address=A_FEW)


@pytest.fixture
def front(collector: Collector, tmp_path: Path) -> Iterator[Front]:
    with fronting(tmp_path / "nginx", urlsplit(collector.url).netloc) as running:
        yield running


def ask(
    front: Front,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    onion: bool = False,
) -> tuple[int, dict[str, object]]:
    """By TLS, whose certificate is checked, or as tor does: status and JSON."""
    place = urlsplit(front.onion_url if onion else front.url)
    assert place.hostname is not None
    connection: http.client.HTTPConnection
    if onion:
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    else:
        trusted = ssl.create_default_context(cafile=str(front.certificate))
        connection = http.client.HTTPSConnection(place.hostname, place.port, context=trusted, timeout=30)
    connection.request(method, path, body, {PEER_HEADER: PEER, **(headers or {})})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, json.loads(said)


def create(
    front: Front, headers: dict[str, str] | None = None, *, onion: bool = False
) -> tuple[int, dict[str, object]]:
    return ask(
        front, "POST", "/report", json.dumps({**HEADER, "format": "json"}).encode(), headers, onion=onion
    )


def test_a_report_goes_through_packed_or_not(front: Front, collector: Collector) -> None:
    for onion in (False, True):
        status, told = create(front, onion=onion)
        assert status == 200
        path = f"/report/{told['report_id']}"
        entries = [{"input": number, "padding": "x" * 3 * MIB} for number in range(2)]
        plain, packed = (json.dumps({"format": "json", "content": entry}).encode() for entry in entries)
        assert ask(front, "POST", path, plain, onion=onion)[0] == 200
        packed = gzip.compress(packed)
        assert ask(front, "POST", path, packed, {"Content-Encoding": "gzip"}, onion=onion)[0] == 200
        assert ask(front, "POST", f"{path}/close", onion=onion) == (200, {"status": "success"})
        (archived,) = collector.layout.archive.rglob(f"*{told['report_id']}*")
        assert [json.loads(line) for line in archived.read_text().splitlines()] == entries


def test_genuine_requests_go_through(front: Front, collector: Collector) -> None:
    """Their bytes, by TLS: PUT, no Content-Type, Connection: close; and a close without a length."""
    run = runs(LOGS[0])[0]
    trusted = ssl.create_default_context(cafile=str(front.certificate))
    place = urlsplit(front.url)
    report_id = ""

    def raw(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with (
            socket.create_connection((str(place.hostname), place.port or 0), timeout=30) as plain,
            trusted.wrap_socket(plain, server_hostname=place.hostname) as connection,
        ):
            connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 200
            return answer.read()

    for exchange in (run.create, *run.updates):
        body = (
            exchange.body.replace(run.report_id.encode(), report_id.encode()) if report_id else exchange.body
        )
        said = json.loads(raw(exchange.method, exchange.path, dict(exchange.headers), body))
        report_id = report_id or said["report_id"]
    raw("POST", f"/report/{report_id}/close", {"Host": "collector.example"}, b"")
    assert list(collector.layout.archive.rglob(f"*{report_id}*"))


def test_no_client_can_claim_another_address(front: Front) -> None:
    """All come from one address, so a few of them are all that may be open, whatever they claim."""
    statuses = [
        create(front, {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}"})[0]
        for number in range(A_FEW + 2)
    ]
    assert statuses == [200] * A_FEW + [429] * 2


class _Looks(BaseHTTPRequestHandler):
    """In the place of the service: answers, and keeps the headers of requests."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


def test_the_service_is_told_of_the_peer_and_of_nothing_that_a_client_claims(tmp_path: Path) -> None:
    claims = {"X-Forwarded-For": FORGED, "X-Real-IP": FORGED, "Forwarded": f"for={FORGED}"}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Looks) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        with fronting(tmp_path / "nginx", f"127.0.0.1:{service.server_port}") as front:
            assert create(front, claims) == (200, {})
            assert create(front, {**claims, "Host": ONION}, onion=True) == (200, {})
        service.shutdown()
    by_tls, by_tor = _Looks.seen
    assert by_tls["x-forwarded-for"] == PEER
    assert not {"x-forwarded-for", "x-real-ip", "forwarded"} & set(by_tor)
    assert by_tor["host"] == ONION  # the bouncer asks
    assert FORGED not in str(by_tls)


def test_clients_of_the_onion_service_have_no_address(front: Front) -> None:
    """No limit of one address applies to them, nor one of an address that they claim."""
    statuses = [create(front, {"X-Forwarded-For": FORGED}, onion=True)[0] for _ in range(2 * A_FEW)]
    assert statuses == [200] * (2 * A_FEW)


@pytest.mark.parametrize("onion", [False, True])
def test_a_body_over_the_limit_is_refused_in_json(front: Front, onion: bool) -> None:
    _, told = create(front, onion=onion)
    path = f"/report/{told['report_id']}"
    just = json.dumps({"format": "json", "content": {"padding": ""}}).encode()
    just = just.replace(b'""', b'"%s"' % (b"x" * (20 * MIB - len(just))))
    assert len(just) == 20 * MIB
    assert ask(front, "POST", path, just, onion=onion)[0] == 200
    assert ask(front, "POST", path, just + b" ", onion=onion) == (413, {"error": 413})
    bomb = gzip.compress(just + b" ")
    status, refused = ask(front, "POST", path, bomb, {"Content-Encoding": "gzip"}, onion=onion)
    assert status == 413 and set(refused) == {"error"}


def test_a_service_that_is_away_is_told_in_json(front: Front, collector: Collector) -> None:
    collector.stop()
    assert create(front) == (502, {"error": 502})
    collector.start()
    assert create(front)[0] == 200


def test_a_slow_client_keeps_the_service_free(front: Front, collector: Collector) -> None:
    """The service hears of a request when nginx has all of it."""
    place = urlsplit(front.onion_url)
    body = json.dumps(HEADER).encode()
    with socket.create_connection((str(place.hostname), place.port or 0), timeout=30) as slow:
        head = f"POST /report HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body[:-1])
        time.sleep(0.3)
        collector.stop()  # at once: nothing runs that it would wait for
        collector.start()
        slow.sendall(body[-1:])
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        assert answer.status == 200


def test_nothing_of_who_comes_is_written_down(front: Front, collector: Collector) -> None:
    """Neither by nginx nor by the service, and no body stays in a file."""
    told = {"User-Agent": CANARY, "Referer": f"http://{CANARY}.test/", "X-Forwarded-For": FORGED}
    for onion in (False, True):
        status, answer = create(front, told, onion=onion)
        assert status == 200
        body = b'{"format": "json", "content": {"x": "' + CANARY.encode() * MIB
        for path in (f"/report/{answer['report_id']}", f"/report/{CANARY}", f"/{CANARY}", "/report"):
            ask(front, "POST", path, body, told, onion=onion)
            ask(front, "POST", path, body * 2, told, onion=onion)
            ask(front, "GET", path, b"", told, onion=onion)
    for url in (front.url, front.onion_url):  # what is no HTTP, and no TLS
        place = urlsplit(url)
        with socket.create_connection((str(place.hostname), place.port or 0), timeout=30) as odd:
            odd.sendall(f"{CANARY} \x7f\r\n\r\n".encode())
            odd.recv(1000)
    collector.stop()
    written = [path for path in front.directory.rglob("*") if path.is_file() and path.suffix != ".pem"]
    assert not list((front.directory / "bodies").rglob("*"))
    for text in (*(path.read_bytes() for path in written), collector.log.encode()):
        for trace in (CANARY, FORGED, PEER, "client:"):
            assert trace.encode() not in text, trace
