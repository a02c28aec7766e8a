"""Reports that nobody made for this: the demo's, the golden cases, the corpus, and what a fuzzer makes of it.

They hold no canaries. Bridges of the table, what each report reveals as its own, and listed headers are
looked for in what would be published of them.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.corpus_reports import CORPUS, MISSING, write_reports
from tests.fuzz.mutate import Mutator, Seed, seeds, with_entries
from tests.leaks.canaries import Planted
from tests.leaks.conftest import Stages, told
from tests.leaks.scan import Search
from tests.leaks.sought import Sought
from tests.tasks.conftest import DEMO
from tests.write_golden_reports import BRIDGE_TABLE, cases, raw_of


def nothing_leaks(stages: Stages) -> None:
    sought = Sought()
    sought.add_table(stages.table)
    if findings := stages.findings(sought):
        leaks = told(findings, Planted())
        pytest.fail(f"{len(findings)} leaks below {stages.root}:\n{leaks}", pytrace=False)


def revealing(stages: Stages) -> int:
    """How many reports reveal an address as their own."""
    search = Search(Sought())
    search.read_private(stages.normalised)
    return sum(bool(report.own) for report in search.reports.values())


def test_demo(tmp_path: Path) -> None:
    stages = Stages(tmp_path, DEMO / "bridge_table.json")
    archive = DEMO / "collector" / "archive"
    stages.run(sorted(path for path in archive.iterdir() if path.name != "my report.json"))
    assert len(stages.outcomes) > 60
    assert revealing(stages) >= 3
    nothing_leaks(stages)


def test_golden_cases(tmp_path: Path) -> None:
    stages = Stages(tmp_path, BRIDGE_TABLE)
    stages.run(map(raw_of, cases()))
    assert len(stages.outcomes) > 60
    assert revealing(stages) >= 3
    nothing_leaks(stages)


@pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING)
def test_corpus(tmp_path: Path) -> None:
    reports = write_reports(tmp_path / "raw")
    stages = Stages(tmp_path, BRIDGE_TABLE)
    stages.run(tmp_path / "raw" / report.name for report in reports)
    assert len(stages.outcomes) > 100
    assert revealing(stages) >= 10
    nothing_leaks(stages)


def test_fuzzed_reports(tmp_path: Path, planted: Planted) -> None:
    """Canary reports are among the seeds: where their texts end up is the fuzzer's doing, but no address of
    a known bridge and none that a report reveals may come out of whatever becomes of them."""
    planted.sought(tmp_path)  # writes the table
    chance = random.Random(20160801)  # noqa: S311 - the same reports every time
    contents = sorted(planted.reports.items())
    known = seeds() + [Seed(content, name.rpartition(".")[2], ()) for name, content in contents]
    mutator = Mutator(chance, [with_entries(seed, tmp_path / "seed") for seed in known])
    raw = tmp_path / "raw"
    raw.mkdir()
    extensions: Counter[str] = Counter()
    for number in range(600):
        content, extension = mutator.report()
        extensions[extension] += 1
        (raw / f"20160801T000000Z-tcp_connect-fuzz{number}-AS1-GR-probe-0.2.0.{extension}").write_bytes(
            content
        )
    stages = Stages(tmp_path, tmp_path / "known_bridges.json")
    stages.run(sorted(raw.iterdir()))
    assert min(extensions.values()) > 100
    assert sum(outcome.counts.out for outcome in stages.outcomes.values()) > 1000
    assert revealing(stages) > 30
    nothing_leaks(stages)
