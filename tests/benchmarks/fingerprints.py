"""How fast the matcher goes through entries with large bodies: ``python tests/benchmarks/fingerprints.py``.

Block pages are rare, so the bodies match nothing, which is also the slowest case. Beside it stands the
floor: ``ujson.loads`` of the same entries, which every load has to do anyway. Then the same with a list of
the size of the public ones: 1,000 pieces of text and 50 regular expressions for bodies of the whole world.
"""

from __future__ import annotations

import base64
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import ujson

from ooni_pipeline.fingerprints import FingerprintTable, load_fingerprints

BODY_BYTES = 60_000
ENTRIES = 400
REPEATS = 5
PIECES, EXPRESSIONS = 1_000, 50
#: Body rules, a body rule of ASCII only, a failure rule only, and no fingerprint at all.
COUNTRIES = ("TR", "IR", "CN", "DE")
#: What bodies are made of: ASCII; UTF-8 with letters of the country; and bytes that came as base64.
KINDS = ("ascii", "utf-8", "base64")


def generate_entry(probe_cc: str, kind: str, number: int) -> dict[str, Any]:
    """A web_connectivity entry with one redirect and one page of ``BODY_BYTES``."""
    line = f'<div class="row"><a href="http://example.org/{number}">Haber {number}</a> metin metin</div>\n'
    if kind != "ascii":
        line = line.replace("metin", "değerlendirme")
    data = (line.encode() * (BODY_BYTES // len(line.encode()) + 1))[:BODY_BYTES]
    if kind == "base64":
        data = b"\xff" + data.decode("utf-8", "ignore").encode("iso8859-9", "replace")
        body: Any = {"format": "base64", "data": base64.b64encode(data).decode()}
    else:
        body = data.decode("utf-8", "ignore")
    headers = {"Server": "nginx", "Content-Type": "text/html; charset=iso-8859-9", "Date": "now", "Vary": "*"}
    request = {"url": "http://example.org/", "tor": {"is_tor": False, "exit_ip": None, "exit_name": None}}
    moved = {"body": "", "headers": {**headers, "Location": "http://www.example.org/"}}
    exchanges = [
        {"request": request, "response": answer} for answer in (moved, {"body": body, "headers": headers})
    ]
    test_keys = {"requests": exchanges, "http_experiment_failure": None, "control_failure": None}
    return {"probe_cc": probe_cc, "test_name": "web_connectivity", "test_keys": test_keys}


def public_list(path: Path) -> Path:
    """A list as large as the public ones: pieces of block pages, and expressions, of no country."""
    chance = random.Random(2016)  # noqa: S311 - the same list every time
    words = [
        "".join(chance.choices("aeiounstrlmdhcfgpvwxyzkb", k=chance.randint(2, 9))) for _ in range(2_000)
    ]
    rows = ["name,scope,location_found,pattern_type,pattern,expected_countries"]
    for number in range(PIECES):
        text = " ".join(chance.choices(words, k=chance.randint(2, 7)))
        around = ("<title>{}</title>", "<h1>{}", 'href="http://{}/', "{}")[number % 4]
        rows.append(
            f'piece_{number},nat,body,contains,"{around.format(text).replace(chr(34), chr(34) * 2)}",'
        )
    for number in range(EXPRESSIONS):
        first, second = chance.choices(words, k=2)
        shape = ("<title>[^<]*{} {}", "(?i){}.{{0,40}}{}", "^<html>.*{} [0-9]+ {}", "{}[^a-z]+{}")[number % 4]
        rows.append(f'expression_{number},isp,body,regexp,"{shape.format(first, second)} {number}",')
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def measure(table: FingerprintTable, entries: list[dict[str, Any]]) -> float:
    """Seconds for matching all entries, the best of ``REPEATS``."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for entry in entries:
            table.match_blockpages(entry)
            table.match_vendors(entry)
        best = min(best, time.perf_counter() - start)
    return best


def run() -> dict[tuple[str, str], float]:
    """MB/s (of JSON) by country and kind of body, printed and returned."""
    with tempfile.TemporaryDirectory() as folder:
        listed = load_fingerprints(lists=[public_list(Path(folder) / "list.csv")])
    print("the shipped table:")
    speeds = run_with(load_fingerprints())
    print(f"with a list of {PIECES} pieces and {EXPRESSIONS} expressions:")
    return speeds | {(f"{country} listed", kind): v for (country, kind), v in run_with(listed).items()}


def run_with(table: FingerprintTable) -> dict[tuple[str, str], float]:
    """The same with one table."""
    speeds: dict[tuple[str, str], float] = {}
    for probe_cc in COUNTRIES:
        for kind in KINDS:
            lines = [ujson.dumps(generate_entry(probe_cc, kind, number)) for number in range(ENTRIES)]
            megabytes = sum(map(len, lines)) / 1e6
            start = time.perf_counter()
            entries = [ujson.loads(line) for line in lines]
            parsing = time.perf_counter() - start
            matching = measure(table, entries)
            speeds[probe_cc, kind] = megabytes / matching
            print(
                f"{probe_cc} {kind:6}  match {megabytes / matching:12,.0f} MB/s"
                f"  {matching / ENTRIES * 1e6:8.1f} us/entry  ujson.loads {megabytes / parsing:8,.0f} MB/s"
            )
    return speeds


if __name__ == "__main__":
    run()
