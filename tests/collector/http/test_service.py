"""Starting and stopping: the configuration is looked at first, it goes at SIGTERM, it is alone."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.parts.collector import TOP, Collector, StartCollector


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasks.collector", *arguments],
        cwd=TOP,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_it_starts_with_one_section_and_stops_at_sigterm(collector: Collector) -> None:
    assert collector.health() == 200
    begun = time.monotonic()
    assert collector.stop() == 0
    assert time.monotonic() - begun < 8
    assert collector.log.count("\n") == 1


def test_check_says_what_it_would_do_and_listens_nowhere(tmp_path: Path) -> None:
    config = written(tmp_path / "c.cfg", f"[collector]\ndirectory = {tmp_path}/data\n[bouncer]\n")
    done = run("--config", config, "--check")
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:8080" in done.stdout and str(tmp_path / "data") in done.stdout
    assert not (tmp_path / "data").exists(), "who looks as root makes directories that the service cannot use"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_check_finds_a_directory_that_cannot_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    config = written(tmp_path / "c.cfg", f"[collector]\ndirectory = {tmp_path}/{place}\n")
    for more in ([], ["--check"]):
        done = run("--config", config, *more)
        assert done.returncode == 2
        (error,) = done.stderr.splitlines()
        assert f"[collector] directory = {tmp_path}/{place}: cannot make" in error


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["directory = data", "listen = nowhere", "connections = 0"], ["directory", "listen", "connections"]),
        (["listen = 127.0.0.1"], ["listen"]),
        (["listen = [::1]:99999"], ["listen"]),
        (["admin_listen = ::1:80"], ["admin_listen"]),
        (["trusted_proxies = 10.0.0.0/8 elsewhere"], ["trusted_proxies"]),
        (["body_limit_mb = 100", "bodies_mb = 50"], ["bodies_mb"]),
        (["stale_seconds = soon"], ["[collector]"]),
        (["stale_second = 5"], ["stale_second;"]),
        (["head_timeout = 0"], ["head_timeout"]),
        (["[colector]"], ["[colector]"]),
        (["[bouncer]", "collectors = carrier-pigeon coop"], ["[bouncer] collectors"]),
    ],
)
def test_every_fault_of_the_configuration_is_one_line(
    tmp_path: Path, lines: list[str], said: list[str]
) -> None:
    config = written(tmp_path / "c.cfg", "\n".join(["[collector]", f"directory = {tmp_path}", *lines]) + "\n")
    if lines[0].startswith("directory"):
        config = written(tmp_path / "c.cfg", "\n".join(["[collector]", *lines]) + "\n")
    for more in ([], ["--check"]):
        done = run("--config", config, *more)
        assert done.returncode == 2
        errors = done.stderr.splitlines()
        assert len(errors) == len(said), done.stderr
        assert all(word in error for word, error in zip(said, errors, strict=True)), done.stderr


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for config in (tmp_path / "none", written(tmp_path / "c.cfg", "secret words\n")):
        done = run("--config", config)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1 and "secret" not in done.stderr


def test_no_other_configuration_is_read(tmp_path: Path) -> None:
    other = written(tmp_path / "luigi.cfg", "[collector]\ndirectory = nonsense\nlisten = nonsense\n")
    config = written(tmp_path / "c.cfg", f"[collector]\ndirectory = {tmp_path}/data\n")
    done = subprocess.run(
        [sys.executable, "-m", "tasks.collector", "--config", config, "--check"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOP), "LUIGI_CONFIG_PATH": str(other)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nonsense" not in done.stdout


def test_a_second_one_on_the_same_directory_refuses(collector: Collector) -> None:
    config = written(
        collector.root / "second.cfg",
        f"[collector]\ndirectory = {collector.layout.directory}\nlisten = 127.0.0.1:0\n"
        "admin_listen = 127.0.0.1:0\n",
    )
    done = run("--config", config)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert collector.health() == 200


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("listen", "admin_listen"):
            other = "admin_listen" if option == "listen" else "listen"
            config = written(
                tmp_path / "c.cfg",
                f"[collector]\ndirectory = {tmp_path}/data\n{option} = 127.0.0.1:{port}\n"
                f"{other} = 127.0.0.1:0\n",
            )
            done = run("--config", config)
            assert done.returncode == 1
            assert f"[collector] {option} = 127.0.0.1:{port}" in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_systemd_is_told_when_it_answers(start_collector: StartCollector, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        collector = start_collector(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert listening.recv(100) == b"READY=1"
        assert collector.stop() == 0


def test_what_runs_is_finished_before_it_stops(collector: Collector) -> None:
    """A request whose body is still coming at SIGTERM is answered; nobody new is."""
    host, port = collector.url.removeprefix("http://").split(":")
    body = json.dumps(
        {"software_name": "a", "software_version": "1", "test_name": "b", "test_version": "1"}
    ).encode()
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /report HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        client.sendall(body[:10])
        time.sleep(0.3)
        assert collector.process is not None
        collector.process.terminate()
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))
        client.sendall(body[10:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert collector.process.wait(10) == 0


def test_a_slow_client_does_not_hold_it_up(start_collector: StartCollector) -> None:
    collector = start_collector(stop_timeout=1)
    host, port = collector.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /report HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.3)
        begun = time.monotonic()
        assert collector.stop() == 0
        assert time.monotonic() - begun < 5


def test_nobody_else_can_read_what_it_writes(collector: Collector) -> None:
    urllib.request.urlopen(  # noqa: S310
        f"{collector.url}/measurement",
        b'{"software_name":"a","software_version":"1","test_name":"b","test_version":"1"}',
    ).close()
    for path in (collector.layout.directory, *collector.layout.directory.rglob("*")):
        assert not path.stat().st_mode & stat.S_IRWXO, path


def test_health_says_when_nothing_can_be_written(start_collector: StartCollector) -> None:
    collector = start_collector(keep_free_mb=9_000_000)
    assert collector.health() == 503
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(  # noqa: S310
            f"{collector.url}/report",
            b'{"software_name":"a","software_version":"1","test_name":"b","test_version":"1"}',
        )
    assert refused.value.code == 507


def test_stale_reports_are_archived_without_being_asked(start_collector: StartCollector) -> None:
    collector = start_collector(stale_seconds=1)
    made = urllib.request.urlopen(  # noqa: S310
        f"{collector.url}/report",
        b'{"software_name":"a","software_version":"1","test_name":"b","test_version":"1","format":"json"}',
    )
    report = json.load(made)["report_id"]
    urllib.request.urlopen(f"{collector.url}/report/{report}", b'{"content":{}}').close()  # noqa: S310
    end = time.monotonic() + 30
    count = "ooni_collector_archived_stale_total"
    while time.monotonic() < end and not collector.metrics()[count]:  # counted when it is in the archive
        time.sleep(0.1)
    (archived,) = collector.layout.archive.iterdir()
    assert archived.read_bytes() == b"{}\n"
    assert collector.metrics()[count] == 1


def test_admin_pages_are_not_public_and_the_other_way_round(collector: Collector) -> None:
    for url, paths in (
        (collector.url, ("health", "metrics")),
        (collector.admin_url, ("report", "docs", "openapi.json", "api/v1/collectors")),
    ):
        for path in paths:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{url}/{path}")  # noqa: S310
            assert refused.value.code in (404, 405), path


def test_metrics_name_no_country_network_address_or_nettest(collector: Collector) -> None:
    urllib.request.urlopen(  # noqa: S310
        f"{collector.url}/measurement",
        b'{"software_name":"a","software_version":"1","test_name":"canary_test","test_version":"1",'
        b'"probe_asn":"AS64511","probe_cc":"XK"}',
    ).close()
    found = collector.metrics()
    assert found['ooni_collector_requests_total{route="/measurement",status="200"}'] == 1
    assert found["ooni_collector_submitted_total"] == 1
    assert found["ooni_collector_free_bytes"] > 0
    text = " ".join(found)
    assert not any(word in text for word in ("canary", "AS64511", "XK", "127.0.0.1"))


def test_threads_do_not_keep_it(collector: Collector) -> None:
    """Large bodies are parsed in a thread; it ends with the service."""
    body = b'{"x":"' + b"y" * 300_000 + b'"}'

    def send() -> None:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{collector.url}/report", body)  # noqa: S310

    sending = threading.Thread(target=send)
    sending.start()
    sending.join()
    assert collector.stop() == 0
