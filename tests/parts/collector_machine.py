"""A collector's machine: one directory, a luigi.cfg of one section, and the line of its cron file."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.collector.layout import CollectorLayout

TOP = Path(__file__).resolve().parents[2]
CRON = (TOP / "deploy" / "cron" / "ooni-collector").read_text(encoding="utf-8")


def command(bucket_date: dt.date, *more: str) -> str:
    """What cron's shell gets at 00:30 of that date, with more options for luigi."""
    (found,) = re.findall(r"^30 0 \* \* \* bouncer (.*)$", CRON, re.MULTILINE)
    line = str(found).replace("\\%", "%")
    assert line.count("$(date -u +%F)") == 1
    line = line.replace("$(date -u +%F)", str(bucket_date))
    return line.replace("--log-level", " ".join([*more, "--log-level"]))


@dataclass
class CollectorMachine:
    """All of it lies below ``root``."""

    root: Path

    def __post_init__(self) -> None:
        self.layout.archive.mkdir(parents=True, exist_ok=True)
        (self.root / "luigi.cfg").write_text(f"[collector]\ndirectory = {self.layout.directory}\n")

    @property
    def layout(self) -> CollectorLayout:
        return CollectorLayout(self.root / "bouncer")

    def start_rename(self, bucket_date: dt.date, *more: str) -> subprocess.Popen[str]:
        """Start RenameReports as cron does and return at once."""
        return subprocess.Popen(
            ["sh", "-c", command(bucket_date, *more)],
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "HOME": os.environ.get("HOME", "/"),
                "PYTHONPATH": str(TOP),
                "LUIGI_CONFIG_PATH": str(self.root / "luigi.cfg"),
                "TMPDIR": str(self.root),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def rename(self, bucket_date: dt.date, *more: str, expect: int = 0) -> str:
        """Run it to its end; what cron would mail. Its exit status must be ``expect``."""
        process = self.start_rename(bucket_date, *more)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == expect, output
        return output
