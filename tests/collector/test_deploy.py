"""The samples of a collector's machine in deploy/: each program takes its own, and they fit each other."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ooni_pipeline.collector.bouncer import parse_bouncer
from tasks import sections
from tests.parts.nginx import FRONT, NGINX, make_certificate

TOP = Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
TORRC = (DEPLOY / "tor" / "torrc").read_text(encoding="utf-8")
UNIT = (DEPLOY / "systemd" / "ooni-collector.service").read_text(encoding="utf-8")
INSTALL = (DEPLOY / "collector" / "install").read_text(encoding="utf-8")
NGINX_CONF = FRONT.read_text(encoding="utf-8")
#: What a unit that nobody has looked at gets is 9.6.
MOST_EXPOSED = 2.0


def test_nginx_takes_the_front_as_it_stands(tmp_path: Path) -> None:
    """With TLS, whose certificate is made here, a directory of this test for /run, and free ports of
    loopback: nginx -t takes them for a moment, and only root may have 80."""
    if not NGINX.exists() or shutil.which("openssl") is None:
        pytest.skip("no nginx or openssl here")
    make_certificate(tmp_path, "collector.example")
    live = "/etc/letsencrypt/live/collector.example"
    text = NGINX_CONF.replace(f"{live}/fullchain.pem", f"{tmp_path}/cert.pem")
    text = text.replace(f"{live}/privkey.pem", f"{tmp_path}/key.pem")
    text = text.replace("/run/ooni-bodies", f"{tmp_path}/bodies")
    text, listening = re.subn(r"listen (\[::\]:|127\.0\.0\.1:)?\d+", _on_loopback, text)
    assert listening == NGINX_CONF.count("    listen ") == 5
    config = tmp_path / "nginx.conf"
    config.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{text}}}\n")
    command = [str(NGINX), "-t", "-e", "stderr", "-c", str(config), "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def _on_loopback(listen: re.Match[str]) -> str:
    """The same kind of address on a free port; IPv4 in the place of IPv6 where there is none."""
    if listen[1] == "[::]:" and socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
            return f"listen [::1]:{free.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"listen 127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def tor(tmp_path: Path) -> list[str]:
    """The command that runs tor with the sample below a directory of this test."""
    program = shutil.which("tor") or "/usr/sbin/tor"
    if not Path(program).exists():
        pytest.skip("no tor here: apt-get install tor")
    (tmp_path / "data").mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    torrc = tmp_path / "torrc"
    torrc.write_text(TORRC.replace("/var/lib/tor", str(tmp_path)).replace("notice syslog", "notice stdout"))
    # What Debian's service gives it is here too: a control socket, which the sample takes away.
    defaults = tmp_path / "defaults"
    defaults.write_text(f"DataDirectory {tmp_path}/data\nControlSocket {tmp_path}/control\nSocksPort 9050\n")
    return [program, "--defaults-torrc", str(defaults), "-f", str(torrc)]


def test_tor_takes_its_sample(tor: list[str]) -> None:
    done = subprocess.run([*tor, "--verify-config"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "Configuration was valid" in done.stdout
    warned = [line for line in done.stdout.splitlines() if "[warn]" in line and "as root" not in line]
    assert not warned, warned


def test_tor_makes_an_onion_service_that_nobody_steers(tor: list[str], tmp_path: Path) -> None:
    """It runs, in its sandbox and without a network: the address is there, and no door to steer it by."""
    hostname = tmp_path / "ooni-collector" / "hostname"
    with subprocess.Popen([*tor, "--DisableNetwork", "1"], stdout=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(600):
                if hostname.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            assert hostname.exists(), process.communicate(timeout=10)[0]
            address = hostname.read_text().strip()
            assert not (tmp_path / "control").exists()
        finally:
            process.kill()
    assert parse_bouncer(f"onion {address}", "").told_collectors()[0]["address"] == f"httpo://{address}"


def test_systemd_takes_its_sample_and_finds_little_exposed(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "ooni-collector.service"
    shown = "/opt/ooni-pipeline/bin/ooni-collector"
    assert f"ExecStart={shown} --config /etc/ooni-pipeline/luigi.cfg\n" in UNIT
    unit.write_text(UNIT.replace(shown, sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told = [line for line in done.stderr.splitlines() if "ooni-collector" in line]
    assert (done.returncode, told) == (0, [])
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    (exposed,) = re.findall(r"exposure level for ooni-collector.service: ([\d.]+)", done.stdout)
    assert float(exposed) <= MOST_EXPOSED


def test_tor_nginx_and_the_service_speak_of_the_same_ports() -> None:
    defaults = dict(sections.collector.get_params())  # type: ignore[no-untyped-call]
    (upstream,) = re.findall(r"^upstream ooni_collector \{\n    server (\S+);", NGINX_CONF, re.MULTILINE)
    assert upstream == defaults["listen"]._default
    (onion,) = re.findall(r"^HiddenServicePort 80 (\S+)$", TORRC, re.MULTILINE)
    server = NGINX_CONF[NGINX_CONF.index(f"listen {onion};") :]
    assert 'proxy_set_header X-Forwarded-For "";' in server
    assert "127.0.0.1" in defaults["trusted_proxies"]._default.split()
    (kept,) = re.findall(r"keepalive_timeout (\d+)s;\n\}", NGINX_CONF)
    assert int(kept) < defaults["keep_alive_timeout"]._default
    limits = set(re.findall(r"client_max_body_size (\w+);", NGINX_CONF))
    assert limits == {f"{defaults['body_limit_mb']._default}m"}
    (written,) = re.findall(r"^ReadWritePaths=(\S+)$", UNIT, re.MULTILINE)
    assert written == defaults["directory"]._default


def test_no_sample_notes_who_came() -> None:
    servers = NGINX_CONF.split("\nserver {")[1:]
    assert len(servers) == 3
    for server in servers:
        assert server.count("access_log off;") == 1
        assert server.count("error_log /dev/null crit;") == 1
    assert "SafeLogging 1" in TORRC


def test_the_sample_configuration_of_a_collector_is_one() -> None:
    shown = configparser.ConfigParser(interpolation=None)
    shown.read(DEPLOY / "collector" / "luigi.cfg", encoding="utf-8")
    known = {section.__name__: dict(section.get_params()) for section in sections.SECTIONS}  # type: ignore[no-untyped-call]
    assert set(shown.sections()) == {"collector", "bouncer"}
    for name in shown.sections():
        assert set(shown[name]) <= set(known[name])
    assert parse_bouncer(shown["bouncer"]["collectors"], "").told_collectors() == [
        {"type": "https", "address": "https://collector.example"}
    ]


def test_what_the_script_copies_is_there() -> None:
    subprocess.run(["sh", "-n", str(DEPLOY / "collector" / "install")], check=True)
    copied = re.findall(r"\bdeploy/[\w./-]+", INSTALL)
    assert len(copied) >= 4
    for path in copied:
        assert (TOP / path).exists(), path
    assert os.access(DEPLOY / "collector" / "install", os.X_OK)
