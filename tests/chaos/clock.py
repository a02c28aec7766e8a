"""A clock that a test sets, for all that the pipeline runs; and the nights as cron starts them."""

from __future__ import annotations

import configparser
import datetime as dt
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tasks.conftest import TOP, Pipeline

CRON = TOP / "deploy" / "cron" / "ooni-pipeline"


@dataclass
class Clock:
    """The clock of the processes of one pipeline. Those of PostgreSQL and of the test itself stay right."""

    pipeline: Pipeline

    def __post_init__(self) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        if not found:
            pytest.skip("no faketime here: apt-get install faketime")
        self.pipeline.more = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # a clock that is set anew is seen after a second
            "TZ": "UTC",
        }

    @property
    def _file(self) -> Path:
        return self.pipeline.root / "clock"

    def set(self, now: dt.datetime) -> None:
        """Set it to a UTC time, for processes that run already, too."""
        away = (now - dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)).total_seconds()
        part = self._file.with_suffix(".part")
        part.write_text(f"{away:+.3f}\n")
        part.replace(self._file)

    def at(self, day: dt.date, hour: int, minute: int = 0, second: int = 0) -> None:
        self.set(dt.datetime(day.year, day.month, day.day, hour, minute, second))


def deployed(pipeline: Pipeline, **changed: str) -> None:
    """Configure the pipeline by luigi.cfg as it is shipped, with its own options over it."""
    pipeline.configure(check__free_percent="0", **changed)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read([TOP / "luigi.cfg", pipeline.root / "luigi.cfg"], encoding="utf-8")
    with (pipeline.root / "luigi.cfg").open("w", encoding="utf-8") as file:
        parser.write(file)


def cron(pipeline: Pipeline, hour: int) -> tuple[int, str]:
    """Run what cron starts at an hour, as its line stands there; exit status, and what it would mail."""
    pattern = rf"^0 {hour} \* \* \* ooni (.*)$"
    (line,) = re.findall(pattern, CRON.read_text(encoding="utf-8"), re.MULTILINE)
    path = f"{Path(sys.executable).parent}:{pipeline.environment()['PATH']}"
    before, pipeline.more = pipeline.more, {**pipeline.more, "PATH": path}
    try:
        process = pipeline.start("/bin/sh", "-c", line.replace(r"\%", "%"))
    finally:
        pipeline.more = before
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def until_exists(path: Path, seconds: float = 60) -> None:
    """Wait until a file or directory is there."""
    begin = time.monotonic()
    while not path.exists():
        assert time.monotonic() - begin < seconds, f"{path} did not appear"
        time.sleep(0.01)
