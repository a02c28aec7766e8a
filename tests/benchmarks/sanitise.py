"""How fast normalised reports are sanitised with 2,000 known bridges, against normalising the same.

Usage: python -m tests.benchmarks sanitise

Bars (DESIGN.md, section 8): at least as fast as normalising, and at most 300 MB of memory for a process
that takes a report of 200,000 small entries.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

import ujson

from ooni_pipeline.report.work import Job
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.reports import sanitise_report
from tests.benchmarks.normalise import (
    JSON_NAME,
    REPEATS,
    SMALL_ENTRIES,
    YAML_HEADER,
    YAML_NAME,
    documents,
    http_requests,
    job,
    normalise,
    peak_memory,
    small_report,
    to_json,
    to_yaml,
    web_connectivity,
    yaml_report,
)

BRIDGES = 2_000


def write_table(path: Path, bridges: int = BRIDGES, every: int = 10) -> None:
    """A table of so many bridges, one of ``every`` with an IPv6 address."""
    chance = random.Random(2000)  # noqa: S311 - the same bridges every time
    table = {}
    for number in range(bridges):
        if number % every:
            address = ".".join(str(chance.randint(1, 126)) for _ in range(4))
        else:
            address = f"[2001:db8:{chance.randint(1, 65535):x}:{chance.randint(0, 65535):x}::{number + 1:x}]"
        table[f"{address}:{chance.randint(1, 65535)}"] = {
            "fingerprint": chance.randbytes(20).hex().upper(),
            "distributor": "https",
            "transport": "obfs4",
        }
    path.write_text(ujson.dumps(table))


def sanitise(work: Job, table: Path, count: int) -> float:
    """Seconds for one report, all of whose entries must come out; making the search is part of it once."""
    begin = time.perf_counter()
    outcome = sanitise_report(work, table=table, digest=load_bridge_table(table).digest)
    seconds = time.perf_counter() - begin
    assert (outcome.counts.out, outcome.counts.missing()) == (count, 0)
    return seconds


def ratio(raw: Job, table: Path, count: int) -> tuple[float, float]:
    """The speed of sanitising over that of normalising, and in MB/s; the best of rounds that take turns."""
    folder = raw.source.parent
    source, destination = raw.destination, folder / "sanitised.json"
    work = Job(raw.report, raw.bucket_date, source, destination, raw.rejected, raw.held)
    rounds = [(normalise(raw, count), sanitise(work, table, count)) for _ in range(REPEATS)]
    ours = min(second for _, second in rounds)
    return min(first for first, _ in rounds) / ours, source.stat().st_size / ours / 1e6


def run() -> dict[str, float]:
    """Print, and return, the ratios and the peak memory."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "bridge_table.json"
        write_table(table)
        lines = documents(web_connectivity, to_json)
        raw = job(folder, JSON_NAME, "json")
        for case, probe_ip in (("JSON", b"127.0.0.1"), ("JSON, probe_ip to withhold", b"9.9.9.9")):
            with raw.source.open("wb") as file:
                for line in lines:
                    file.write(line.replace(b'"probe_ip":"127.0.0.1"', b'"probe_ip":"%b"' % probe_ip) + b"\n")
            results[case], speed = ratio(raw, table, len(lines))
            print(f"{case}: {results[case]:.2f} times the speed of normalising, {speed:.0f} MB/s")
        large = folder / "large_bridge_table.json"
        write_table(large, 3 * BRIDGES, 2)
        results["large table"], speed = ratio(raw, large, len(lines))
        print(f"JSON, probe_ip, {3 * BRIDGES} bridges: {results['large table']:.2f} times, {speed:.0f} MB/s")
        lines = documents(http_requests, to_yaml)
        raw = job(folder, YAML_NAME, "yaml")
        yaml_report(raw.source, YAML_HEADER, lines)
        results["YAML"], speed = ratio(raw, table, len(lines))
        print(f"YAML: {results['YAML']:.2f} times the speed of normalising, {speed:.0f} MB/s")
        small_report(raw.source)
        results["tcp_connect"], speed = ratio(raw, table, SMALL_ENTRIES)
        print(f"small entries: {results['tcp_connect']:.2f} times that of normalising, {speed:.0f} MB/s")
        small = Job("", "2016-08-01", raw.destination, folder / "small.json", raw.rejected, raw.held)
        results["memory"] = peak_memory(sanitise, small, table, SMALL_ENTRIES)
        print(f"{SMALL_ENTRIES} small entries: {results['memory']:.0f} MB at most")
    return results


if __name__ == "__main__":
    run()
