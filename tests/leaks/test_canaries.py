"""One canary in each place that a rule names, through normalise and sanitise: none comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaks.canaries import Planted
from tests.leaks.canary_reports import NO_NAME
from tests.leaks.conftest import Stages, told
from tests.leaks.sought import Sought
from tests.write_golden_reports import report_name


@pytest.fixture(scope="module")
def sought(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Sought:
    return planted.sought(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def stages(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    root = tmp_path_factory.mktemp("stages")
    planted.write(root / "raw")
    planted.sought(root)  # writes the tables
    made = Stages(root, root / "known_bridges.json")
    made.run(sorted(path for path in (root / "raw").iterdir() if path.name != NO_NAME))
    return made


def test_every_canary_is_in_the_raw_reports(planted: Planted, sought: Sought) -> None:
    """The search is not blind: it finds each in what went in. (Of some bridges no fingerprint is planted.)"""
    found = {
        hit.secret
        for name, content in planted.reports.items()
        for hit in sought.hits(f"{name} {content.decode('latin-1')}")
    }
    missing = [where for secret, where in planted.where.items() if secret not in found and len(secret) != 40]
    assert [where for where in missing if not where.startswith("entry ")] == []


def test_no_canary_comes_out(planted: Planted, stages: Stages, sought: Sought) -> None:
    findings = stages.findings(sought)
    if findings:
        pytest.fail(f"{len(findings)} leaks:\n{told(findings, planted)}", pytrace=False)


def test_most_of_it_does_come_out(planted: Planted, stages: Stages) -> None:
    """A sanitiser that holds everything leaks nothing too: entries of reports that ask nothing come out."""
    asking = {report_name(Path(name)) for name, about in planted.about.items() if "asks" in " ".join(about)}
    counts = [outcome.counts for name, outcome in stages.outcomes.items() if name not in asking]
    taken, out = sum(one.taken for one in counts), sum(one.out for one in counts)
    assert taken > 2_000
    assert out > 0.8 * taken, f"{out} of {taken} entries"
    quoted = "".join(path.read_text() for path in stages.sanitised.iterdir())
    assert [text for text in planted.quoted if text not in quoted] == []
