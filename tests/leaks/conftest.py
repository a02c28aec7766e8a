"""Raw reports through normalise and sanitise, and the second search over what would be published.

This file and the tests import the pipeline; the search that they call does not.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ooni_pipeline.database.embedded import LOG_NAME
from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.reports import sanitise_report
from ooni_pipeline.sanitise.settings import Settings
from tests.conftest import migrated_database
from tests.leaks.canaries import Planted
from tests.leaks.canary_reports import canary_reports
from tests.leaks.scan import Finding, Search
from tests.leaks.sought import Sought
from tests.tasks.conftest import DEMO, Pipeline
from tests.write_golden_reports import BUCKET_DATE, KEY, report_name


@dataclass
class Stages:
    """Two stages below ``root``; ``normalised`` and ``sanitised`` are the directories of their files."""

    root: Path
    table: Path
    settings: Settings = field(default_factory=Settings)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def normalised(self) -> Path:
        return self.root / "normalised"

    @property
    def sanitised(self) -> Path:
        return self.root / "sanitised"

    def run(self, reports: Iterable[Path]) -> None:
        """Take raw reports through both stages."""
        for raw in reports:
            name = report_name(raw)
            job = self._job(name, raw, self.normalised)
            if normalise_report(job, key=KEY).digest:
                self.sanitise(name)

    def sanitise(self, name: str, *, released: bool = False) -> None:
        """Sanitise one normalised report; ``released`` as after a person has looked at it."""
        digest = _digest(self.table)
        job = self._job(name, self.normalised / f"{name}.json", self.sanitised)
        self.outcomes[name] = sanitise_report(
            job,
            table=self.table,
            digest=digest,
            settings=self.settings,
            released=frozenset([name] if released else []),
        )

    def _job(self, name: str, source: Path, stage: Path) -> Job:
        stage.mkdir(parents=True, exist_ok=True)
        kept = (self.root / "rejected", self.root / "held")
        return Job(name, BUCKET_DATE, source, stage / f"{name}.json", *kept)

    def findings(self, sought: Sought) -> list[Finding]:
        """What the second search finds in what would be published."""
        search = Search(sought)
        search.read_private(self.normalised)
        return list(search.through(self.sanitised))


@functools.cache
def _digest(table: Path) -> str:
    return load_bridge_table(table).digest


@pytest.fixture(scope="session")
def planted() -> Planted:
    """The canary reports."""
    return canary_reports()


def told(findings: Iterable[Finding], planted: Planted) -> str:
    """Findings by what they are, for a person: how often, where it was planted, and the first place of each
    kind."""
    counts: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        where = planted.where.get(finding.hit.secret, finding.hit.what)
        kind = "".join(finding.file.suffixes[-2:])
        counts[where, finding.hit.spelling, kind] += 1
        first.setdefault((where, finding.hit.spelling, kind), finding)
    lines = []
    for key in sorted(counts):
        one = first[key]
        place = f"{one.file.name}:{one.line}"
        lines.append(f"{counts[key]} times {key[0]!r} ({key[1]}): {place} {one.hit.secret}")
    return "\n".join(lines)


@dataclass
class WatchedPipeline(Pipeline):
    """A pipeline over canary reports; what its commands print is kept, their temporary files are its own."""

    planted: Planted = field(default_factory=Planted)
    printed: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        (self.root / "tmp").mkdir(exist_ok=True)
        return {**super().environment(), "TMPDIR": str(self.root / "tmp")}

    def _ended(self, process: subprocess.Popen[str], expect: int | None) -> str:
        output = super()._ended(process, expect)
        self.printed.append(output)
        return output

    @property
    def bridge_table(self) -> Path:
        """The demo's bridges and those that are planted."""
        path = self.root / "bridges.json"
        demo = json.loads((DEMO / "bridge_table.json").read_bytes())
        path.write_text(json.dumps({**demo, **self.planted.known}))
        return path

    def receive_canaries(self, each: int = 1) -> None:
        self.planted.write(self.archive, each)

    def leaks(self) -> str:
        """What is found of everything planted wherever nothing of it may be; of what may be published, in
        logs, manifests and temporary files. (Manifests name reports, whatever a probe called them.)"""
        found = list(self.published())
        tables = self._tables()
        quiet = Search(self.planted.sought(tables, quoted=True))
        seen = self.root / "seen"
        (seen / "output.log").write_text("\n".join(self.printed))
        shutil.copyfile(self._server_log(), seen / "server.log")
        logs = (seen / "output.log", seen / "server.log", self.root / "luigid", self.root / "tmp")
        for place in logs:
            if place.exists():
                found += quiet.through(place)
        names = {hit.secret for name in self.planted.reports for hit in quiet.sought.hits(name)}
        manifests = self.layout.private / "manifests"
        if manifests.exists():
            found += [one for one in quiet.through(manifests) if one.hit.secret not in names]
        return told(found, self.planted)

    def published(self) -> Iterator[Finding]:
        """What is found of it on the mirror, and in every row of every table and view."""
        search = Search(self.planted.sought(self._tables()))
        search.sought.add_table(DEMO / "bridge_table.json")
        normalised = self.layout.private / "normalised"
        if normalised.exists():
            search.read_private(normalised)
        (self.root / "seen").mkdir(exist_ok=True)
        self._dump(self.root / "seen" / "rows")
        for place in (self.root / "seen" / "rows", self.layout.public):
            if place.exists():
                yield from search.through(place)

    def _tables(self) -> Path:
        tables = self.root / "tables"
        tables.mkdir(exist_ok=True)
        return tables

    def _server_log(self) -> Path:
        ((directory,),) = self.query("SHOW data_directory")
        return Path(directory) / LOG_NAME

    def _dump(self, directory: Path) -> None:
        """Every row of every table and view, as text."""
        directory.mkdir(exist_ok=True)
        relations = self.query(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_|information_schema' ORDER BY 1"
        )
        for (relation,) in relations:
            with (directory / relation).open("w") as dump:
                dump.writelines(f"{row}\n" for (row,) in self.query(f"SELECT r::text FROM {relation} r"))


@contextlib.contextmanager
def watched_pipeline(root: Path, url: str, planted: Planted) -> Iterator[WatchedPipeline]:
    """A configured pipeline with a migrated database and an empty collector."""
    with migrated_database(url) as database_url:
        made = WatchedPipeline(root, database_url, planted)
        made.archive.mkdir(parents=True)
        made.configure(sanitise__bridge_table=str(made.bridge_table))
        yield made


@pytest.fixture
def watched(tmp_path: Path, postgres_url: str, planted: Planted) -> Iterator[WatchedPipeline]:
    """One for a test alone."""
    with watched_pipeline(tmp_path, postgres_url, planted) as made:
        yield made


def nothing_leaks(watched: WatchedPipeline) -> None:
    """Fails with what is found."""
    if leaks := watched.leaks():
        pytest.fail(f"leaks:\n{leaks}", pytrace=False)


def bad_tables(watched: WatchedPipeline) -> dict[str, str]:
    """Bridge tables that cannot be used, by what is wrong with them; each quotes a bridge."""
    place, bridge = next(iter(watched.planted.known.items()))
    return {
        "cut": f'{{"{place}": {{"fingerprint": "{bridge["fingerprint"]}", "dis',
        "no fingerprint": f'{{"{place}": {{"fingerprint": "{bridge["fingerprint"][:-1]}canary00000z"}}}}',
        "no address": f'{{"{place} canary00000z": {{"fingerprint": "{bridge["fingerprint"]}"}}}}',
        "empty": "{}",
        "no JSON": f"{place} {bridge['fingerprint']}",
    }
