"""python -m tasks.withdraw: what goes is nowhere any more, and does not come back."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.withdraw_queue import waiting
from ooni_pipeline.bucket.withdrawn import withdrawn_counts
from tests.tasks.conftest import TOP, Pipeline

pytestmark = pytest.mark.one_server

YESTERDAY = dt.datetime.now(dt.timezone.utc).date() - dt.timedelta(days=1)
ADDRESS = "203.0.113.77"
#: Stands in everything that is to go, and in nothing else.
CANARY = "canary-5e1f"


def entry(number: int, *, canary: bool = False, **more: object) -> dict[str, object]:
    body = f"{CANARY} for {ADDRESS}" if canary else "nothing"
    return {
        "test_name": "web_connectivity", "input": f"http://{CANARY if canary else 'plain'}-{number}.test/",
        "probe_cc": "GR", "probe_asn": "AS1", "probe_ip": "127.0.0.1", "report_id": f"r{number // 10}",
        "data_format_version": "0.2.0", "test_start_time": "2026-08-01 00:00:00",
        "test_keys": {"requests": [{"response": {"body": body, "code": 200, "headers": {}}}]}, **more,
    }  # fmt: skip


def lines(*entries: dict[str, object]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in entries)


def name(what: str, ending: str = "json") -> str:
    return f"20260801T000000Z-web_connectivity-{what}-AS1-GR-probe-0.2.0.{ending}"


YAML_HEADER = (
    "---\nprobe_cc: GR\nprobe_asn: AS1\ntest_name: http_requests\nstart_time: 1469923200.0\n"
    "software_name: ooniprobe\nsoftware_version: 1.3.2\ntest_version: 0.1\n...\n"
)


def document(what: str) -> str:
    address = ADDRESS if what == CANARY else "x"
    return f"---\ninput: http://{what}.test/\nbody: {what} {address}\nrequests: []\n...\n"


#: Reports of all kinds, in which the canary stands beside other things.
REPORTS = {
    name("plain"): lines(entry(1)),
    name("mixed"): lines(entry(11), entry(12, canary=True), entry(13)),
    name("packed", "json.gz"): gzip.compress(lines(entry(21, canary=True), entry(22)), mtime=0),
    name("yaml", "yaml"): (YAML_HEADER + document("before") + document(CANARY) + document("behind")).encode(),
    name("only"): lines(entry(31, canary=True)),
    name("rejectedentry"): lines(entry(41)) + f'{{"broken {CANARY} {ADDRESS}\n'.encode() + lines(entry(42)),
    name("badheader", "yaml"): f"--- [{CANARY} {ADDRESS}\n...\n".encode(),
    name("samebytes"): lines(entry(12, canary=True), entry(51)),
    f"notes-{CANARY}.txt": f"{ADDRESS}".encode(),
}


def receive(pipeline: Pipeline) -> None:
    for file, data in REPORTS.items():
        (pipeline.archive / file).write_bytes(data)


def traces(*places: Path, texts: tuple[str, ...] = (CANARY, ADDRESS)) -> list[str]:
    """Files below these places in whose name or bytes, packed or not, in base64 too, a text stands."""
    found = []
    for place in places:
        for path in sorted(place.rglob("*")):
            data = path.read_bytes() if path.is_file() else b""
            if data[:2] == b"\x1f\x8b":
                data += gzip.decompress(data)
            for line in data.splitlines():
                if b'"base64"' in line:
                    import base64

                    data += base64.b64decode(json.loads(line)["base64"] or "")
            if any(text.encode() in data or text in path.name for text in texts):
                found.append(str(path.relative_to(place.parent)))
    return found


def in_the_database(pipeline: Pipeline) -> list[str]:
    """Tables and views that hold a trace."""
    tables = pipeline.query(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = current_schema()::regnamespace "
        "AND c.relkind IN ('r', 'm')"
    )
    return [
        table
        for (table,) in tables
        if pipeline.query(f"SELECT count(*) FROM {table} AS t WHERE t::text ~ '{CANARY}|{ADDRESS}'") != [(0,)]
    ]


def withdraw(pipeline: Pipeline, *arguments: str, stdin: str = "", expect: int = 0) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "tasks.withdraw", *arguments],
        cwd=TOP, env=pipeline.environment(), input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    output = ran.stdout + ran.stderr
    assert ran.returncode == expect, output
    assert "Traceback" not in output
    return output


def places(pipeline: Pipeline) -> tuple[Path, ...]:
    root = pipeline.root
    return root / "private", root / "public", root / "backup", root / "collector"


def test_no_trace_is_left_and_nothing_comes_back(pipeline: Pipeline) -> None:
    """An address in reports of all kinds, in two buckets, withdrawn; then all that could bring it back."""
    directory = pipeline.layout.bucket(Stage.RAW, YESTERDAY)
    directory.mkdir(parents=True)
    (directory / name("older")).write_bytes(REPORTS[name("mixed")])
    (directory / name("plainolder")).write_bytes(lines(entry(91)))
    pipeline.verb("adopt", YESTERDAY, YESTERDAY)
    receive(pipeline)
    pipeline.nightly(YESTERDAY)
    pipeline.nightly()
    assert {path.split("/")[0] for path in traces(*places(pipeline))} == {"private", "public", "backup"}
    assert in_the_database(pipeline)
    before = int(pipeline.query("SELECT count(*) FROM metrics")[0][0])

    listed = withdraw(pipeline, "--address", "--dry-run", stdin=f"{ADDRESS}\n")
    assert ADDRESS not in listed
    print(listed)
    untouched = pipeline.everything()
    assert pipeline.everything() == untouched
    output = withdraw(
        pipeline, "--address", "--yes", "--why", "a volunteer asked", "--by", "ada", stdin=ADDRESS
    )
    print(output)
    assert ADDRESS not in output
    assert traces(*places(pipeline)) == []
    assert in_the_database(pipeline) == []
    for day in (YESTERDAY, pipeline.today):
        print(pipeline.verb("ledger", day))
    print(withdrawn_counts(pipeline.layout, pipeline.today), before)
    assert waiting(pipeline.layout) == []
    shutil.rmtree(pipeline.root / "nothing", ignore_errors=True)
