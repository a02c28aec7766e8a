"""A collector's machine: one directory, a luigi.cfg of one section, RenameReports as cron runs it."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.collector.layout import CollectorLayout

TOP = Path(__file__).resolve().parents[2]
LUIGI = Path(sys.executable).with_name("luigi")


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
        """Start RenameReports with cron's options and return at once."""
        return subprocess.Popen(
            [LUIGI, "--module", "tasks.rename", "RenameReports", "--bucket-date", str(bucket_date),
             "--local-scheduler", "--retcode-task-failed", "30", "--retcode-scheduling-error", "35",
             "--log-level", "WARNING", "--lock-pid-dir", str(self.root / "luigi-lock"), *more],
            cwd=self.root,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(TOP),
                "LUIGI_CONFIG_PATH": str(self.root / "luigi.cfg"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def rename(self, bucket_date: dt.date, *more: str, expect: int = 0) -> str:
        """Run it to its end; what it printed. Its exit status must be ``expect``."""
        process = self.start_rename(bucket_date, *more)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == expect, output
        return output
