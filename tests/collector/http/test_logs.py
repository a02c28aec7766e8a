"""What a client sends, and who it is, stands in no log and nowhere on disk where it does not belong."""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path

import pytest

from tasks.collector import _Log
from tests.collector.http.client import CREATE, ask, connect, create, post, until_closed, update
from tests.parts.collector import Collector, StartCollector

CANARY = "canary7h15"
#: Addresses of TEST-NET, which nothing of ours names.
FORWARDED, PROBE_IP = "203.0.113.77", "198.51.100.77"


def everything(collector: Collector) -> None:
    """Requests good and bad, with the canary wherever a client can put one."""
    url, headers = collector.url, {"X-Forwarded-For": FORWARDED, "User-Agent": CANARY, "X-Canary": CANARY}
    headers |= {"Content-Type": CANARY, "Cookie": CANARY, "Host": f"{CANARY}.example"}
    for field in CREATE:
        for value in (f"{CANARY}/..", [CANARY], {CANARY: CANARY}):
            ask(url, "POST", "/report", {**CREATE, "probe_ip": PROBE_IP, field: value}, headers)
    for path in (
        f"/{CANARY}",
        f"/report/{CANARY}",
        f"/report/{CANARY}/close",
        f"/report?{CANARY}",
        f"/%ff{CANARY}",
    ):
        for method in ("POST", "PUT", "GET", "DELETE", CANARY.upper()):
            ask_badly(
                url, f"{method} {path} HTTP/1.1\r\nHost: {CANARY}\r\nContent-Length: 0\r\n\r\n".encode()
            )
    report_id = create(url, content=CANARY)
    for body in (b'{"content": "%s"}', b'{"content": {"a": "%s}', b"%s", b'{"content": {"report_id": "%s"}}'):
        ask(url, "POST", f"/report/{report_id}", body.replace(b"%s", CANARY.encode()), headers)
    for encoding in ("gzip", "zstd", CANARY):
        ask(url, "POST", f"/report/{report_id}", CANARY.encode(), {**headers, "Content-Encoding": encoding})
    ask(url, "POST", "/report", {**CREATE, "format": "yaml", "content": f"{CANARY}: ["}, headers)
    for rubbish in (
        f"{CANARY}\r\n\r\n",
        f"POST /{CANARY} HTTP/9.9\r\n\r\n",
        f"POST /{CANARY} HTTP/1.1\r\n{CANARY}\r\n\r\n",
        f"POST /{CANARY} HTTP/1.1\r\nContent-Length: {CANARY}\r\n\r\n",
        f"GET /{CANARY} HTTP/1.1\r\nHost: x\r\nUpgrade: {CANARY}\r\nConnection: upgrade\r\n\r\n",
        f"GET http://{CANARY}:99999999/ HTTP/1.1\r\nHost: x\r\n\r\n",
        f"CONNECT {CANARY} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET * HTTP/1.1\r\nHost: {CANARY}\r\n\r\n",
    ):
        ask_badly(url, rubbish.encode())
    with connect(url) as client:
        client.sendall(post(f"/report/{report_id}", b"{" * 10)[:-5] + CANARY.encode()[:2])


def ask_badly(url: str, sent: bytes) -> None:
    with connect(url) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        until_closed(client)


def assert_silent(collector: Collector) -> None:
    said = [line for line in collector.log.splitlines() if not line.startswith("ooni-collector: probes at")]
    for secret in (CANARY, CANARY.upper(), FORWARDED, PROBE_IP, "127.0.0.1"):
        assert not [line for line in said if secret in line], secret
    for path in collector.layout.directory.rglob("*"):
        assert CANARY not in path.name
        for address in (FORWARDED, PROBE_IP):
            assert not path.is_file() or address.encode() not in path.read_bytes(), path


def test_nothing_of_a_client_is_logged_or_kept(shared: Collector) -> None:
    """Not one line, however it asks (the fixture looks for lines)."""
    everything(shared)
    assert_silent(shared)


#: The service, with every logger of every library at its most talkative.
TALKATIVE = """
import logging, sys
from tasks import collector
silent = collector._log_to_stderr
def talkative():
    silent()
    for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "fastapi", "ooni_pipeline"):
        logging.getLogger(name).setLevel(1)
collector._log_to_stderr = talkative
sys.argv[0] = "ooni-collector"
sys.exit(collector.main())
"""


def test_nor_at_any_level_of_any_library(start_collector: StartCollector, tmp_path: Path) -> None:
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    collector = start_collector(program=[sys.executable, str(tmp_path / "talkative.py")])
    everything(collector)
    collector.stop()
    assert collector.log.count("\n") > 10, "it said something"
    assert_silent(collector)


def test_a_fault_of_ours_is_one_line_without_its_text(
    start_collector: StartCollector, tmp_path: Path
) -> None:
    """A Reception that breaks on whatever comes, quoting it."""
    (tmp_path / "broken.py").write_text(
        "import sys\n"
        "from ooni_pipeline.collector.reception import Reception\n"
        "from tasks import collector\n"
        "async def broken(self, report_id, entry):\n"
        "    try:\n"
        "        raise KeyError(entry)\n"
        "    except KeyError as error:\n"
        "        raise OSError(28, 'no ' + entry.decode()) from error\n"
        "Reception.append = broken\n"
        "sys.exit(collector.main())\n"
    )
    collector = start_collector(program=[sys.executable, str(tmp_path / "broken.py")])
    report_id = create(collector.url)
    for _ in range(2):
        reply = update(collector.url, report_id, json.dumps({"a": CANARY}).encode())
        assert reply.error == (500, 500)
    assert CANARY not in collector.log and report_id not in collector.log
    lines = collector.log.splitlines()[1:]
    assert len(lines) == 2 and all("OSError" in line and "KeyError" in line for line in lines)


def test_a_library_that_complains_is_named_and_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Log())
    logger = logging.Logger("uvicorn.error")
    logger.addHandler(handler)
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("cannot take %s", CANARY)
    logger.error(CANARY, stack_info=True)
    said = capsys.readouterr().err
    assert CANARY not in said and said.count("\n") == 2 and "ValueError" in said
