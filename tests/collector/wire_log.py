"""The wire logs of genuine clients, read and sent again: the same bytes, with our ids in the place of theirs.

The logger cut each body after 1,500 bytes. What is missing of one is what the genuine collector stored of it,
in the order of keys that the log shows as far as it goes; the length that the client announced must come out.
Of one entry the collector's file is not there: the rest of its text is dots.
"""

from __future__ import annotations

import ast
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
LOGS = sorted((FIXTURES / "wire").glob("*.log"))
BOUNCER_LOGS = sorted((FIXTURES / "wire" / "bouncer").glob("*.log"))
STORED = FIXTURES / "demo" / "collector" / "archive"

_EXCHANGE = re.compile(
    rb">> (?P<method>\w+) (?P<path>\S+) (?P<sent>\{.*?\}) te=None\n(?P<body>.*)\n"
    rb"<< (?P<status>\d+) (?P<got>\{.*?\})\n(?P<reply>.*)\n"
)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent, headers in their order, and the reply of the genuine collector."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    reply: Reply

    def said(self) -> dict[str, object]:
        """The body, of which all is there."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass
class Run:
    """One report: its create, its updates, its close; the genuine id, and what was stored under it if that is
    here."""

    report_id: str
    create: Exchange
    updates: list[Exchange] = field(default_factory=list)
    close: Exchange | None = None
    stored: Path | None = None


def exchanges(log: Path) -> Iterator[Exchange]:
    """The log as it is, cut bodies and all."""
    text = log.read_bytes()
    found = list(_EXCHANGE.finditer(text))
    assert len(found) == text.count(b">> "), log
    for one in found:
        yield Exchange(
            one["method"].decode(),
            one["path"].decode(),
            ast.literal_eval(one["sent"].decode()),
            one["body"],
            Reply(int(one["status"]), ast.literal_eval(one["got"].decode()), one["reply"]),
        )


def runs(log: Path) -> list[Run]:
    """The reports of a log, with whole bodies."""
    found: dict[str, Run] = {}
    run: Run | None = None
    for exchange in exchanges(log):
        if exchange.method == "POST" and exchange.path == "/report":
            report_id = str(exchange.reply.json()["report_id"])
            run = found[report_id] = Run(report_id, exchange)
            run.stored = next(STORED.glob(f"*-{report_id}-*"), None)
            continue
        assert run is not None
        if exchange.path.endswith("/close"):
            run.close = exchange
        else:
            run.updates.append(replace(exchange, body=_whole(exchange, run)))
    assert all(run.close is not None for run in found.values())
    return list(found.values())


def _whole(exchange: Exchange, run: Run) -> bytes:
    length = int(exchange.headers["Content-Length"])
    if len(exchange.body) == length:
        return exchange.body
    begun = exchange.body.decode("ascii")
    if exchange.method == "PUT":  # cut inside the id, which comes last
        whole = begun.partition('"report_id": "')[0] + f'"report_id": "{run.report_id}"}}'
    elif run.stored is not None:
        (line,) = run.stored.read_text(encoding="utf-8").splitlines()
        whole = _spelled({"content": json.loads(line), "format": "json"}, begun)
    else:  # cut inside tor_log, after which the first entry of this report goes on in the same way
        rest = '"' + run.updates[0].body.decode("ascii").partition('"tor_log": null')[2]
        whole = begun.ljust(length - len(rest), ".") + rest
    assert whole.startswith(begun) and len(whole) == length, (len(whole), length)
    return whole.encode("ascii")


def _spelled(value: object, begun: str) -> str:
    """The JSON text of a value, with its keys in the order of ``begun``, which may end anywhere in it."""
    if isinstance(value, dict):
        text, left = "{", dict(value)
        while left:
            text += "" if text == "{" else ", "
            here = begun[len(text) :]
            keys = {json.dumps(key) + ": ": key for key in left}
            shown = next(
                (word for word in keys if here.startswith(word) or word.startswith(here)), next(iter(keys))
            )
            text += shown
            text += _spelled(left.pop(keys[shown]), begun[len(text) :])
        return text + "}"
    if isinstance(value, list):
        text = "["
        for one in value:
            text += "" if text == "[" else ", "
            text += _spelled(one, begun[len(text) :])
        return text + "]"
    return json.dumps(value)


def send(
    url: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = 30
) -> Reply:
    """One request over a connection of its own: the headers that are given, in their order, and no other.

    The connection stays open until the whole reply is here; a server that waits for more than that is late.
    """
    place = urlsplit(url)
    assert place.hostname is not None and place.port is not None
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())


def replay(url: str, run: Run) -> tuple[str, list[tuple[Exchange, Reply]]]:
    """Send a report again. Our id of it, and each exchange of the log with the reply that we got."""
    host = urlsplit(url).netloc
    assert run.close is not None
    report_id = ""
    seen = []
    for exchange in (run.create, *run.updates, run.close):
        # Ids of both are of one length, so the announced length stays right.
        body = (
            exchange.body.replace(run.report_id.encode(), report_id.encode()) if report_id else exchange.body
        )
        path = exchange.path.replace(run.report_id, report_id)
        reply = send(url, exchange.method, path, {**exchange.headers, "Host": host}, body)
        seen.append((exchange, reply))
        if exchange is run.create:
            report_id = str(reply.json()["report_id"])
            assert len(report_id) == len(run.report_id)
    return report_id, seen
