"""A pipeline, collectors and a backup that are directories, and what can go wrong with them."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.collectors import Collector, DirectoryCollector, Listed
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan
from ooni_pipeline.transfer.stores import DirectoryStore

DATE = dt.date(2016, 8, 1)
NOW = dt.datetime(2016, 8, 1, 4)
KEY = b"k" * 32


def report_name(number: int = 0, extension: str = "json") -> str:
    """The name of a report as collectors write it."""
    return f"20160731T0000{number:02}Z-http_host-id{number}-AS1-GR-probe-0.2.0.{extension}"


def written(number: int = 0, extension: str = "json", mark: str = "") -> str:
    """The name of the same report as we write it."""
    return f"20160731T0000{number:02}-http_host-id{number}{mark}-AS1-GR-probe-0.2.0.{extension}"


class Machine(DirectoryCollector):
    """A collector that can be told to fail."""

    def __init__(
        self, directory: Path, name: str | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__(directory, name or directory.name, clock)
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.copies = 0
        self.down = False
        self.before_copy: Callable[[int, str], None] = lambda number, path: None
        self.after_copy: Callable[[int, str, Path], None] = lambda number, path, destination: None

    def holds(self, *numbers: int, text: str = "") -> Machine:
        for number in numbers:
            (self.directory / report_name(number)).write_text(text or f'{{"number": {number}}}\n')
        return self

    def list(self) -> Iterator[Listed]:
        self._reach()
        yield from super().list()

    def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
        self._reach()
        return super().digests(paths)

    def copy(self, files: Mapping[str, Path]) -> None:
        for path, destination in files.items():
            self._reach()
            self.before_copy(self.copies, path)
            super().copy({path: destination})
            self.after_copy(self.copies, path, destination)
            self.copies += 1

    def remove(self, files: Mapping[str, str]) -> dict[str, str]:
        self._reach()
        return super().remove(files)

    def _reach(self) -> None:
        if self.down:
            raise TransferError(f"collector {self.name}: no route to host")


class Pipeline:
    """The tasks' way through fetch, without tasks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(private=root / "private", public=root / "public")
        self.collector = Machine(root / "athens")
        self.other = Machine(root / "berlin")
        self.store = DirectoryStore(root / "backup")

    def key(self) -> bytes:
        return id_key(self.layout.id_key())

    def fetch(
        self, *collectors: Collector, date: dt.date = DATE, add: bool = True, now: dt.datetime = NOW
    ) -> Manifest:
        machines = collectors or (self.collector,)
        plan = make_plan(self.layout, date, machines, KEY, add=add)
        return fetch_bucket(self.layout, plan, machines, KEY, now)

    def raw(self, date: dt.date = DATE) -> Path:
        return self.layout.bucket(Stage.RAW, date)

    def names(self, date: dt.date = DATE) -> list[str]:
        """What lies in the raw bucket, hidden or not."""
        return sorted(path.name for path in self.raw(date).iterdir())

    def proof(self, stage: Stage = Stage.RAW, date: dt.date = DATE) -> Path:
        return self.layout.manifest(stage, date)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)


def die(*_: Any) -> None:
    """kill -9 of this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def by_report(manifest: Manifest) -> dict[str, Any]:
    return {record.report: record for record in manifest.reports}
