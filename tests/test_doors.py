"""Doors and homes: which room may import which, and the one home of each outside library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]

#: room -> the rooms of ooni_pipeline that it may import, beside itself and errors.
DOORS = {
    "errors": set(),
    "patterns": set(),
    "report": set(),
    "bucket": {"report"},
    "collector": {"report", "bucket"},
    "site": {"report", "bucket", "database"},
    "transfer": {"report", "bucket", "site"},
    "normalise": {"report"},
    "sanitise": {"report", "patterns"},
    "fingerprints": {"patterns"},
    "database": {"report", "fingerprints"},
    "remote": set(),
}  # fmt: skip

#: outside library -> the module or package that alone may import it.
HOMES = {
    "luigi": "tasks",
    "tqdm": "tasks",
    "psycopg2": "ooni_pipeline/database",
    "boto3": "ooni_pipeline/remote/s3",
    "botocore": "ooni_pipeline/remote/s3",
    "paramiko": "ooni_pipeline/remote/ssh",
    "pyrage": "ooni_pipeline/remote/age",
    "yaml": "ooni_pipeline/report/yaml_reports",
    "ujson": "ooni_pipeline/report/json_lines",
    "re2": "ooni_pipeline/patterns",
    "fastapi": "ooni_pipeline/collector/http",
    "starlette": "ooni_pipeline/collector/http",
    "uvicorn": "ooni_pipeline/collector/http",
    "httptools": "ooni_pipeline/collector/http",
    "uvloop": "ooni_pipeline/collector/http",
    "pydantic": "ooni_pipeline/collector/http",
    "zstandard": "ooni_pipeline/collector/http/body",
    "prometheus_client": "ooni_pipeline/collector/http/metrics",
}

#: task module -> the only stage that it imports. What comes after it, not beside it.
UPSTREAM = {
    "rename": set(),  # on the collector's machine
    "fetch": set(),
    "backup": {"fetch"},
    "normalise": {"fetch"},
    "sanitise": {"normalise"},
    "publish": {"sanitise"},
    "load": {"sanitise"},
    "refresh": {"load", "backup"},
    "site": {"publish", "refresh"},
    "nightly": {"backup", "site"},
}
STAGES = set(UPSTREAM)

PURE = sorted((TOP / "ooni_pipeline").rglob("*.py"))
TASKS = sorted((TOP / "tasks").glob("*.py"))


def imported(path: Path) -> set[str]:
    """The full names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def label(path: Path) -> str:
    return path.relative_to(TOP).as_posix()


@pytest.mark.parametrize("path", PURE, ids=label)
def test_doors(path: Path) -> None:
    parts = path.relative_to(TOP / "ooni_pipeline").with_suffix("").parts
    room = parts[0]
    if room == "__init__":
        return
    for name in imported(path):
        assert name.split(".")[0] != "tasks", f"{label(path)} imports {name}: nobody imports tasks"
        if name.startswith("ooni_pipeline."):
            other = name.split(".")[1]
            assert other in {room, "errors"} | DOORS[room], f"{label(path)} may not import {name}"


@pytest.mark.parametrize("path", TASKS, ids=label)
def test_each_stage_imports_only_its_upstream(path: Path) -> None:
    if path.stem in UPSTREAM:
        stages = {name.split(".")[1] for name in imported(path) if name.startswith("tasks.")} & STAGES
        assert stages <= UPSTREAM[path.stem], f"{label(path)} imports {stages}"


@pytest.mark.parametrize("path", PURE + TASKS, ids=label)
def test_homes(path: Path) -> None:
    for name in imported(path):
        library = name.split(".")[0]
        if library in sys.stdlib_module_names or library in ("ooni_pipeline", "tasks"):
            continue
        assert library in HOMES, f"{label(path)} imports {library}, which has no home"
        place = path.relative_to(TOP).with_suffix("").as_posix()
        home = HOMES[library]
        assert place == home or place.startswith(f"{home}/"), f"{library} lives in {home}, not in {place}"


@pytest.mark.parametrize("path", PURE, ids=label)
def test_the_pure_rooms_read_no_clock_and_no_environment(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # What a file does when it is run as a program of its own hands the world in.
    tree.body = [node for node in tree.body if not _runs_as_a_program(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            assert name not in ("os.environ", "os.getenv", "time.time"), f"{label(path)}: {name}"
            assert node.attr not in ("now", "utcnow", "today"), f"{label(path)}: {name}"


def _runs_as_a_program(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def test_no_room_is_a_drawer_for_odds_and_ends() -> None:
    for path in PURE + TASKS:
        assert not {"utils", "helpers", "common", "misc"} & set(path.with_suffix("").parts), label(path)
