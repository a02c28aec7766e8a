"""Rewrite what the golden cases give, for review: ``python -m tests.write_golden_reports``.

Each folder of ``tests/fixtures/reports`` is a case: ``raw/<one report>`` under any name that a collector
gave it (in the folder of its country, where collectors had one), ``normalised.json``, ``sanitised.json``
(as the stages write them, with the key and the bucket date below) and ``provenance.txt``. A person reviews
the difference, line by line, before it is committed: these files say what is right, not what the code
does. For a new case make the folder with its raw report and its provenance, and run this.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.reports import sanitise_report
from ooni_pipeline.transfer.plan import names_of, report_of

CASES = Path(__file__).parent / "fixtures" / "reports"
BRIDGE_TABLE = CASES / "bridge_table.json"
KEY = b"the key of the golden cases"
BUCKET_DATE = "2026-11-22"


@dataclass
class Golden:
    """What the stages make of one report: the bytes of their files, empty where there is none."""

    normalised: bytes
    sanitised: bytes
    normalising: Outcome
    sanitising: Outcome


def cases() -> list[Path]:
    """The folders of all cases."""
    return sorted(path for path in CASES.iterdir() if path.is_dir())


def raw_of(case: Path) -> Path:
    """The raw report of a case."""
    (raw,) = (path for path in (case / "raw").rglob("*") if path.is_file())
    return raw


def report_name(raw: Path) -> str:
    """What the bucket calls the report, whatever the collector called it: as fetching and adopting do."""
    names, _ = names_of(f"{raw.parent.name}/{raw.name}", "", KEY)
    return report_of(next(names))


def process(raw: Path, bridge_table: Path = BRIDGE_TABLE, bucket_date: str = BUCKET_DATE) -> Golden:
    """Normalise and sanitise one report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        normalised, sanitised = folder / "normalised.json", folder / "sanitised.json"
        report, kept = report_name(raw), (folder / "rejected", folder / "held")
        first = normalise_report(Job(report, bucket_date, raw, normalised, *kept), key=KEY)
        if not first.digest:
            return Golden(b"", b"", first, first)
        digest = load_bridge_table(bridge_table).digest
        second = sanitise_report(
            Job(report, bucket_date, normalised, sanitised, *kept), table=bridge_table, digest=digest
        )
        content = sanitised.read_bytes() if second.digest else b""
        return Golden(normalised.read_bytes(), content, first, second)


def main() -> None:
    for case in cases():
        golden = process(raw_of(case))
        (case / "normalised.json").write_bytes(golden.normalised)
        (case / "sanitised.json").write_bytes(golden.sanitised)


if __name__ == "__main__":
    main()
