"""Whether the database costs the same after ten years as on the first day.

Usage: python -m tests.benchmarks database

Bars (DESIGN.md, section 8, and the tenth year's): load and replace a bucket at 0.8 of psql's ``\\copy`` or
more, and in the tenth year in at most 1.3 times the first day's time; what researchers ask, all by index,
95 of 100 answers in 50 ms; beside a load and a refresh at most twice as late as on an idle server; at most
300 MB for the process that loads. About 15 minutes, and 10 GB of disk in the temporary directory, which are
given back. Ratios and times of a busy machine say nothing.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psycopg2

from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.database.markers import forget_loads
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.programs import find_binaries
from ooni_pipeline.database.views import refresh_views
from ooni_pipeline.fingerprints import load_fingerprints
from ooni_pipeline.report.json_lines import dump_entry
from tests import ten_years
from tests.benchmarks import load, refresh
from tests.benchmarks.load import BUCKET, Server
from tests.benchmarks.normalise import peak_memory

ROUNDS = 3
#: Parameters of each query; each is asked twice, the first time to warm what caches there are.
QUESTIONS = 200
#: Buckets whose 1,000 blocked URLs each the views show while readers are measured, and seconds of idleness.
REFRESHED, IDLE_SECONDS = 800, 20
SMALL_ENTRIES = 1_000_003
BAR_COPY, BAR_YEARS, BAR_MS, BAR_READERS, BAR_MB = 0.8, 1.3, 50, 2, 300


def percentile(times: list[float], percent: int = 95) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * percent // 100)]


def against_copy(server: Server, filled: str, folder: Path, reports: list[Path]) -> dict[str, float]:
    """Loads and replaces, on the first day and in the tenth year, against ``\\copy`` and each other."""
    rows = folder / "rows.csv"
    load.write_rows(reports, rows)
    rounds: dict[str, list[dict[str, float]]] = {"1 partition": [], "120 partitions": []}
    for number in range(ROUNDS):
        first = server.new_database(), server.new_database()
        rounds["1 partition"].append(load.measure(server, *first, reports, rows))
        for url in first:
            server.drop(url)
        rounds["120 partitions"].append(load.measure(server, filled, filled, reports, rows))
        server.clear(filled)
        for months, done in rounds.items():
            figures = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in done[-1].items())
            print(f"round {number + 1}, {months}: {figures}", flush=True)
    rows.unlink()
    best = {
        (months, what): min(seconds[what] for seconds in done)
        for months, done in rounds.items()
        for what in done[0]
    }
    results = {}
    for what in ("", ", replacing"):
        for months in rounds:
            ratio = best[months, f"\\copy{what}"] / best[months, f"load{what}"]
            results[f"load{what}, {months}, of \\copy"] = ratio
        years = best["120 partitions", f"load{what}"] / best["1 partition", f"load{what}"]
        results[f"load{what}, tenth year of first day"] = years
    for name, ratio in results.items():
        bar = f"at most {BAR_YEARS}" if "year" in name else f"at least {BAR_COPY}"
        print(f"{name}: {ratio:.2f} (bar: {bar})")
    return results


def questions(url: str, asked: dict[str, list[list[Any]]]) -> dict[str, float]:
    """The 95th percentile in milliseconds of each query over one open connection, as a reader."""
    results = {}
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE ooni_reader")
        for name, (sql, _) in ten_years.QUERIES.items():
            for values in asked[name]:
                cursor.execute(sql, values)
            times, rows = [], 0
            for values in asked[name]:
                begin = time.perf_counter()
                cursor.execute(sql, values)
                rows += len(cursor.fetchall())
                times.append(1000 * (time.perf_counter() - begin))
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", asked[name][0])
            (plan,) = cursor.fetchone() or ([],)
            nodes = set(ten_years.scans(plan))
            by_index = "Seq Scan" not in nodes and any("Index" in node for node in nodes)
            results[name] = percentile(times)
            print(
                f"{name}: p50 {percentile(times, 50):.1f}, p95 {results[name]:.1f} ms (bar {BAR_MS}), "
                f"{rows // len(times)} rows; planning {plan[0]['Planning Time']:.1f} ms, "
                f"{'by index' if by_index else 'NOT BY INDEX'}: {', '.join(sorted(nodes))}",
                flush=True,
            )
    connection.close()
    return results


def _read(url: str, asked: dict[str, list[list[Any]]], stop: Event, times: Queue[list[float]]) -> None:
    """A reader, in a process of its own: one question after the other, with a breath between them."""
    chance = random.Random(1)  # noqa: S311
    taken = []
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE ooni_reader")
        connection.commit()
        while not stop.is_set():
            name = chance.choice(list(asked))
            begin = time.perf_counter()
            cursor.execute(ten_years.QUERIES[name][0], chance.choice(asked[name]))
            cursor.fetchall()
            taken.append(1000 * (time.perf_counter() - begin))
            connection.commit()
            time.sleep(0.005)
    times.put(taken)


def beside_readers(
    url: str, asked: dict[str, list[list[Any]]], work: Callable[[], object]
) -> tuple[float, float]:
    """The 95th percentile in milliseconds of two readers while something is done, and its seconds."""
    spawn = multiprocessing.get_context("spawn")
    stop: Event = spawn.Event()
    times: Queue[list[float]] = spawn.Queue()
    readers = [spawn.Process(target=_read, args=(url, asked, stop, times), daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    time.sleep(2)
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    stop.set()
    taken = [one for _ in readers for one in times.get(timeout=60)]
    for reader in readers:
        reader.join()
    return percentile(taken), seconds


def readers(url: str, asked: dict[str, list[list[Any]]], reports: list[Path]) -> dict[str, float]:
    """How much later readers get their answers during a load and a refresh than on an idle server."""
    fingerprints = load_fingerprints()
    load_bucket(url, BUCKET, reports, fingerprints)
    refresh.fill(url, 0, REFRESHED - 1)
    refresh_views(url)
    refresh.fill(url, REFRESHED, REFRESHED)
    idle, _ = beside_readers(url, asked, lambda: time.sleep(IDLE_SECONDS))
    print(f"readers, idle: p95 {idle:.1f} ms")
    forget_loads(url, BUCKET, BUCKET)
    results = {}
    for what, work in (
        ("load", lambda: load_bucket(url, BUCKET, reports, fingerprints)),
        ("refresh", lambda: refresh_views(url)),
    ):
        late, seconds = beside_readers(url, asked, work)
        results[what] = late / idle
        print(
            f"readers during a {what} of {seconds:.1f} s: p95 {late:.1f} ms, {late / idle:.2f} of idle "
            f"(bar {BAR_READERS})",
            flush=True,
        )
    return results


def small_entries(path: Path) -> list[Path]:
    """One report of as many small entries as the largest that there was."""
    number, id_ = "@NUMBER@", "00000000-0000-4000-8000-@"
    entry = load._entry(0, "DE", "", path.name, random.Random(1))  # noqa: S311
    entry |= {
        "id": id_,
        "input": f"192.0.2.1:{number}",
        "test_name": "tcp_connect",
        "test_keys": {"connection": "success"},
    }
    line = dump_entry(entry) + b"\n"
    with path.open("wb") as lines:
        for count in range(SMALL_ENTRIES):
            lines.write(
                line.replace(b"8000-@", b"8000-%012x" % count).replace(number.encode(), b"%d" % count)
            )
    return [path]


def memory(server: Server, folder: Path, reports: list[Path]) -> dict[str, float]:
    """The peak memory in MB of a process that loads."""
    small = small_entries(folder / "20160801T000000-tcp_connect-many-AS0-DE-probe-0.2.0.json")
    results = {}
    for what, files in ((f"{len(reports)} reports", reports), (f"{SMALL_ENTRIES:,} small entries", small)):
        url = server.new_database()
        begin = time.perf_counter()
        results[what] = peak_memory(load_bucket, url, BUCKET, files, load_fingerprints())
        megabytes = sum(path.stat().st_size for path in files) / 1e6
        print(
            f"loading {what}, {megabytes:.0f} MB: {results[what]:.0f} MB of memory (bar {BAR_MB}), "
            f"{time.perf_counter() - begin:.0f} s",
            flush=True,
        )
        server.drop(url)
    small[0].unlink()
    return results


def run() -> dict[str, float]:
    """Print, and return, what was measured."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="ooni-benchmark-") as name:
        folder = Path(name)
        reports = load.generate_reports(folder)
        embedded = EmbeddedServer(folder / "database")
        try:
            server = Server(embedded.ensure_running(), find_binaries(None) / "psql")
            results |= memory(server, folder, reports)
            filled = server.new_database()
            begin = time.perf_counter()
            ten_years.fill(filled)
            seconds = time.perf_counter() - begin
            print(
                f"{ten_years.ROWS:,} rows in {ten_years.MONTHS} months: filled in {seconds:.0f} s", flush=True
            )
            results |= against_copy(server, filled, folder, reports)
            asked = ten_years.parameters(filled, QUESTIONS)
            results |= questions(filled, asked)
            results |= readers(filled, asked, reports)
        finally:
            embedded.stop()
    return results


if __name__ == "__main__":
    run()
