"""How fast a bucket is loaded, against psql's ``\\copy`` of the same rows, ready made.

Usage: python tests/benchmarks/load.py [directory of PostgreSQL's programs]; without it the embedded ones.

Both go into the same table with the same indexes, each into a database of its own: first into an empty
bucket, then replacing it. ``\\copy`` finds rows that were made beforehand; loading a bucket makes them from
the sanitised reports, matches fingerprints, rolls up and marks.
"""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2

from ooni_pipeline.database.data_directory import DATABASE
from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.database.markers import forget_loads
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.migrate import migrate
from ooni_pipeline.database.programs import find_binaries
from ooni_pipeline.database.rows import metrics_row
from ooni_pipeline.database.statements import statement
from ooni_pipeline.fingerprints import load_fingerprints
from ooni_pipeline.report.json_lines import dump_entry, loads

BUCKET = dt.date(2016, 8, 1)
REPORTS, ENTRIES = 40, 120  # of about 42 kB each: 200 MB
ROUNDS = 3
#: Country, and what a page there may show.
COUNTRIES = (
    ("TR", "<title>Telekomünikasyon İletişim Başkanlığı</title>"),  # noqa: RUF001 - so it is spelled
    ("IR", '<iframe src="http://10.10.34.34?type=Invalid Site">'),
    ("CN", ""),
    ("DE", ""),
    ("US", ""),
)
_TAGS = ("div", "p", "a href='/index.html'", 'span class="menu"', "li", "td", "script", "h2")


def generate_reports(directory: Path) -> list[Path]:
    """Sanitised reports of web_connectivity, the same on every machine; one page in twenty is blocked."""
    chance = random.Random(20160801)  # noqa: S311 - the same reports every time
    words = [
        "".join(chance.choices("aeiounstrlmdhcfgpvwxyzkbé", k=chance.randint(2, 9))) for _ in range(5_000)
    ]
    reports = []
    for number in range(REPORTS):
        country, page = COUNTRIES[number % len(COUNTRIES)]
        name = f"20160801T000000-web_connectivity-{number:04}-AS{number}-{country}-probe-0.2.0.json"
        path = directory / name
        with path.open("wb") as lines:
            for _ in range(ENTRIES):
                blocked = page if chance.random() < 0.05 else ""
                body = _html(chance.randint(5_000, 60_000), blocked, words, chance)
                lines.write(dump_entry(_entry(number, country, body, name, chance)) + b"\n")
        reports.append(path)
    return reports


def _html(size: int, blocked: str, words: list[str], chance: random.Random) -> str:
    lines = [f"<html><head>{blocked}</head><body>"]
    length = 0
    while length < size:
        tag = chance.choice(_TAGS)
        text = " ".join(chance.choices(words, k=9))
        lines.append(f"\t<{tag}>{text}: 100% &amp; more</{tag.split()[0]}>")
        length += len(lines[-1])
    return "\n".join(lines) + "\n</body></html>\n"


def _entry(number: int, country: str, body: str, name: str, chance: random.Random) -> dict[str, Any]:
    url = f"http://www.example-{chance.randint(1, 1_000)}.test/"
    headers = {"Server": "nginx", "Content-Type": "text/html; charset=utf-8", "Date": "now", "Vary": "*"}
    exchange = {
        "failure": None,
        "request": {
            "body": "",
            "headers": {"Accept": "*/*"},
            "method": "GET",
            "tor": {"is_tor": False},
            "url": url,
        },
        "response": {"body": body, "code": 200, "headers": headers},
    }
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128))),
        "input": url,
        "input_hashes": [],
        "report_id": f"20160801T000000Z_AS{number}_{'x' * 50}",
        "report_filename": f"{BUCKET}/{name}",
        "options": [],
        "probe_cc": country,
        "probe_asn": f"AS{number}",
        "probe_ip": "127.0.0.1",
        "probe_city": None,
        "backend_version": "1.3.0",
        "data_format_version": "0.2.0",
        "test_name": "web_connectivity",
        "test_version": "0.1.0",
        "test_start_time": "2016-08-01 00:00:00",
        "measurement_start_time": f"2016-08-01 01:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}",
        "test_runtime": chance.random(),
        "test_helpers": {"backend": {"address": "httpo://test.onion", "type": "onion"}},
        "software_name": "ooniprobe",
        "software_version": "1.6.1",
        "bucket_date": BUCKET.isoformat(),
        "test_keys": {
            "accessible": True,
            "blocking": False,
            "control_failure": None,
            "dns_experiment_failure": None,
            "http_experiment_failure": None if chance.random() < 0.95 else "response_never_received",
            "queries": [{"answers": [{"answer_type": "A", "ipv4": "192.0.2.1"}], "hostname": "www.test"}],
            "requests": [exchange],
            "tcp_connect": [{"ip": "192.0.2.1", "port": 80, "status": {"failure": None, "success": True}}],
        },
    }


def write_rows(reports: list[Path], path: Path) -> None:
    """The rows of the reports as a file for ``\\copy``."""
    with path.open("wb") as rows:
        for report in reports:
            with report.open("rb") as lines:
                rows.writelines(metrics_row(loads(line), Counter()) for line in lines)


class Server:
    """Databases to measure in, each with our schema and nothing else."""

    def __init__(self, url: str, psql: Path) -> None:
        self._url, self._psql = url, psql

    def new_database(self) -> str:
        name = f"benchmark_{uuid.uuid4().hex}"
        self.command(self._url, f"CREATE DATABASE {name}")
        url = self._url.replace(f"/{DATABASE}?", f"/{name}?", 1)
        migrate(url)
        self.command(url, f"SELECT ensure_metrics_partition('{BUCKET}')")
        return url

    def drop(self, url: str) -> None:
        """Give back the disk of a database."""
        name = url.rpartition("?")[0].rpartition("/")[2]
        self.command(self._url, f"DROP DATABASE {name} WITH (FORCE)")

    def command(self, url: str, text: str) -> None:
        connection = psycopg2.connect(url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text)
        connection.close()

    def clear(self, url: str) -> None:
        """Nothing of the bucket is left, and no dead rows of it."""
        for table in ("metrics", "fingerprint_matches", "report_totals", "country_totals", "loads"):
            self.command(url, f"DELETE FROM {table} WHERE bucket_date = '{BUCKET}'")
        self.command(url, f"VACUUM metrics_{BUCKET:%Y_%m}")

    def copy(self, url: str, rows: Path, first: str = "") -> None:
        """psql's own ``\\copy`` in one transaction, after the statement ``first``."""
        copy = (
            " ".join(
                line for line in statement("load/copy_metrics").splitlines() if not line.startswith("--")
            )
            .replace("STDIN", f"'{rows}'")
            .rstrip(" ;")
        )
        commands = [argument for text in (first, f"\\{copy}") if text for argument in ("-c", text)]
        subprocess.run(
            [self._psql, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", url, *commands], check=True
        )


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure(server: Server, copied: str, loaded: str, reports: list[Path], rows: Path) -> dict[str, float]:
    """Seconds of one round, by what was done, in two databases that do not hold the bucket, or in one."""
    fingerprints = load_fingerprints()
    delete = f"DELETE FROM metrics WHERE bucket_date = '{BUCKET}'"
    seconds = {}
    for what, first in (("\\copy", ""), ("\\copy, replacing", delete)):
        server.command(copied, "CHECKPOINT")
        seconds[what] = _seconds(lambda first=first: server.copy(copied, rows, first))  # type: ignore[misc]
    if copied == loaded:
        server.clear(copied)
    for what in ("load", "load, replacing"):
        forget_loads(loaded, BUCKET, BUCKET)
        server.command(loaded, "CHECKPOINT")
        seconds[what] = _seconds(lambda: load_bucket(loaded, BUCKET, reports, fingerprints))
    return seconds


def run(bin_dir: Path | None = None) -> dict[str, float]:
    """Speed of a load over that of ``\\copy`` (the best of rounds that take turns), printed and returned."""
    with tempfile.TemporaryDirectory(prefix="ooni-benchmark-") as folder:
        directory = Path(folder)
        reports = generate_reports(directory)
        rows = directory / "rows.csv"
        write_rows(reports, rows)
        megabytes = sum(report.stat().st_size for report in reports) / 1e6
        embedded = EmbeddedServer(directory / "database", bin_dir)
        try:
            server = Server(embedded.ensure_running(), find_binaries(bin_dir) / "psql")
            rounds = []
            for number in range(ROUNDS):
                databases = server.new_database(), server.new_database()
                rounds.append(measure(server, *databases, reports, rows))
                figures = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in rounds[-1].items())
                print(f"round {number + 1}, {megabytes:.0f} MB in {REPORTS} reports: {figures}", flush=True)
        finally:
            embedded.stop()
    ratios = {
        what: min(seconds[f"\\copy{what}"] for seconds in rounds)
        / min(seconds[f"load{what}"] for seconds in rounds)
        for what in ("", ", replacing")
    }
    for what, ratio in ratios.items():
        print(f"load{what}: {ratio:.2f} of the speed of \\copy{what}")
    return {f"load{what}": ratio for what, ratio in ratios.items()}


if __name__ == "__main__":
    run(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
