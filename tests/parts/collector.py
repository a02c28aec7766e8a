"""The real ooni-collector, as a process of its own on free ports of the loopback."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ooni_pipeline.collector.layout import CollectorLayout

TOP = Path(__file__).resolve().parents[2]
_READY = re.compile(r"probes at (http://\S+), health and metrics at (http://\S+)")
#: Seconds that it may take to answer, or to stop.
_PATIENCE = 60.0


@dataclass
class Collector:
    """One collector: its files lie below ``root``, the directory that it works in is ``root/data``.

    ``options`` are those of [collector], ``bouncer`` those of [bouncer]. It keeps its ports when it is
    started again.
    """

    root: Path
    options: Mapping[str, object] = field(default_factory=dict)
    bouncer: Mapping[str, str] = field(default_factory=dict)
    #: What it is run with beside this environment.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: What is run, before its arguments.
    program: Sequence[str] = (sys.executable, "-m", "tasks.collector")
    url: str = ""
    admin_url: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def layout(self) -> CollectorLayout:
        return CollectorLayout(Path(str(self.options.get("directory", self.root / "data"))))

    @property
    def config(self) -> Path:
        return self.root / "collector.cfg"

    @property
    def log(self) -> str:
        """All that it ever wrote on standard error and output."""
        return (self.root / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, on the ports that it had before, and wait until its health answers."""
        assert self.process is None or self.process.poll() is not None, "it runs"
        self.write_config()
        said = len(self.log) if (self.root / "log").exists() else 0
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "--config", self.config],
                cwd=self.root,
                env={**os.environ, "PYTHONPATH": str(TOP), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            ready = _READY.search(self.log, said)
            if ready:
                self.url, self.admin_url = ready.groups()
                with contextlib.suppress(OSError):
                    self.health()
                    return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the collector does not start: {self.log[said:]}")

    def write_config(self) -> None:
        """The file that it is started with."""
        listen = {
            "listen": self.url.removeprefix("http://") or "127.0.0.1:0",
            "admin_listen": self.admin_url.removeprefix("http://") or "127.0.0.1:0",
        }
        options = {"directory": self.layout.directory, **listen, **self.options}
        lines = ["[collector]", *(f"{name} = {value}" for name, value in options.items())]
        lines += ["[bouncer]", *(f"{name} = {value}" for name, value in self.bouncer.items())]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def health(self) -> int:
        """The status of its health. Raises OSError when it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.admin_url}/health", timeout=10) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def metrics(self) -> dict[str, float]:
        """What Prometheus would read, by name and labels as they are written."""
        with urllib.request.urlopen(f"{self.admin_url}/metrics", timeout=10) as answer:  # noqa: S310
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] != "#"}

    def stop(self) -> int:
        """SIGTERM, as systemd does it. Returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(_PATIENCE)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


@contextlib.contextmanager
def running_collector(root: Path, **options: object) -> Iterator[Collector]:
    """One that runs as long as the block, below ``root``; for what is no test."""
    root.mkdir(parents=True, exist_ok=True)
    collector = Collector(root, options)
    collector.start()
    try:
        yield collector
    finally:
        collector.kill()


#: Starts a collector below a directory of its own; all of them are killed when the test ends.
StartCollector = Callable[..., Collector]


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[StartCollector]:
    """``start_collector(stale_seconds=5, bouncer={…})``: options of [collector] by name."""
    started: list[Collector] = []

    def start(
        bouncer: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = Collector.program,
        **options: object,
    ) -> Collector:
        root = tmp_path / f"collector-{len(started)}"
        root.mkdir()
        collector = Collector(root, options, bouncer or {}, environment or {}, program)
        started.append(collector)
        collector.start()
        return collector

    yield start
    for collector in started:
        collector.kill()


@pytest.fixture
def collector(start_collector: StartCollector) -> Collector:
    """One that runs with the defaults."""
    return start_collector()
