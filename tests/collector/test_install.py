"""The script that makes a collector's machine: what it writes here is written for real, below a directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ooni_pipeline.collector.layout import CollectorLayout
from tests.conftest import Start

TOP = Path(__file__).resolve().parents[2]
INSTALL = (TOP / "deploy" / "collector" / "install").read_text(encoding="utf-8")
#: Of the script, what it writes; the rest installs programs and starts them.
WRITES = ("install -d ", "[ -e ", "sed ", "grep -q ")
#: Accounts that nobody has: the collector's with its group, one that fetches, a stranger.
BOUNCER, GROUP, SYNC, STRANGER = 64001, 64001, 64002, 64003


@pytest.fixture
def machine() -> Iterator[Path]:
    """A root of a machine that any account can reach (the directories of pytest are for their owner)."""
    with tempfile.TemporaryDirectory(prefix="ooni-install-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        for place in ("etc/nginx/conf.d", "data"):
            (root / place).mkdir(parents=True)
        (root / "etc/fstab").write_text("/dev/vda1 / ext4 defaults 0 1\n")
        yield root


def install(root: Path) -> None:
    """Run what the script writes, twice."""
    body = INSTALL.partition("set -eu\n")[2]
    lines = [line for line in body.splitlines() if line.startswith((*WRITES, "host="))]
    assert len(lines) == 7
    text = "\n".join(lines)
    for shown, here in {
        r" /(etc|data)/": rf" {root}/\1/", "-o bouncer -g bouncer": f"-o {BOUNCER} -g {GROUP}",
        "host=collector.example": "host=c1.example.net",
    }.items():  # fmt: skip
        text = re.sub(shown, here, text)
    for _ in range(2):
        subprocess.run(["sh", "-euc", text], cwd=TOP, check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give directories to others")
def test_directories_are_for_whom_they_are(machine: Path, start: Start) -> None:
    install(machine)
    layout = CollectorLayout(machine / "data" / "bouncer")
    report = layout.renamed / "report.json"

    def the_collector_works() -> None:
        layout.prepare()
        (layout.archive / "waiting.json").write_text("{}")
        report.write_text("{}")
        report.chmod(0o640)

    def who_fetches_reads_and_removes() -> None:
        assert report.read_text() == "{}"
        _refused(lambda: list(layout.archive.iterdir()))
        _refused(lambda: list(layout.staging.iterdir()))
        _refused(lambda: (layout.directory / "new").touch())
        report.unlink()

    def a_stranger_sees_nothing() -> None:
        _refused(lambda: list(layout.directory.iterdir()))
        _refused(lambda: list(layout.renamed.iterdir()))

    for account, groups, does in (
        (BOUNCER, [], the_collector_works),
        (SYNC, [GROUP], who_fetches_reads_and_removes),
        (STRANGER, [], a_stranger_sees_nothing),
    ):
        process = start(_as, account, groups, does)
        process.join(30)
        assert process.exitcode == 0, does.__name__
    assert not report.exists()


def _as(account: int, groups: list[int], does: Callable[[], None]) -> None:
    os.setgroups(groups)
    os.setgid(account)
    os.setuid(account)
    does()


def _refused(act: Callable[[], object]) -> None:
    with pytest.raises(PermissionError):
        act()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give directories to others")
def test_what_it_writes_fits_and_is_written_once(machine: Path) -> None:
    install(machine)
    config = machine / "etc/ooni-pipeline/luigi.cfg"
    command = [sys.executable, "-m", "tasks.collector", "--check", "--config", str(config)]
    config.write_text(config.read_text().replace("/data/bouncer", f"{machine}/data/bouncer"))
    said = subprocess.run(command, cwd=TOP, check=False, capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")
    assert f"reports in {machine}/data/bouncer" in said.stdout and "names 1 collectors" in said.stdout
    assert (machine / "etc/fstab").read_text().count("/run/ooni-bodies") == 1
    for written in (config, machine / "etc/nginx/conf.d/ooni-collector.conf"):
        text = written.read_text()
        assert "c1.example.net" in text and "collector.example" not in text
    config.write_text("[collector]\n")  # what the operator made of it
    install(machine)
    assert config.read_text() == "[collector]\n"
