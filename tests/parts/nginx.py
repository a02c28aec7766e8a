"""A real nginx with a sample of deploy/nginx, on ports of its own: the mirror's, the collector's front."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NGINX = Path("/usr/sbin/nginx")
SAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "nginx"
SAMPLE = SAMPLES / "mirror.conf"
FRONT = SAMPLES / "collector.conf"
#: With the address of the peer, for a front of a test.
PEER_HEADER = "X-Test-Peer"


@dataclass(frozen=True)
class Nginx:
    """A running server: its URL, its directory (configuration, logs) and its access log."""

    url: str
    directory: Path
    access_log: Path


@dataclass(frozen=True)
class Front:
    """A running front of a collector: what probes reach by TLS and by tor, its directory, its certificate."""

    url: str
    onion_url: str
    directory: Path
    certificate: Path


def configuration(directory: Path, root: Path, port: int) -> str:
    """The mirror's sample, on a loopback port without TLS, with all of its files below ``directory``."""
    text = SAMPLE.read_text(encoding="utf-8")
    plain = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    plain = plain.replace("listen 80;", f"listen unix:{directory}/redirects.sock;")
    plain = re.sub(r"^ *ssl_.*\n", "", plain, flags=re.MULTILINE)
    plain = plain.replace("root /srv/ooni-mirror;", f"root {root};")
    return plain.replace("/var/log/nginx/ooni-mirror.log", str(directory / "access.log"))


def front_configuration(directory: Path, upstream: str, port: int, onion_port: int) -> str:
    """The collector's sample, TLS and all, on loopback ports before ``upstream`` (host:port).

    Nobody comes from elsewhere to a loopback port: whoever sends PEER_HEADER is taken to come from there.
    """
    text = FRONT.read_text(encoding="utf-8")
    live = "/etc/letsencrypt/live/collector.example"
    for shown, here in {
        "    listen [::]:80;\n": "", "    listen [::]:443 ssl;\n": "",
        "listen 80;": f"listen unix:{directory}/plain.sock;",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen 127.0.0.1:8081;": f"listen 127.0.0.1:{onion_port};",
        "server 127.0.0.1:8080;": f"server {upstream};",
        f"{live}/fullchain.pem": f"{directory}/cert.pem", f"{live}/privkey.pem": f"{directory}/key.pem",
        "/run/ooni-bodies": f"{directory}/bodies",
    }.items():  # fmt: skip
        assert shown in text, shown
        text = text.replace(shown, here)
    return f"set_real_ip_from 127.0.0.0/8;\nreal_ip_header {PEER_HEADER};\n{text}"


def make_certificate(directory: Path, host: str) -> None:
    """``cert.pem`` and ``key.pem`` for a host and for loopback."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-addext",
         f"subjectAltName=DNS:{host},IP:127.0.0.1", "-keyout", directory / "key.pem",
         "-out", directory / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip


@contextlib.contextmanager
def serving(directory: Path, root: Path, user: int | None = None) -> Iterator[Nginx]:
    """Serve ``root``; what nginx itself needs lies in ``directory``. ``user``: run as this ordinary user."""
    with _running(directory, lambda ports: configuration(directory, root, ports[0]), user) as (port, _):
        yield Nginx(f"http://127.0.0.1:{port}", directory, directory / "access.log")


@contextlib.contextmanager
def fronting(directory: Path, upstream: str) -> Iterator[Front]:
    """A front before the collector that listens at ``upstream``, host:port."""
    directory.mkdir(exist_ok=True)
    make_certificate(directory, "collector.example")
    with _running(directory, lambda ports: front_configuration(directory, upstream, *ports)) as (port, onion):
        yield Front(
            f"https://127.0.0.1:{port}", f"http://127.0.0.1:{onion}", directory, directory / "cert.pem"
        )


@contextlib.contextmanager
def _running(
    directory: Path, servers: Callable[[tuple[int, int]], str], user: int | None = None
) -> Iterator[tuple[int, int]]:
    """nginx with these servers, on two free ports, until the end of the block."""
    if not NGINX.exists():
        pytest.skip("no nginx here: apt-get install nginx-light")
    directory.mkdir(exist_ok=True)
    if user is not None:
        os.chown(directory, user, user)
    for _ in range(5):  # somebody else may take a port between our look and nginx's
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            ports = (int(one.getsockname()[1]), int(other.getsockname()[1]))
        text = _around(directory, servers(ports), as_root=os.getuid() == 0 and user is None)
        (directory / "nginx.conf").write_text(text, encoding="utf-8")
        command: list[str | Path] = [NGINX, "-e", "stderr", "-c", directory / "nginx.conf", "-p", directory]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, user=user, group=user)
        try:
            if _listens(ports[0], process):
                yield ports
                return
        finally:
            process.terminate()
            _, said = process.communicate(timeout=30)
    pytest.fail(f"nginx does not start: {said}")


def _around(directory: Path, servers: str, *, as_root: bool) -> str:
    """The main configuration: everything that nginx writes lies below ``directory``."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    return (
        f"daemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\n"
        f"error_log {directory}/error.log warn;\n"
        f"{'user root root;' if as_root else ''}\nevents {{}}\nhttp {{\n{places}{servers}}}\n"
    )


def _listens(port: int, process: subprocess.Popen[str]) -> bool:
    for _ in range(500):
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return True
        time.sleep(0.02)
    return False
