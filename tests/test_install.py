"""``pip install .`` brings everything: the wheel works from any directory, without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]

LOOK = """
import tasks, ooni_pipeline
from ooni_pipeline.database.statements import statement, sql_directory
from ooni_pipeline.fingerprints import load_fingerprints
from ooni_pipeline.sanitise import Sanitiser
from ooni_pipeline.sanitise.bridges import BridgeTable
print(ooni_pipeline.__file__, tasks.__file__, sql_directory())
assert statement("views/refresh") and sorted((sql_directory() / "schema").glob("*.sql"))
assert load_fingerprints().blockpages
assert Sanitiser(BridgeTable.of([]))
"""


def test_the_wheel_is_complete(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(_copy(tmp_path)),
    ]
    subprocess.run(build, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, cwd=tmp_path)
    for tree, place in (("ooni_pipeline", "ooni_pipeline"), ("tasks", "tasks"), ("sql", "ooni_pipeline/sql")):
        assert _files(TOP / tree) - _files(site / place) == set(), f"setup.cfg leaves out files of {tree}"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    shown = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert all(place.startswith(str(site)) for place in shown.split()), shown
    luigi = [
        str(Path(sys.executable).with_name("luigi")), "--module", "tasks.refresh", "RefreshViews", "--help"
    ]  # fmt: skip
    shown = subprocess.run(
        luigi, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert "--bucket-date" in shown


def _copy(tmp_path: Path) -> Path:
    """The project as git has it, so that building leaves nothing behind in the checkout."""
    copy = tmp_path / "project"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        check=True,
        capture_output=True,
    )
    for name in files.stdout.decode().split("\0"):
        if name.split("/")[0] in (
            "ooni_pipeline",
            "tasks",
            "sql",
            "setup.cfg",
            "pyproject.toml",
            "README.md",
            "LICENSE",
        ):
            path = copy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if (TOP / name).exists():
                path.write_bytes((TOP / name).read_bytes())
    return copy


def _files(directory: Path) -> set[str]:
    """Every file below a directory that is no left-over of a run."""
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
