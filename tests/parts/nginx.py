"""A real nginx that serves a directory by the sample configuration of deploy/nginx, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NGINX = Path("/usr/sbin/nginx")
SAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "nginx" / "mirror.conf"


@dataclass(frozen=True)
class Nginx:
    """A running server: its URL, its directory (configuration, logs) and its access log."""

    url: str
    directory: Path
    access_log: Path


def configuration(directory: Path, root: Path, port: int) -> str:
    """The sample, on a loopback port without TLS, with all of its files below ``directory``."""
    text = SAMPLE.read_text(encoding="utf-8")
    plain = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    plain = plain.replace("listen 80;", f"listen unix:{directory}/redirects.sock;")
    plain = re.sub(r"^ *ssl_.*\n", "", plain, flags=re.MULTILINE)
    plain = plain.replace("root /srv/ooni-mirror;", f"root {root};")
    plain = plain.replace("/var/log/nginx/ooni-mirror.log", str(directory / "access.log"))
    user = "user root root;\n" if os.getuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    return (
        f"daemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\n"
        f"error_log {directory}/error.log warn;\n"
        f"{user}events {{}}\nhttp {{\n{places}{plain}}}\n"
    )


@contextlib.contextmanager
def serving(directory: Path, root: Path, user: int | None = None) -> Iterator[Nginx]:
    """Serve ``root``; what nginx itself needs lies in ``directory``. ``user``: run as this ordinary user."""
    if not NGINX.exists():
        pytest.skip("no nginx here: apt-get install nginx-light")
    directory.mkdir(exist_ok=True)
    if user is not None:
        os.chown(directory, user, user)
    for _ in range(5):  # somebody else may take the port between our look and nginx's
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        text = configuration(directory, root, port)
        if user is not None:
            text = text.replace("user root root;\n", "")
        (directory / "nginx.conf").write_text(text, encoding="utf-8")
        command: list[str | Path] = [NGINX, "-e", "stderr", "-c", directory / "nginx.conf", "-p", directory]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, user=user, group=user)
        try:
            url = f"http://127.0.0.1:{port}"
            if _answers(url, process):
                yield Nginx(url, directory, directory / "access.log")
                return
        finally:
            process.terminate()
            _, said = process.communicate(timeout=30)
    pytest.fail(f"nginx does not start: {said}")


def _answers(url: str, process: subprocess.Popen[str]) -> bool:
    for _ in range(200):
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"{url}/", timeout=5).close()  # noqa: S310  # our own
            return True
        time.sleep(0.02)
    return False
