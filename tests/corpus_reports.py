"""The shared corpus as reports: every file of it under a proper name, as a collector's archive holds them.

``python -m tests.corpus_reports DIRECTORY`` writes them there, for a night over all of them. The corpus
(``../shared/corpus`` beside the project, ``INDEX.tsv`` says where each file comes from) is no part of the
project, and but for ``genuine-clients`` must not become one: write below a temporary directory.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.report.names import ReportName, format_report_name
from ooni_pipeline.report.nettests import canonical_test_name

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
#: Why a test that needs the corpus does not run.
MISSING = f"no corpus at {CORPUS}: ask for it, it is not part of the project"

_TIMES = (
    (rb'"?test_start_time"?: *[\'"]?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)', "%Y-%m-%d %H:%M:%S"),
    (rb"\bstart_time: *([0-9.]+)", ""),
)
_COUNTRY = re.compile(rb'\bprobe_cc"?: *"?([A-Z]{2})\b')
_NETWORK = re.compile(rb'\bprobe_asn"?: *"?(AS[0-9]+)')
_WRITTEN = re.compile(r"[0-9]{8}T[0-9]{6}Z-.*-probe-0\.2\.0\.(?:json|yaml)")


@dataclass(frozen=True)
class CorpusReport:
    """One file of the corpus. ``path`` is where it lies there, ``name`` what it is called as a report,
    ``measurements`` what the index counts in it; ``format`` and ``test_name`` are the index's words."""

    path: str
    name: str
    format: str
    test_name: str
    measurements: int


def corpus_reports(corpus: Path = CORPUS) -> list[CorpusReport]:
    """Every report of the corpus, in the order of its index, without the logs of what went over the wire."""
    with (corpus / "INDEX.tsv").open(encoding="utf-8", newline="") as index:
        rows = list(csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        CorpusReport(
            row["path"],
            _name(corpus / row["path"], row["format"], row["test_name"], number),
            row["format"],
            row["test_name"],
            int(row["measurements"]),
        )
        for number, row in enumerate(rows, 1)
        if row["format"] != "wire-log"
    ]


def content_of(report: CorpusReport, corpus: Path = CORPUS) -> bytes:
    """The bytes of the report: those of the file, or the entry that was posted (``content``) as a line."""
    raw = (corpus / report.path).read_bytes()
    if report.format == "json-post":
        posted = loads(raw)
        if isinstance(posted, dict) and isinstance(posted.get("content"), dict):
            return dump_entry(posted["content"]) + b"\n"
    return raw


def write_reports(directory: Path, corpus: Path = CORPUS) -> list[CorpusReport]:
    """Write every report of the corpus into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    reports = corpus_reports(corpus)
    for report in reports:
        (directory / report.name).write_bytes(content_of(report, corpus))
    return reports


def _name(path: Path, form: str, test_name: str, number: int) -> str:
    """A genuine client's report keeps its name; what was found elsewhere gets one in the seed's form, with
    its number in the index for a report id."""
    if _WRITTEN.fullmatch(path.name):
        return path.name
    raw = path.read_bytes()
    country, network = _COUNTRY.search(raw), _NETWORK.search(raw)
    extension: Literal["json", "yaml"] = "yaml" if form == "yaml" else "json"
    return format_report_name(
        ReportName(
            start_time=_start_time(raw),
            test_name=canonical_test_name(test_name),
            report_id=f"corpus{number:03d}",
            probe_asn=network[1].decode() if network else "AS0",
            probe_cc=country[1].decode() if country else "ZZ",
            data_format_version="0.2.0",  # what collectors wrote for YAML too
            extension=extension,
            compressed=False,
        )
    )


def _start_time(raw: bytes) -> dt.datetime | None:
    """The time that the bytes name first, by a look that needs no parser; None where they name none."""
    for pattern, form in _TIMES:
        if match := re.search(pattern, raw):
            text = match[1].decode()
            if form:
                return dt.datetime.strptime(text, form)
            return dt.datetime.fromtimestamp(int(float(text)), dt.timezone.utc).replace(tzinfo=None)
    return None


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if not CORPUS.is_dir():
        print(MISSING, file=sys.stderr)
        return 1
    written = write_reports(Path(sys.argv[1]))
    print(f"{len(written)} reports, {sum(report.measurements for report in written)} measurements")
    return 0


if __name__ == "__main__":
    sys.exit(main())
