"""The demo's reports are what their generator writes, and the page beside them names every file."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parent / "fixtures" / "demo"

#: SHA-256 of the reports that genuine clients wrote: nobody may tidy them.
GENUINE = {
    "6aa04a80e7b5b79fecebd9da08e877c664e3d4720fb1cca32005e49c98775f4e",
    "106ce7a41e8c1fa5d7b3d0d708d319d7ccff6fc71917b5331931c61aa82a0f1d",
    "33502ee849bc28cbf53fadd859f743f1de44e2a04c556eb0de9f225d18341397",
    "70cded6e6c7f259392b958c09ca70c99911ae26ce0ff62313a63f47a0d9dd3ab",
    "8907e9a86aa20416336ec3996c6955d97f76ac4ba12944f0aed732f413f30839",
}


def contents(directory: Path) -> dict[str, bytes]:
    """Path below ``directory`` -> bytes, of every file but the generator and what running Python leaves."""
    files = (path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files if path.suffix != ".py"}


def test_generator_writes_the_same_bytes_again(tmp_path: Path) -> None:
    program = [sys.executable, str(DEMO / "make_demo.py"), str(tmp_path)]
    subprocess.run(program, check=True, env={**os.environ, "PYTHONHASHSEED": "1"})
    made, shipped = contents(tmp_path), contents(DEMO)
    assert [path for path, content in made.items() if shipped.get(path) != content] == []
    others = [shipped[path] for path in shipped.keys() - made.keys()]
    assert sorted(hashlib.sha256(content).hexdigest() for content in others) == sorted(GENUINE)


def test_page_names_every_file() -> None:
    page = (DEMO / "README.md").read_text()
    named = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    present = [path.name for path in (DEMO / "collector" / "archive").iterdir()]
    assert sorted(named) == sorted([*present, "bridge_table.json", "make_demo.py"])
