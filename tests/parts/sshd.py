"""A real sshd of this machine's: own host key, own port, on the loopback, run by whoever runs the tests.

It is a collector's machine, or a mirror's: what an account may do stands in its authorized_keys, so each
directory gets a key of its own.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.collector import gate
from ooni_pipeline.remote.account import Account

SSHD = Path("/usr/sbin/sshd")
GATE = Path(str(gate.__file__))
#: The interpreter that a collector has, not that of a virtual environment.
PYTHON = "/usr/bin/python3"
#: MaxStartups of an sshd that drops nobody.
MANY = "100:30:200"


def can_sshd() -> bool:
    """Whether sshd, ssh, rsync and rrsync are here, and this process may run an sshd."""
    programs = (str(SSHD), "ssh", "ssh-keygen", "rsync", "rrsync")
    return all(shutil.which(program) for program in programs) and Path(PYTHON).exists()


@dataclass
class Sshd:
    """An sshd below ``root``. ``host`` and ``port`` are where it listens."""

    root: Path
    host: str = "127.0.0.1"
    port: int = 0
    user: str = field(default_factory=getpass.getuser)
    #: The option MaxStartups: so many may be about to log in.
    startups: str = MANY
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    @property
    def known_hosts(self) -> Path:
        return self.root / "known_hosts"

    def prepare(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.new_host_key()
        (self.root / "authorized_keys").touch(mode=0o600)
        self.port = self.port or _free_port()
        self.trust()

    def new_host_key(self) -> None:
        for path in (self.root / "host", self.root / "host.pub"):
            path.unlink(missing_ok=True)
        keygen(self.root / "host")

    def trust(self) -> None:
        """Write the host key into known_hosts."""
        kind, key, *_ = (self.root / "host.pub").read_text().split()
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {kind} {key}\n")

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        settings = {
            "Port": self.port,
            "ListenAddress": self.host,
            "HostKey": self.root / "host",
            "PidFile": "none",
            "AuthorizedKeysFile": self.root / "authorized_keys",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",
            "PermitRootLogin": "prohibit-password",
            "MaxStartups": self.startups,
            "LogLevel": "VERBOSE",
            # The account's shell would run what stands in its .bashrc, which may take its time.
            "SetEnv": f"HOME={self.root}",
        }
        config = self.root / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self.process = subprocess.Popen(
            [str(SSHD), "-D", "-f", str(config), "-E", str(self.root / "log")], start_new_session=True
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1) as wire:
                if wire.recv(4) == b"SSH-":
                    return
            if self.process.poll() is not None:
                raise RuntimeError(f"sshd did not start: {self.log}")
            time.sleep(0.02)
        raise RuntimeError("sshd does not answer")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the server, and with SIGKILL those that serve connections too."""
        if self.process is None:
            return
        served = _descendants(self.process.pid) if how == signal.SIGKILL else []
        for pid in (self.process.pid, *served):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        self.process.wait()
        self.process = None

    def authorize(self, key: Path, command: str) -> str:
        """Let a key in, for one command alone. Returns the line of authorized_keys."""
        line = f'restrict,command="{command}" {key.with_suffix(".pub").read_text().strip()}'
        with (self.root / "authorized_keys").open("a") as file:
            file.write(f"{line}\n")
        return line

    def account(self, key: Path, timeout: float = 20) -> Account:
        return Account(self.host, self.port, self.user, key, self.known_hosts, timeout, pauses=(0.1, 0.2))

    def gate(self, directory: Path, *, before: str = "", options: str = "") -> Path:
        """A key for which a directory is behind the gate; ``before`` stands before the gate's command."""
        key = self.root / f"key-{len(list(self.root.glob('key-*.pub')))}"
        keygen(key)
        command = f"{before} {PYTHON} -I {GATE} {options} {directory}"
        self.authorize(key, " ".join(command.split()))
        return key

    def url(self, directory: Path, port: int | None = None) -> str:
        return f"ssh://{self.user}@{self.host}:{port or self.port}{directory}"


@contextlib.contextmanager
def running_sshd(root: Path, startups: str = MANY) -> Iterator[Sshd]:
    """An sshd that ends with the block, with all that it started."""
    server = Sshd(root, startups=startups)
    server.prepare()
    for attempt in range(5):
        try:
            server.start()
            break
        except RuntimeError:  # somebody else took the port meanwhile
            if attempt == 4:
                raise
            server.port = _free_port()
            server.trust()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)


def other_clock(seconds: int) -> dict[str, str]:
    """The environment of a program whose clock is so far off; empty where libfaketime is not installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        return {}
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{seconds:+d}", "NO_FAKE_STAT": "1"}


def keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _descendants(pid: int) -> list[int]:
    """The processes below one, the nearest first; one that ends meanwhile has none."""
    below = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                below += [child, *_descendants(child)]
    return below
