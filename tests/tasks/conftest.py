"""A pipeline of its own for each test: directories, a luigi.cfg, the commands as an operator types them."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest

TOP = Path(__file__).resolve().parents[2]
DEMO = TOP / "tests" / "fixtures" / "demo"
LUIGI = Path(sys.executable).with_name("luigi")


@dataclass
class Pipeline:
    """One pipeline below ``root``, with the database at ``url``."""

    root: Path
    url: str
    #: More of the environment of what is run.
    more: dict[str, str] = field(default_factory=dict, kw_only=True)

    @property
    def archive(self) -> Path:
        return self.root / "collector" / "archive"

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "private", self.root / "public")

    @property
    def today(self) -> dt.date:
        return dt.datetime.now(dt.timezone.utc).date()

    def configure(self, **changed: str) -> None:
        """Write luigi.cfg; ``section__option="value"`` changes one line, ``None`` would leave it out."""
        options = {
            "paths__private": str(self.root / "private"),
            "paths__public": str(self.root / "public"),
            "fetch__collectors": str(self.archive),
            "fetch__settle_seconds": "0",
            "backup__url": str(self.root / "backup"),
            "sanitise__bridge_table": str(DEMO / "bridge_table.json"),
            "database__url": self.url,
            "processing__processes": "2",
            "core__no_lock": "true",
            **changed,
        }
        sections: dict[str, list[str]] = {}
        for name, value in options.items():
            section, option = name.split("__")
            sections.setdefault(section, []).append(f"{option} = {value.replace('%', '%%')}")
        lines = [line for section, lines in sections.items() for line in (f"[{section}]", *lines)]
        (self.root / "luigi.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        # This tree's code, not that of another checkout which the environment has installed.
        return {
            **kept,
            "LUIGI_CONFIG_PATH": str(self.root / "luigi.cfg"),
            "PYTHONPATH": str(TOP),
            **self.more,
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the project's top directory, where its luigi.cfg is read first."""
        return subprocess.Popen(
            command,
            cwd=TOP,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, expect: int | None = 0) -> str:
        """Run a command to its end and return what it printed; its exit status must be ``expect``."""
        return self._ended(self.start(*command), expect)

    def _ended(self, process: subprocess.Popen[str], expect: int | None) -> str:
        output, _ = process.communicate(timeout=300)
        if expect is not None and process.returncode != expect:
            pytest.fail(f"exit status {process.returncode} of {process.args!r}:\n{output}")
        return output

    def luigi(self, *arguments: str, expect: int | None = 0) -> str:
        return self.run(str(LUIGI), *arguments, expect=expect)

    def start_night(self, *more: str, bucket_date: dt.date | None = None) -> subprocess.Popen[str]:
        """Start the night of a bucket (today's) and return at once."""
        date = str(bucket_date or self.today)
        return self.start(str(LUIGI), "--module", "tasks.nightly", "Nightly", "--bucket-date", date, *more)

    def nightly(self, bucket_date: dt.date | None = None, *more: str, expect: int | None = 0) -> str:
        return self._ended(self.start_night(*more, bucket_date=bucket_date), expect)

    def verb(self, name: str, *arguments: object, expect: int | None = 0) -> str:
        return self.run(sys.executable, "-m", f"tasks.{name}", *map(str, arguments), expect=expect)

    def receive(self, *names: str, source: Path = DEMO / "collector" / "archive") -> None:
        """Put reports into the collector's archive: all of the demo's, or those with a part in the name."""
        self.archive.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.rglob("*")):
            if path.is_file() and (not names or any(name in path.name for name in names)):
                shutil.copyfile(path, self.archive / path.name)

    def put_raw(self, bucket_date: dt.date, *names: str) -> None:
        """Put reports into a raw bucket by hand, as an operator with ten years of them has them."""
        directory = self.layout.bucket(Stage.RAW, bucket_date)
        directory.mkdir(parents=True, exist_ok=True)
        for path in sorted((DEMO / "collector" / "archive").iterdir()):
            if any(name in path.name for name in names):
                (directory / path.name).write_bytes(path.read_bytes())

    def manifest(self, stage: Stage, bucket_date: dt.date | None = None) -> Manifest:
        return Manifest.read(self.layout.manifest(stage, bucket_date or self.today))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    def everything(self) -> Any:
        """Every file of the private tree with its time (but locks, which looking makes), and the markers."""
        files = {
            path: path.stat().st_mtime_ns
            for path in self.layout.private.rglob("*")
            if path.is_file() and path.parent.name != "locks"
        }
        return files, self.query("SELECT * FROM loads ORDER BY 1")

    def change(self, sql: str) -> None:
        """Run a statement as somebody with psql would."""
        with (
            contextlib.closing(psycopg2.connect(self.url)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)

    def rows_digest(self) -> str:
        """One digest over every row of metrics and of the small tables, in order."""
        rows: list[tuple[Any, ...]] = []
        rows += self.query("SELECT metrics::text FROM metrics ORDER BY bucket_date, id")
        for table in ("fingerprint_matches", "report_totals", "country_totals"):
            rows += self.query(f"SELECT {table}::text FROM {table} ORDER BY 1")
        return hashlib.sha256(repr(rows).encode()).hexdigest()


@pytest.fixture
def pipeline(tmp_path: Path, migrated_url: str) -> Iterator[Pipeline]:
    """A configured pipeline with a migrated database and an empty collector."""
    made = Pipeline(tmp_path, migrated_url)
    made.archive.mkdir(parents=True)
    made.configure()
    yield made
