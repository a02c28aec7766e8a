"""Ten seconds of ``python -m tests.fuzz``, as a process of its own: an input may kill it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.report import json_lines
from tests.fuzz.mutate import Mutator, seeds, with_entries

TOP = Path(__file__).resolve().parents[1]


def test_ten_seconds_of_mutated_reports(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    command = [sys.executable, "-m", "tests.fuzz", "10", "--keep", str(keep)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"look below {keep}:\n{done.stdout}\n{done.stderr}"
    assert "faults: 0" in done.stdout
    assert int(done.stdout.split()[0]) > 50, "hardly anything was tried"


def test_the_same_chance_gives_the_same_reports(tmp_path: Path) -> None:
    known = [with_entries(seed, tmp_path / "seed") for seed in seeds()[:20]]
    one, other = (Mutator(random.Random(5), known) for _ in range(2))  # noqa: S311
    assert [one.report() for _ in range(200)] == [other.report() for _ in range(200)]


def nodes(value: Any) -> int:
    """Every key, value and container, counted one by one."""
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(nodes, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(nodes, value))
    return 1


def values(value: Any) -> int:
    """Every key, and every value that is no container."""
    if isinstance(value, dict):
        return len(value) + sum(map(values, value.values()))
    return sum(map(values, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64])
def test_nodes_are_counted_without_parsing(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for containers: what is first in one has no comma, one that is not first has a mark too many."""
    monkeypatch.setattr(json_lines, "_READ", piece)
    chance = random.Random(piece)  # noqa: S311
    texts = ("", "a", "\\", '"', '\\"', ',"', "[{", "\\\\", ":,", "é\n")

    def made(depth: int) -> Any:
        kind = chance.randrange(6 if depth else 3)
        if kind < 3:
            return (chance.choice(texts), 1.5, None)[kind]
        if kind < 5:
            return [made(depth - 1) for _ in range(chance.randrange(4))]
        return {chance.choice(texts) + str(key): made(depth - 1) for key in range(chance.randrange(4))}

    for _ in range(300):
        value = made(4)
        line = json_lines.dumps(value).encode()
        containers = nodes(value) - values(value)
        assert abs(nodes(value) - json_lines._nodes(line)) <= containers + 1
