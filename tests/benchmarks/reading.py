"""How fast reports are read, against the bare parsers over the same documents, in one run.

Usage: python tests/benchmarks/reading.py
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ujson
import yaml

from ooni_pipeline.report.entry import RawEntry
from ooni_pipeline.report.reader import open_report

_HEADER = {"probe_cc": "IT", "probe_asn": "AS1", "test_name": "http_requests", "start_time": 1.0}
_TAGS = ("div", "p", "a href='/index.html'", 'span class="menu"', "li", "td", "script", "h2")
_ROUNDS = 5


def _html(size: int, chance: random.Random) -> str:
    lines = ["<html><head><title>Benchmark</title></head><body>"]
    length = 0
    while length < size:
        words = " ".join("".join(chance.choices("aeiounstrlmdé", k=chance.randint(2, 9))) for _ in range(9))
        tag = chance.choice(_TAGS)
        lines.append(f"\t<{tag}>{words}: 100% &amp; more</{tag.split()[0]}>")
        length += len(lines[-1])
    return "\n".join(lines) + "\n</body></html>\n"


def _entry(size: int, chance: random.Random) -> dict[str, Any]:
    """An entry like those of http_requests: a request through Tor, one without, each with its body."""
    pairs = [
        {
            "request": {
                "body": None,
                "headers": [["User-Agent", ["Mozilla/5.0 (Windows; U; Windows NT 5.1; en-US; rv:1.9.2)"]]],
                "method": "GET",
                "tor": {"is_tor": is_tor},
                "url": "http://www.example.test/",
            },
            "response": {
                "body": _html(size // 2, chance),
                "code": 200,
                "headers": [[f"X-Header-{number}", [f"value {number}" * 2]] for number in range(12)],
            },
        }
        for is_tor in (False, True)
    ]
    return {
        "agent": "agent",
        "body_length_match": True,
        "body_proportion": 1.0,
        "control_failure": None,
        "input": "http://www.example.test/",
        "requests": pairs,
        "socksproxy": None,
        "test_runtime": 0.0032830238342285156,
        "test_start_time": 1795294841.0,
    }


def _numbers(chance: random.Random) -> dict[str, Any]:
    """An entry of many small values, the hardest kind for what runs once a value."""
    return {"test_keys": {"queries": [{"t": chance.random(), "n": n, "a": [n, None]} for n in range(700)]}}


def _as_yaml(entries: list[dict[str, Any]]) -> list[bytes]:
    return [yaml.dump(entry, Dumper=yaml.CSafeDumper, allow_unicode=True).encode() for entry in entries]


def _as_json(entries: list[dict[str, Any]]) -> list[bytes]:
    return [ujson.dumps(entry, escape_forward_slashes=False).encode() for entry in entries]


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _ratio(path: Path, documents: list[bytes], bare: Callable[[bytes], Any]) -> tuple[float, float]:
    """Our speed over that of ``bare``, and ours in MB/s; the best of rounds that take turns."""

    def ours() -> None:
        with open_report(path) as report:
            assert sum(isinstance(entry, RawEntry) for entry in report) == len(documents)

    def theirs() -> None:
        for document in documents:
            bare(document)

    rounds = [(_seconds(ours), _seconds(theirs)) for _ in range(_ROUNDS)]
    our_best, their_best = min(mine for mine, _ in rounds), min(other for _, other in rounds)
    return their_best / our_best, sum(map(len, documents)) / our_best / 1e6


def run() -> dict[str, float]:
    """Print, and return, our speed over that of the bare parser for each kind of document."""
    chance = random.Random(20160801)  # noqa: S311 - the same documents every time
    kinds = {
        "HTML bodies, 5 to 60 kB": [_entry(chance.randint(5_000, 60_000), chance) for _ in range(150)],
        "many small values": [_numbers(chance) for _ in range(10)],
    }
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, entries in kinds.items():
            documents = _as_yaml(entries)
            path = Path(folder, "report.yaml")
            header = yaml.dump(_HEADER, Dumper=yaml.CSafeDumper).encode()
            path.write_bytes(b"".join(b"---\n" + document + b"...\n" for document in (header, *documents)))
            ratio, speed = _ratio(path, documents, lambda raw: yaml.load(raw, Loader=yaml.CSafeLoader))
            ratios[f"YAML, {kind}"] = ratio
            print(f"YAML, {kind}: {ratio:.2f} of yaml.load(CSafeLoader), {speed:.0f} MB/s")
            lines = _as_json(entries * 10)
            path = Path(folder, "report.json")
            path.write_bytes(b"".join(line + b"\n" for line in lines))
            ratio, speed = _ratio(path, lines, ujson.loads)
            ratios[f"JSON, {kind}"] = ratio
            print(f"JSON, {kind}: {ratio:.2f} of ujson.loads, {speed:.0f} MB/s")
    return ratios


if __name__ == "__main__":
    run()
