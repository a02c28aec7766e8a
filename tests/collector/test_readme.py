"""The commands that the README shows for a collector, run for real."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

from tests.parts.collector import Collector

TOP = Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Run a collector\n")[2].partition("\n## ")[0]
#: What a row in the database needs to say which test it was, and where.
ENTRY = {
    "input": "http://example.org/", "test_name": "http_requests", "probe_cc": "GR", "probe_asn": "AS3329",
    "data_format_version": "0.2.0", "test_keys": {},
}  # fmt: skip
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def test_a_report_by_hand(collector: Collector) -> None:
    (block,) = [block for block in BLOCKS if block.startswith("url=")]
    assert "url=http://127.0.0.1:8080\n" in block
    block = block.replace("http://127.0.0.1:8080", collector.url)
    said = subprocess.run(["sh", "-euc", block], check=True, capture_output=True, text=True).stdout
    assert said == '{"status": "success"}' * 2
    (path,) = [path for path in collector.layout.archive.rglob("*") if path.is_file()]
    assert path.name.endswith("-AS3329-GR-probe-0.2.0.json")
    assert json.loads(path.read_text()) == ENTRY


def test_an_entry_that_is_packed(collector: Collector, tmp_path: Path) -> None:
    """With the options that the README names."""
    (options,) = re.findall(r"^.*Add `([^`]*)` to send an entry packed", SECTION, re.MULTILINE)
    (block,) = [block for block in BLOCKS if block.startswith("url=")]
    block = block.replace("http://127.0.0.1:8080", collector.url)
    plain = re.findall(r"-d ('\{\"format\".*?')$", block, re.MULTILINE | re.DOTALL)[0]
    block = block.replace(f"-d {plain}", options)
    (tmp_path / "entry.json.gz").write_bytes(gzip.compress(plain.strip("'").encode()))
    subprocess.run(["sh", "-euc", block], check=True, capture_output=True, cwd=tmp_path)
    (path,) = [path for path in collector.layout.archive.rglob("*") if path.is_file()]
    assert json.loads(path.read_text()) == ENTRY


def test_the_script_of_a_collectors_machine_is_what_the_readme_shows() -> None:
    script = (TOP / "deploy" / "collector" / "install").read_text(encoding="utf-8")
    assert script.partition("set -eu\n")[2] in BLOCKS
