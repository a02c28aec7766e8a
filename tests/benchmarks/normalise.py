"""How fast reports are normalised, against the bare parsers over the same documents, in one run.

Usage: python -m tests.benchmarks normalise

Bars (DESIGN.md, section 8): YAML at least 0.7 of ``yaml.load(document, Loader=yaml.CSafeLoader)``, JSON at
least 0.7 of ``ujson.loads``, ``ujson.dumps`` and a write of the same lines, and at most 300 MB of memory
for a process that takes a report of 200,000 small entries.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ujson
import yaml

from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.report.work import Job

MEGABYTES = 50
SMALL_ENTRIES = 200_000
REPEATS = 3
KEY = b"a key for benchmarks"
YAML_NAME = "20160801T000000-http_requests-20160801T000000Z_AS1_x-AS1-IT-probe-0.1.0"
JSON_NAME = "20160801T000000-web_connectivity-20160801T000000Z_AS1_x-AS1-IT-probe-0.2.0"

#: Most pages of the old test lists are in English; the others here are in French, Russian and Persian.
ALPHABETS = ("aeiounstrlmdhc",) * 5 + ("aeiounstrlmdéà", "аеиоунстрлмд", "اننستمدر")
_TAGS = ("div", "p", "a href='/index.html'", 'span class="menu"', "li", "td", "script", "h2")
_PROBE: dict[str, Any] = {
    "input_hashes": [],
    "options": ["-f", "urls.txt"],
    "probe_asn": "AS1",
    "probe_cc": "IT",
    "probe_city": None,
    "probe_ip": "127.0.0.1",
    "report_id": "20160801T000000Z_AS1_x",
    "software_name": "ooniprobe",
    "software_version": "1.3.2",
    "test_helpers": {},
    "test_version": "0.2.4",
}
YAML_HEADER = {**_PROBE, "start_time": 1470009600.0, "test_name": "http_requests"}


def html(size: int, letters: str, chance: random.Random) -> str:
    """A page of about ``size`` characters, whose words are of these letters."""
    lines = ["<!DOCTYPE html><html><head><title>Benchmark</title></head><body>"]
    length = 0
    while length < size:
        words = " ".join("".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(9))
        tag = chance.choice(_TAGS)
        lines.append(f"\t<{tag}>{words}: 100% &amp; more</{tag.split()[0]}>")
        length += len(lines[-1])
    return "\n".join(lines) + "\n</body></html>\n"


def http_requests(bodies: tuple[str, str], number: int) -> dict[str, Any]:
    """An entry of 2016: a request without Tor, one through it, each with its body."""
    sessions = [
        {
            "request": {
                "body": None,
                "headers": [["User-Agent", ["Mozilla/5.0 (Windows; U; Windows NT 5.1; en-US; rv:1.9.2)"]]],
                "method": "GET",
                "tor": {"is_tor": is_tor},
                "url": f"http://{number}.example.test/",
            },
            "response": {
                "body": body,
                "code": 200,
                "headers": [[f"X-Header-{place}", [f"value {place}" * 2]] for place in range(12)],
            },
        }
        for is_tor, body in zip((True, False), bodies, strict=True)
    ]
    return {
        "agent": "agent",
        "body_length_match": True,
        "body_proportion": 1.0,
        "control_failure": None,
        "input": f"http://{number}.example.test/",
        "requests": sessions,
        "socksproxy": None,
        "test_runtime": 0.0032830238342285156,
        "test_start_time": 1470009600.0 + number,
    }


def web_connectivity(bodies: tuple[str, str], number: int) -> dict[str, Any]:
    """An entry in today's format: two requests, a look-up, a control."""
    headers = {f"X-Header-{place}": f"value {place}" * 2 for place in range(12)}
    url = f"http://{number}.example.test/"
    tor = {"is_tor": False, "exit_ip": None, "exit_name": None}
    sessions = [
        {
            "failure": None,
            "request": {"body": None, "headers": {}, "url": url, "method": "GET", "tor": tor},
            "response": {"body": body, "code": 200, "headers": headers},
        }
        for body in bodies
    ]
    answers = [{"ipv4": f"192.0.2.{number % 256}", "answer_type": "A"}]
    return {
        **_PROBE,
        "annotations": {"platform": "linux"},
        "data_format_version": "0.2.0",
        "id": "7fc9cf5b-864f-4068-a40b-224e22a9e7af",
        "input": url,
        "measurement_start_time": "2016-08-01 00:00:01",
        "test_start_time": "2016-08-01 00:00:00",
        "test_name": "web_connectivity",
        "test_runtime": 0.5,
        "test_keys": {
            "accessible": True,
            "blocking": False,
            "control": {"dns": {"failure": None, "addrs": ["192.0.2.1"]}, "http_request": headers},
            "queries": [{"hostname": url, "query_type": "A", "answers": answers, "failure": None}],
            "requests": sessions,
        },
    }


def documents(
    make: Callable[[tuple[str, str], int], dict[str, Any]], dump: Callable[[Any], str]
) -> list[bytes]:
    """About ``MEGABYTES`` of serialised entries with bodies of 5 to 60 kB."""
    chance = random.Random(20160801)  # noqa: S311 - the same documents every time
    pages = [html(chance.randint(5_000, 60_000), letters, chance) for letters in ALPHABETS * 15]
    made: list[bytes] = []
    size = 0
    while size < MEGABYTES * 1_000_000:
        made.append(dump(make((chance.choice(pages), chance.choice(pages)), len(made))).encode())
        size += len(made[-1])
    return made


def to_yaml(value: Any) -> str:
    """As probes wrote it."""
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper))


def to_json(value: Any) -> str:
    """As probes write it."""
    return ujson.dumps(value, escape_forward_slashes=False)


def yaml_report(path: Path, header: dict[str, Any], entries: Iterator[bytes] | list[bytes]) -> None:
    """Write a YAML report of serialised entries."""
    with path.open("wb") as file:
        file.write(b"---\n" + to_yaml(header).encode() + b"...\n")
        for entry in entries:
            file.write(b"---\n" + entry + b"...\n")


def job(folder: Path, name: str, extension: str) -> Job:
    """The work on ``<folder>/<name>.<extension>``, whose result is ``<folder>/normalised.json``."""
    source, result = folder / f"{name}.{extension}", folder / "normalised.json"
    return Job(name, "2016-08-01", source, result, folder / "rejected", folder / "held")


def normalise(work: Job, count: int) -> float:
    """Seconds for one report, all of whose entries must come out."""
    # A night writes new files. To replace one makes some file systems (ext4) write it out there and then,
    # which the bare baseline, writing over its file, does not pay for.
    work.destination.unlink(missing_ok=True)
    begin = time.perf_counter()
    outcome = normalise_report(work, key=KEY)
    seconds = time.perf_counter() - begin
    assert (outcome.counts.out, outcome.counts.missing()) == (count, 0)
    return seconds


def ratio(work: Job, lines: list[bytes], bare: Callable[[list[bytes]], None]) -> tuple[float, float]:
    """Our speed over that of ``bare``, and ours in MB/s; the best of rounds that take turns."""
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(normalise(work, len(lines)))
        begin = time.perf_counter()
        bare(lines)
        theirs.append(time.perf_counter() - begin)
    return min(theirs) / min(ours), sum(map(len, lines)) / min(ours) / 1e6


def small_report(path: Path) -> None:
    """A YAML report of ``SMALL_ENTRIES`` entries of tcp_connect."""
    header = {**YAML_HEADER, "test_name": "tcp_connect"}
    entry = "{connection: success, input: '192.0.2.1:%d', test_start_time: 1470009600.5}\n"
    yaml_report(path, header, ((entry % number).encode() for number in range(SMALL_ENTRIES)))


def peak_memory(function: Callable[..., Any], *arguments: Any) -> float:
    """The most memory, in MB, that a new process has while it runs ``function``."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(function, arguments)
        return pool.apply(_own_peak)


def _own_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def run() -> dict[str, float]:
    """Print, and return, the ratios and the peak memory."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = documents(http_requests, to_yaml)
        work = job(folder, YAML_NAME, "yaml")
        yaml_report(work.source, YAML_HEADER, lines)

        def load(entries: list[bytes]) -> None:
            for entry in entries:
                yaml.load(entry, Loader=yaml.CSafeLoader)

        results["YAML"], speed = ratio(work, lines, load)
        print(f"YAML http_requests     {results['YAML']:.2f} of yaml.load(CSafeLoader), {speed:.0f} MB/s")

        lines = documents(web_connectivity, to_json)
        work = job(folder, JSON_NAME, "json")
        work.source.write_bytes(b"".join(line + b"\n" for line in lines))

        def load_and_write(entries: list[bytes]) -> None:
            with (folder / "bare.json").open("wb") as file:
                for entry in entries:
                    file.write(to_json(ujson.loads(entry)).encode() + b"\n")

        results["JSON"], speed = ratio(work, lines, load_and_write)
        print(f"JSON web_connectivity  {results['JSON']:.2f} of ujson, there and back, {speed:.0f} MB/s")

        work = job(folder, YAML_NAME, "yaml")
        small_report(work.source)
        results["memory"] = peak_memory(normalise, work, SMALL_ENTRIES)
        print(f"{SMALL_ENTRIES} small entries   {results['memory']:.0f} MB at most")
    return results


if __name__ == "__main__":
    run()
