"""The short form and the full one; a pipeline of its own for each fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ooni_pipeline.database.embedded import EmbeddedServer
from tests.tasks.conftest import Pipeline, pipeline

__all__ = ["pipeline"]


@dataclass
class OwnServer(Pipeline):
    """A pipeline with a PostgreSQL of its own, which may be killed: ``[database] url = embedded``."""

    bin_dir: Path = Path()

    def configure(self, **changed: str) -> None:
        own = {"database__url": "embedded", "database__embedded_bin_dir": str(self.bin_dir)}
        super().configure(**{**own, **changed})

    @property
    def server(self) -> EmbeddedServer:
        return EmbeddedServer(self.layout.database(), self.bin_dir)


@pytest.fixture
def own_server(tmp_path: Path, postgres_bin_dir: Path) -> Iterator[OwnServer]:
    made = OwnServer(tmp_path, "", postgres_bin_dir)
    made.archive.mkdir(parents=True)
    made.configure()
    made.verb("migrate")
    made.url = made.server.url
    try:
        yield made
    finally:
        made.server.stop(timeout=20)
