"""How fast RenameReports goes through an archive. No bar: a night has hours for it.

Usage: python -m tests.benchmarks rename
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from ooni_pipeline.collector.layout import CollectorLayout
from tests.collector.archives import json_report, put, rename, yaml_report

REPORTS, SIZE = 20_000, 5_000


def run() -> float:
    """Print, and return, reports a second: half of them JSON, half YAML, of 5 KB."""
    with tempfile.TemporaryDirectory(prefix="ooni-rename-") as directory:
        layout = CollectorLayout(Path(directory) / "bouncer")
        entry = f"---\n{{input: 'http://a.example/', body: '{'x' * (SIZE - 400)}'}}\n...\n"
        for number in range(REPORTS):
            if number % 2:
                put(layout, f"{number}.json", json_report(report_id=number, body="x" * (SIZE - 400)))
            else:
                put(layout, f"{number}.yamloo", yaml_report(entry, report_id=f"y{number}"))
        os.sync()
        begin = time.perf_counter()
        done = rename(layout)
        seconds = time.perf_counter() - begin
    assert done.files == {"renamed": REPORTS}
    speed = REPORTS / seconds
    print(f"{REPORTS} reports of {SIZE} bytes in {seconds:.1f} s: {speed:.0f} reports a second")
    return speed


if __name__ == "__main__":
    run()
