"""The sample configuration of the mirror's web server, in a real nginx: what it serves, with which headers,
and what it writes down of those who come."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.parts.nginx import NGINX, SAMPLE, Nginx, serving

BUCKET = "2016-08-01"
NOBODY = 65534
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@pytest.fixture
def root() -> Iterator[Path]:
    """A public tree that anybody can reach (the directories of pytest are for their owner)."""
    with tempfile.TemporaryDirectory(prefix="ooni-nginx-") as directory:
        top = Path(directory)
        top.chmod(0o755)
        tree = top / "public"
        (tree / BUCKET).mkdir(parents=True)
        (tree / ".spool").mkdir()
        (tree / ".spool" / "withdrawn.json").write_text("{}")
        (tree / ".2016-08-02.new").mkdir()
        (tree / ".2016-08-02.new" / "index.html").write_text("half")
        (tree / "index.html").write_text("<title>front</title>")
        (tree / "style.css").write_text("body {}")
        (tree / "index.json").write_text("{}")
        (tree / "changes.jsonl").write_text("{}\n")
        (tree / BUCKET / "index.html").write_text("<title>bucket</title>")
        (tree / BUCKET / "SHA256SUMS").write_text("x")
        (tree / BUCKET / "a.json.gz").write_bytes(gzip.compress(b"{}\n"))
        (tree / "secret").mkdir(mode=0)
        (top / "outside.txt").write_text("outside")
        (tree / "link").symlink_to(top / "outside.txt")
        yield tree


USERS = [None, *([NOBODY] if os.getuid() == 0 else [])]


@pytest.fixture(params=USERS, ids=["us", "an ordinary user"][: len(USERS)])
def nginx(request: pytest.FixtureRequest, root: Path) -> Iterator[Nginx]:
    with serving(root.parent / "nginx", root, request.param) as server:
        yield server


def ask(nginx: Nginx, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(nginx.url).netloc, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), (f"/{BUCKET}/a.json.gz", 200), ("/missing", 404), ("/.spool/withdrawn.json", 404)],
)
def test_headers_come_with_every_answer(nginx: Nginx, path: str, status: int) -> None:
    answer = ask(nginx, path)
    assert answer.status == status
    assert {name: answer.getheader(name) for name in HEADERS} == HEADERS
    assert "geolocation=()" in str(answer.getheader("Permissions-Policy"))
    assert answer.getheader("Server") == "nginx"
    assert answer.getheader("Set-Cookie") is None


def test_files_are_sent_as_they_are(nginx: Nginx, root: Path) -> None:
    kinds = {
        "/": "text/html; charset=utf-8",
        "/style.css": "text/css; charset=utf-8",
        "/index.json": "application/json; charset=utf-8",
        "/changes.jsonl": "application/jsonl",
        f"/{BUCKET}/SHA256SUMS": "text/plain; charset=utf-8",
        f"/{BUCKET}/a.json.gz": "application/gzip",
    }
    found = {path: ask(nginx, path, **{"Accept-Encoding": "gzip"}) for path in kinds}
    assert {path: answer.getheader("Content-Type") for path, answer in found.items()} == kinds
    assert {answer.getheader("Content-Encoding") for answer in found.values()} == {None}
    sent = found[f"/{BUCKET}/a.json.gz"].body  # type: ignore[attr-defined]
    assert sent == (root / BUCKET / "a.json.gz").read_bytes()


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/.spool/withdrawn.json", {404}),
        ("/.2016-08-02.new/index.html", {404}),
        (f"/{BUCKET}/../.spool/withdrawn.json", {404}),
        ("/%2espool/withdrawn.json", {404}),
        ("/../outside.txt", {400, 404}),
        (f"/{BUCKET}/%2e%2e/%2e%2e/outside.txt", {400, 404}),
        ("/link", {403}),
        ("/secret/", {403}),
        ("/countries/", {404}),
    ],
)
def test_what_is_hidden_or_outside_is_not_served(nginx: Nginx, path: str, statuses: set[int]) -> None:
    answer = ask(nginx, path)
    assert answer.status in statuses
    assert b"outside" not in answer.body  # type: ignore[attr-defined]
    if answer.status == 403:
        assert answer.getheader("Referrer-Policy") == "no-referrer"


def test_a_directory_is_an_index_and_no_listing(nginx: Nginx) -> None:
    answer = ask(nginx, f"/{BUCKET}")
    assert (answer.status, answer.getheader("Location")) == (301, f"/{BUCKET}/")
    assert ask(nginx, f"/{BUCKET}/").body == b"<title>bucket</title>"  # type: ignore[attr-defined]
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(nginx, "/", method).status in (403, 405)
    assert ask(nginx, "/", "HEAD").status == 200


def test_nobody_who_comes_is_written_down(nginx: Nginx, root: Path) -> None:
    told = {
        "Referer": "http://referrer.test/",
        "User-Agent": "browser-of-somebody",
        "X-Forwarded-For": "192.0.2.7",
    }
    for path in ("/", "/missing", "/secret/", "/link", f"/{BUCKET}/?who=me", "/%00", "/.spool/"):
        ask(nginx, path, **told)
    connection = http.client.HTTPConnection(urlsplit(nginx.url).netloc, timeout=10)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.putrequest("GET", "/\x7f" + "x" * 20_000, skip_host=True)
        connection.endheaders()
        connection.getresponse()
    written = b"".join(path.read_bytes() for path in nginx.directory.rglob("*") if path.is_file())
    log = nginx.access_log.read_text()
    assert '"GET /missing" 404' in log and f'"GET /{BUCKET}/' in log
    for trace in (b"client:", b"referrer.test", b"browser-of-somebody", b"192.0.2.7", b"who=me"):
        assert trace not in written, trace
    assert "127.0.0.1" not in log


def test_the_sample_is_taken_as_it_stands(tmp_path: Path) -> None:
    """With TLS, whose certificate is made here, and the directories of this test for those of a machine."""
    if not NGINX.exists() or shutil.which("openssl") is None:
        pytest.skip("no nginx or openssl here")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mirror.example",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    text = SAMPLE.read_text(encoding="utf-8")
    live = "/etc/letsencrypt/live/mirror.example"
    text = text.replace(f"{live}/fullchain.pem", str(certificate)).replace(f"{live}/privkey.pem", str(key))
    text = text.replace("/var/log/nginx", str(tmp_path))
    config = tmp_path / "nginx.conf"
    config.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{text}}}\n")
    command = [str(NGINX), "-t", "-e", "stderr", "-c", str(config), "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
