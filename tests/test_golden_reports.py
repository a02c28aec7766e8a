"""Every folder below ``fixtures/reports`` through normalise and sanitise, and nothing leaks from any.

``python -m tests.write_golden_reports`` rewrites what is expected, for review.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.report.entry import BASE_KEYS
from tests.write_golden_reports import BRIDGE_TABLE, cases, process, raw_of

DEMO = Path(__file__).parent / "fixtures" / "demo"
DEMO_REPORTS = sorted(
    path
    for path in (DEMO / "collector" / "archive").iterdir()
    if path.name.endswith((".json", ".yaml", ".yamloo", ".gz"))
)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_case(case: Path) -> None:
    golden = process(raw_of(case))
    assert golden.normalised.decode() == (case / "normalised.json").read_text()
    assert golden.sanitised.decode() == (case / "sanitised.json").read_text()
    assert len((case / "provenance.txt").read_text().splitlines()) == 1
    for outcome, content in ((golden.normalising, golden.normalised), (golden.sanitising, golden.sanitised)):
        assert outcome.counts.missing() == 0
        assert outcome.counts.out == content.count(b"\n")
        assert outcome.size == len(content)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_shape(case: Path) -> None:
    for name in ("normalised.json", "sanitised.json"):
        for line in (case / name).read_text().splitlines():
            entry = json.loads(line)
            assert tuple(entry)[: len(BASE_KEYS)] == BASE_KEYS
            assert entry["bucket_date"] == "2026-11-22"


def secrets_of(table: Path) -> tuple[set[str], set[str]]:
    """Addresses and fingerprints of a bridge table, read without any code of the sanitiser."""
    lines = {at: line for at, line in json.loads(table.read_text()).items() if not line.get("public")}
    addresses = {where.rsplit(":", 1)[0].strip("[]") for where in lines}
    return addresses, {line["fingerprint"].lower() for line in lines.values()}


def strings_of(value: object) -> Iterator[str]:
    """Every string, key and number of a parsed entry, as text."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from strings_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings_of(part)
    elif value is not None:
        yield str(value)


def leaks(content: bytes, table: Path) -> list[str]:
    """Which secrets of a table stand in published lines, decoded as a reader would decode them."""
    addresses, fingerprints = secrets_of(table)
    canonical = {ipaddress.ip_address(address) for address in addresses}
    found = []
    for line in content.splitlines():
        text = "\n".join(strings_of(json.loads(line)))
        found += [secret for secret in fingerprints if secret in text.lower()]
        found += [
            address
            for address in addresses
            if re.search(rf"(?<![0-9]){re.escape(address)}(?![0-9])", text) and "." in address
        ]
        for word in re.findall(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*", text):
            for end in range(len(word), 1, -1):
                try:
                    found += [word] if ipaddress.ip_address(word[:end]) in canonical else []
                except ValueError:
                    continue
    return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_no_case_leaks(case: Path) -> None:
    assert leaks((case / "sanitised.json").read_bytes(), BRIDGE_TABLE) == []


def test_the_check_itself_finds_what_was_there() -> None:
    """The same search over what went in does find bridges: it is not blind."""
    seen = [case.name for case in cases() if leaks((case / "normalised.json").read_bytes(), BRIDGE_TABLE)]
    assert len(seen) >= 5


@pytest.mark.parametrize("report", DEMO_REPORTS, ids=lambda path: path.name[:60])
def test_no_demo_report_leaks(report: Path) -> None:
    golden = process(report, DEMO / "bridge_table.json", "2026-08-02")
    assert leaks(golden.sanitised, DEMO / "bridge_table.json") == []
    assert golden.normalising.counts.missing() == golden.sanitising.counts.missing() == 0
    if golden.normalised and not golden.sanitising.counts.held:
        assert golden.sanitising.counts.out == golden.normalising.counts.out
