"""A client that sends what it is told to and nothing more."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.parts.collector import Collector

CREATE = {
    "software_name": "ooniprobe",
    "software_version": "2.3.0",
    "test_name": "web_connectivity",
    "test_version": "0.1.2",
    "probe_asn": "AS64496",
    "probe_cc": "IT",
    "test_start_time": "2016-08-01 12:00:00",
    "data_format_version": "0.2.0",
    "format": "json",
    "input_hashes": [],
}

#: What a create request of the first generation says.
OLD = {name: CREATE[name] for name in ("software_name", "software_version", "test_name", "test_version")}


class Reply(NamedTuple):
    """An answer: its status, its body as JSON, its headers by lower-case name."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def error(self) -> tuple[int, Any]:
        """A refusal: its status and what it says."""
        assert list(self.body) == ["error"], self.body
        return self.status, self.body["error"]


def ask(
    url: str,
    method: str,
    path: str,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request; anything but bytes is sent as JSON, and no header beside Host and Content-Length."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, path, sent, dict(headers or {}))
        reply = connection.getresponse()
        told = {name.lower(): value for name, value in reply.getheaders()}
        return Reply(reply.status, json.loads(reply.read()), told)
    finally:
        connection.close()


def create(url: str, **changes: object) -> str:
    """Make a report; a change to None leaves the field out."""
    said = {name: value for name, value in {**CREATE, **changes}.items() if value is not None}
    reply = ask(url, "POST", "/report", said)
    assert reply.status == 200, reply
    return str(reply.body["report_id"])


def update(url: str, report_id: str, content: bytes, form: str | None = "json") -> Reply:
    """One entry; ``form`` None: without a format."""
    said = b"" if form is None else b', "format": "%s"' % form.encode()
    return ask(url, "POST", f"/report/{report_id}", b'{"content": ' + content + said + b"}")


def archived(collector: Collector, report_id: str) -> Path:
    """The file that a report became."""
    (path,) = [path for path in collector.layout.archive.iterdir() if report_id in path.name]
    return path


def connect(url: str, timeout: float = 60) -> socket.socket:
    """A bare connection."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout)


def read_reply(client: socket.socket) -> Reply:
    """One answer of a connection that goes on."""
    reply = http.client.HTTPResponse(client)
    reply.begin()
    return Reply(reply.status, json.loads(reply.read()), {k.lower(): v for k, v in reply.getheaders()})


def until_closed(client: socket.socket) -> bytes:
    """All that comes until the other side closes the connection, rudely or not."""
    pieces = []
    try:
        while piece := client.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def post(path: str, body: bytes, headers: Iterable[str] = ()) -> bytes:
    """The bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
