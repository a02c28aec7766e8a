"""One canary in each place that a rule names, through normalise and sanitise: none comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaks.canaries import Planted
from tests.leaks.conftest import Stages, told
from tests.leaks.scan import Search
from tests.leaks.sought import Sought


@pytest.fixture(scope="module")
def sought(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Sought:
    return planted.sought(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def stages(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    root = tmp_path_factory.mktemp("stages")
    planted.write(root / "raw")
    planted.sought(root)  # writes the tables
    made = Stages(root, root / "known_bridges.json")
    made.run(sorted(path for path in (root / "raw").iterdir() if path.name != "planted report.json"))
    return made


def test_every_canary_is_in_the_raw_reports(planted: Planted, sought: Sought, tmp_path: Path) -> None:
    """The search is not blind: it finds each in what went in. (Of some bridges no fingerprint is planted.)"""
    planted.write(tmp_path)
    found = {finding.hit.secret for finding in Search(sought).through(tmp_path)}
    missing = [where for secret, where in planted.where.items() if secret not in found and len(secret) != 40]
    assert [where for where in missing if not where.startswith("entry ")] == []


def test_no_canary_comes_out(planted: Planted, stages: Stages, sought: Sought) -> None:
    findings = stages.findings(sought)
    if findings:
        pytest.fail(f"{len(findings)} leaks:\n{told(findings, planted)}", pytrace=False)


def test_most_of_it_does_come_out(planted: Planted, stages: Stages) -> None:
    """A sanitiser that holds everything leaks nothing too: entries without oracles are published."""
    taken = sum(outcome.counts.taken for outcome in stages.outcomes.values())
    out = sum(outcome.counts.out for outcome in stages.outcomes.values())
    assert taken > 2_000
    assert out > 0.8 * taken, f"{out} of {taken} entries"
    quoted = "".join(path.read_text() for path in stages.sanitised.iterdir())
    assert [text for text in planted.quoted if text not in quoted] == []
