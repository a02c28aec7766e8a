"""Memory for the largest reports there were, 1,000,003 entries and 1.4 GB, and for the worst entries.

Every figure is that of a process of its own.

Usage: python -m tests.benchmarks large

Bar (DESIGN.md, section 8): at most 300 MB a process, whatever the number of entries, plus six times the
largest entry. Needs 5 GB of disk in the temporary directory (``TMPDIR``), which are given back.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ooni_pipeline.report.entry import MAX_ENTRY_BYTES, MAX_NODES
from ooni_pipeline.report.work import Job
from tests.benchmarks.normalise import (
    ALPHABETS,
    JSON_NAME,
    YAML_HEADER,
    YAML_NAME,
    html,
    job,
    normalise,
    peak_memory,
    to_json,
    web_connectivity,
    yaml_report,
)
from tests.benchmarks.sanitise import sanitise, write_table

ENTRIES = 1_000_003
LARGE_BYTES = 1_400_000_000
BAR_MB = 300
TIMES_THE_LARGEST_ENTRY = 6

_NUMBER = b"@NUMBER@"

#: Entries that cost the most memory for their size: a piece of ``test_keys.a`` that is repeated, and how
#: often. Strings fill the 64 MB that an entry may have, values the nodes.
_ROOM = MAX_ENTRY_BYTES - 4096
WORST = {
    "one string, ASCII": (b"x", _ROOM),
    "one string, Cyrillic": ("\u0436".encode(), _ROOM // 2),
    "one string, emoji": ("\U0001f600".encode(), _ROOM // 4),
    "one string, quotes": (b'\\"', _ROOM // 2),
    "one string, raw control characters": (b"\x01xx", _ROOM // 3),  # with more of them it is too large
    "strings": ('"\u0436\u0436",'.encode(), MAX_NODES - 100),
    "lists": (b"[[]],", (MAX_NODES - 100) // 3),
    "mappings": (b'{"a":1},', (MAX_NODES - 100) // 3),
    "mappings in mappings": (b'{"a":{"b":1}},', (MAX_NODES - 100) // 5),
}


def many_entries(path: Path, count: int) -> tuple[int, int]:
    """A YAML report of ``count`` small entries of tcp_connect; how many, and the bytes of the largest."""
    entry = b"{connection: success, input: '192.0.2.1:%d', test_start_time: 1470009600.5}\n"
    header = {**YAML_HEADER, "test_name": "tcp_connect"}
    yaml_report(path, header, (entry % number for number in range(count)))
    return count, len(entry % count)


def many_bytes(path: Path, size: int) -> tuple[int, int]:
    """A JSON report of ``size`` bytes of http_requests or more; how many entries, the largest's bytes."""
    chance = random.Random(20160801)  # noqa: S311 - the same report every time
    pages = [html(chance.randint(5_000, 60_000), letters, chance) for letters in ALPHABETS * 4]
    made = []
    for _ in range(50):
        entry = web_connectivity((chance.choice(pages), chance.choice(pages)), 0)
        entry |= {"test_name": "http_requests", "input": f"http://{_NUMBER.decode()}.example.test/"}
        made.append(to_json(entry).encode() + b"\n")
    written = count = 0
    with path.open("wb") as file:
        while written < size:
            written += file.write(made[count % len(made)].replace(_NUMBER, b"%d" % count))
            count += 1
    return count, max(map(len, made))


def worst_entry(path: Path, piece: bytes, times: int) -> tuple[int, int]:
    """A JSON report of one entry; 1, and its bytes. (In small writes: a process inherits the peak of the
    one that starts it.)"""
    head = to_json({**web_connectivity(("", ""), 0), "probe_ip": "192.0.2.9", "test_keys": {"a": 0}}).encode()
    begin, end = (b'"', b'"') if piece[:1] not in b'"[{' else (b"[", b"0]")
    before, after = head.split(b'{"a":0}')
    with path.open("wb") as file:
        file.write(before + b'{"a":' + begin)
        for done in range(0, times, 1000):
            file.write(piece * min(1000, times - done))
        file.write(end + b"}" + after + b"\n")
    return 1, path.stat().st_size


def measure(
    what: str, function: Callable[..., float], work: Job, *arguments: Any, largest: int
) -> tuple[float, float]:
    """Print, and return, the peak memory in MB of a process that does this, and the bar for it."""
    size = work.source.stat().st_size
    begin = time.perf_counter()
    memory = peak_memory(function, work, *arguments)
    seconds = time.perf_counter() - begin
    bar = BAR_MB + TIMES_THE_LARGEST_ENTRY * largest / 1e6
    kept = "" if memory <= bar else "  TOO MUCH"
    speed = size / seconds / 1e6
    print(f"{what}: {memory:.0f} MB at most, bar {bar:.0f}{kept}; {seconds:.0f} s, {speed:.0f} MB/s")
    return memory, bar


def run(entries: int = ENTRIES, size: int = LARGE_BYTES) -> dict[str, float]:
    """Print the figures; return, by stage and report, memory as a share of its bar (1: just kept)."""
    results: dict[str, float] = {}
    made: list[tuple[str, str, str, Callable[..., tuple[int, int]], tuple[Any, ...]]] = [
        ("many entries", YAML_NAME, "yaml", many_entries, (entries,)),
        ("many bytes", JSON_NAME, "json", many_bytes, (size,)),
    ]
    made += [(what, JSON_NAME, "json", worst_entry, worst) for what, worst in WORST.items()]
    for what, name, extension, make, amount in made:
        with tempfile.TemporaryDirectory(prefix="ooni-large-") as directory:
            folder = Path(directory)
            table = folder / "bridge_table.json"
            write_table(table)
            raw = job(folder, name, extension)
            count, largest = make(raw.source, *amount)
            told = f"{what} ({count} in {raw.source.stat().st_size / 1e6:.0f} MB of {extension.upper()})"
            memory, bar = measure(f"normalise {told}", normalise, raw, count, largest=largest)
            results[f"normalise {what}"] = memory / bar
            raw.source.unlink()
            clean = folder / "sanitised.json"
            work = Job(raw.report, raw.bucket_date, raw.destination, clean, raw.rejected, raw.held)
            longest = _longest_line(raw.destination)
            memory, bar = measure(f"sanitise  {told}", sanitise, work, table, count, largest=longest)
            results[f"sanitise {what}"] = memory / bar
    return results


def _longest_line(path: Path) -> int:
    """The bytes of the longest line, without ever holding one."""
    longest = line = 0
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            first, *others = map(len, chunk.split(b"\n"))
            line += first
            for length in others:
                longest, line = max(longest, line), length
    return max(longest, line)


if __name__ == "__main__":
    run()
