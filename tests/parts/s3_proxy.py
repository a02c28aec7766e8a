"""A proxy in front of an S3 server that does to requests what networks and servers do.

It passes bytes on as they come, with the Host header that was signed: the server checks signatures as ever. A
``fault`` is asked of each request and may answer itself, cut a body, or change what passes.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>secret {}</Message></Error>'


class Answer(Exception):  # noqa: N818  # it is none
    """Raised by a fault: the proxy answers so by itself."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.body = status, _ERROR.format(code, code).encode()


class Cut(Exception):  # noqa: N818
    """Raised by a fault: the connection breaks."""


#: Called with (method, path with query, body) of each request, in turn; returns the body that is passed on.
Fault = Callable[[str, str, bytes], bytes]
#: Called with (method, path, body of the answer); returns (body that is passed on, how much of it is sent).
After = Callable[[str, str, bytes], tuple[bytes, int]]


class S3Proxy:
    """Where it listens is ``url``; ``requests`` are those that came, as ``METHOD /path?query``."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.requests: list[str] = []
        self.fault: Fault = lambda method, path, body: body
        self.after: After = lambda method, path, body: (body, len(body))
        self.lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, begins: str) -> int:
        return sum(request.startswith(begins) for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    owner: S3Proxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def _pass(self) -> None:
        if "100-continue" in self.headers.get("Expect", ""):
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            with self.owner.lock:
                self.owner.requests.append(f"{self.command} {self.path}")
                body = self.owner.fault(self.command, self.path, body)
            status, headers, answer = self._ask(body)
            with self.owner.lock:
                answer, sent = self.owner.after(self.command, self.path, answer)
        except Answer as made:
            status, headers, answer, sent = made.status, [], made.body, len(made.body)
        except Cut:
            self.close_connection = True
            return
        self.send_response_only(status)
        length = str(len(answer))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer[:sent])
        if sent < len(answer):
            self.close_connection = True

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.owner.target, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection", "content-length"):
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except OSError:
            raise Cut from None
        finally:
            connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextlib.contextmanager
def s3_proxy(target: str) -> Iterator[S3Proxy]:
    proxy = S3Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def first(number: int, fault: Callable[[], Any], begins: str = "") -> Fault:
    """The first so many requests that begin so meet the fault; the others pass."""
    left = [number]

    def meet(method: str, path: str, body: bytes) -> bytes:
        if left[0] and f"{method} {path}".startswith(begins):
            left[0] -= 1
            raise fault()
        return body

    return meet


def always(fault: Callable[[], Any], begins: str = "") -> Fault:
    return first(1 << 30, fault, begins)
