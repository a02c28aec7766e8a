"""Raw reports through normalise and sanitise, and the second search over what would be published.

This file and the tests import the pipeline; the search that they call does not.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.reports import sanitise_report
from tests.leaks.canaries import Planted
from tests.leaks.canary_reports import canary_reports
from tests.leaks.scan import Finding, Search
from tests.leaks.sought import Sought
from tests.write_golden_reports import BUCKET_DATE, KEY, report_name


@dataclass
class Stages:
    """Two stages below ``root``; ``normalised`` and ``sanitised`` are the directories of their files."""

    root: Path
    table: Path
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

    def sanitise(self, name: str) -> None:
        """Sanitise one normalised report."""
        digest = _digest(self.table)
        job = self._job(name, self.normalised / f"{name}.json", self.sanitised)
        self.outcomes[name] = sanitise_report(job, table=self.table, digest=digest)

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
    """Findings by what they are, for a person: how often, where it was planted, and the first place."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        where = planted.where.get(finding.hit.secret, finding.hit.what)
        key = (where, finding.hit.spelling)
        counts[key] += 1
        first.setdefault(key, finding)
    lines = []
    for where, spelling in sorted(counts):
        one = first[where, spelling]
        place = f"{one.file.name}:{one.line}"
        lines.append(f"{counts[where, spelling]} times {where} ({spelling}): {place} {one.hit.secret}")
    return "\n".join(lines)
