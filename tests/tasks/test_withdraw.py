"""python -m tasks.withdraw: what goes is nowhere any more, and does not come back."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.withdraw_queue import BACKUP, SNAPSHOTS, waiting
from ooni_pipeline.bucket.withdrawn import withdrawals, withdrawn_counts
from tests.tasks.conftest import DEMO, TOP, Pipeline

pytestmark = pytest.mark.one_server

YESTERDAY = dt.datetime.now(dt.timezone.utc).date() - dt.timedelta(days=1)
ADDRESS = "203.0.113.77"
BRIDGE = next(place.rpartition(":")[0] for place in json.loads((DEMO / "bridge_table.json").read_bytes()))
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
            for coded in re.findall(rb'"base64": ?"([^"]*)"', data):
                data += base64.b64decode(coded)
            if any(text.encode() in data or text in path.name for text in texts):
                found.append(f"{place.name}/{path.relative_to(place)}")
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


def first_parts(found: list[str]) -> set[str]:
    return {"/".join(path.split("/")[:2]) for path in found}


def everything_received(pipeline: Pipeline) -> None:
    """Reports of all kinds, in two buckets, and the nights over them."""
    directory = pipeline.layout.bucket(Stage.RAW, YESTERDAY)
    directory.mkdir(parents=True)
    (directory / name("older")).write_bytes(REPORTS[name("mixed")])
    (directory / name("plainolder")).write_bytes(lines(entry(91)))
    pipeline.verb("adopt", YESTERDAY, YESTERDAY)
    receive(pipeline)
    pipeline.nightly(YESTERDAY)
    pipeline.nightly()


def test_no_trace_is_left_and_nothing_comes_back(pipeline: Pipeline) -> None:
    """An address in reports of all kinds, in two buckets, withdrawn; then all that could bring it back."""
    everything_received(pipeline)
    layout, backup = pipeline.layout, pipeline.root / "backup"
    assert first_parts(traces(*places(pipeline))) >= {
        "private/reports-raw", "private/rejected", "private/normalised", "private/sanitised",
        f"public/{YESTERDAY}", f"public/{pipeline.today}", "backup/reports-raw",
    }  # fmt: skip
    assert in_the_database(pipeline)
    shutil.copytree(backup, pipeline.root / "old")
    others = pipeline.query(f"SELECT count(*) FROM metrics WHERE metrics::text !~ '{CANARY}'")

    untouched = pipeline.everything()
    listed = withdraw(pipeline, "--address", "--dry-run", stdin=f"{ADDRESS}\n")
    assert "3 whole reports and 6 entries of others, in 2 buckets" in listed
    assert pipeline.everything() == untouched
    because = ("--why", "a volunteer asked", "--by", "ada")
    told = withdraw(pipeline, "--address", "--yes", *because, stdin=ADDRESS)
    assert ADDRESS not in listed + told
    assert_gone(pipeline, others)
    assert [withdrawn_counts(layout, day) for day in (YESTERDAY, pipeline.today)] == [(0, 1), (3, 4)]
    (act,) = withdrawals(layout)
    assert (act.by, act.why) == ("ada", "a volunteer asked")
    assert "6 received" not in pipeline.verb("ledger", YESTERDAY, pipeline.today)
    index = json.loads((layout.bucket(Stage.PUBLISHED, pipeline.today) / "index.json").read_text())
    assert index["withdrawn"] == {"reports": 3, "measurements": 4}
    assert "nothing was withdrawn" not in told
    assert "0 whole reports and 0 entries" in withdraw(
        pipeline, "--address", "--yes", *because, stdin=ADDRESS
    ), "twice is harmless"

    # The same reports again, and new ones that repeat an entry, with others and alone, on a collector.
    receive(pipeline)
    (pipeline.archive / name("alone")).write_bytes(b"\xef\xbb\xbf" + REPORTS[name("only")])
    (pipeline.archive / name("again")).write_bytes(REPORTS[name("only")] + lines(entry(61)))
    pipeline.verb("forget", "fetch", pipeline.today, pipeline.today)
    pipeline.nightly()
    others = [(others[0][0] + 1,)]
    assert in_the_database(pipeline) == []
    assert first_parts(traces(*places(pipeline))) == {
        "private/reports-raw", "private/withdrawing", "backup/reports-raw", "collector/archive"
    }  # fmt: skip
    ledger = pipeline.verb("ledger", pipeline.today)
    assert "still there: entries that came back in another report" in ledger
    withdraw(pipeline, "--due")
    assert_gone(pipeline, others)

    # An old state of the backup, brought back on a fresh machine.
    for path in (pipeline.root / "old").rglob("*"):
        if path.is_file():
            shutil.copyfile(path, backup / path.relative_to(pipeline.root / "old"))
    layout.private.rename(pipeline.root / "lost")
    for day in (YESTERDAY, pipeline.today):
        pipeline.luigi("--module", "tasks.normalise", "NormaliseReports", "--bucket-date", str(day))
    assert traces(layout.private) == []
    assert {item.kind for item in waiting(layout)} == {BACKUP}, "its objects must go"
    for day in (YESTERDAY, pipeline.today):
        pipeline.luigi("--module", "tasks.backup", "BackupReports", "--bucket-date", str(day))
    withdraw(pipeline, "--due")
    assert traces(layout.private, layout.public, backup, pipeline.root / "collector") == []
    assert waiting(layout) == []


def assert_gone(pipeline: Pipeline, others: object, days: tuple[dt.date, ...] = ()) -> None:
    """Nothing of it anywhere, all else still there, and the ledgers add up."""
    assert traces(*places(pipeline)) == []
    assert in_the_database(pipeline) == []
    assert pipeline.query("SELECT count(*) FROM metrics") == others
    assert waiting(pipeline.layout) == []
    for day in days or (YESTERDAY, pipeline.today):
        pipeline.verb("ledger", day)
    pipeline.nightly()


def mirrored(pipeline: Pipeline) -> str:
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    return "".join(gzip.decompress(path.read_bytes()).decode() for path in sorted(bucket.glob("*.gz")))


def test_a_measurement_with_its_duplicates_a_report_id_and_a_report_that_is_held(pipeline: Pipeline) -> None:
    for report in (name("mixed"), name("samebytes"), name("only"), name("plain")):
        (pipeline.archive / report).write_bytes(REPORTS[report])
    asks = entry(71, input=f"http://ask-{CANARY}.test/{BRIDGE}", test_keys={"body": BRIDGE})
    (pipeline.archive / name("asks")).write_bytes(lines(asks))
    pipeline.nightly()
    layout, day = pipeline.layout, pipeline.today
    because = ("--yes", "--why", "a volunteer asked")

    twelve = f"http://{CANARY}-12.test/"
    ((number,),) = pipeline.query(f"SELECT id::text FROM metrics WHERE input = '{twelve}'")
    told = withdraw(pipeline, "--id", number.upper(), *because)
    assert "0 whole reports and 2 entries of others" in told, "the duplicate in another report too"
    assert traces(*places(pipeline), texts=(twelve,)) == []
    assert "plain-11" in mirrored(pipeline)
    assert f"{CANARY}-31" in mirrored(pipeline)
    assert withdrawn_counts(layout, day) == (0, 1), "it was one measurement"

    withdraw(pipeline, "--report-id", "r3", *because)
    assert f"{CANARY}-31" not in mirrored(pipeline)
    assert withdrawn_counts(layout, day) == (1, 2)

    held = name("asks").replace("Z-", "-")
    assert held.removesuffix(".json") in pipeline.verb("held", "list", expect=1)
    withdraw(pipeline, "--file", f"{day}/{held}", *because)
    assert pipeline.verb("held", "list") == ""
    assert layout.decisions(day).read_text().count("asks") == 0
    assert withdrawn_counts(layout, day) == (2, 3)
    assert_gone(pipeline, [(4,)], days=(day,))
    names = ("asks-", "-only-")
    assert traces(layout.private, pipeline.root / "backup", pipeline.root / "collector", texts=names) == []
    listed = withdraw(pipeline, "--list")
    assert listed.count("a volunteer asked") == 3


def test_what_is_refused(pipeline: Pipeline) -> None:
    """Nothing is withdrawn by mistake, and nothing is said that must not be."""
    day = pipeline.today
    (pipeline.archive / name("only")).write_bytes(REPORTS[name("only")])
    (pipeline.archive / name("plain")).write_bytes(REPORTS[name("plain")])
    pipeline.luigi("--module", "tasks.fetch", "FetchReports", "--bucket-date", str(day))
    before = pipeline.everything()
    report = name("only").replace("Z-", "-")
    why = ("--yes", "--why")
    assert "--why is required" in withdraw(pipeline, "--file", f"{day}/{report}", expect=2)
    assert "has no report of that name" in withdraw(pipeline, "--file", f"{day}/x", *why, "w", expect=1)
    assert "there is no manifest" in withdraw(pipeline, "--file", f"{YESTERDAY}/x", *why, "w", expect=1)
    assert "--why says what is withdrawn" in withdraw(
        pipeline, "--file", f"{day}/{report}", *why, f"because of {report}", expect=1
    )
    told = withdraw(pipeline, "--address", *why, f"he is at {ADDRESS}", stdin=ADDRESS, expect=1)
    assert "--why says what is withdrawn" in told
    told += withdraw(pipeline, "--address", *why, "w", "--by", f"x {ADDRESS}", stdin=ADDRESS, expect=1)
    assert "--by says what is withdrawn" in told
    assert "want a name" in withdraw(pipeline, "--report-id", "", *why, "w", stdin=ADDRESS, expect=2)
    assert "is not like 2016-08-01/" in withdraw(pipeline, "--file", report, *why, "w", expect=2)
    told += withdraw(pipeline, "--address", *why, "w", stdin="a@b", expect=1)
    assert "cannot be looked for: it is no IP address" in told
    told += withdraw(pipeline, "--address", "--why", "w", stdin=ADDRESS, expect=1)
    assert "nobody can be asked here: look with --dry-run, then add --yes" in told
    assert ADDRESS not in told
    assert "a@b" not in told
    (pipeline.layout.bucket(Stage.RAW, day) / report).rename(pipeline.root / "elsewhere")
    told = withdraw(pipeline, "--address", "--dry-run", stdin=ADDRESS, expect=1)
    assert "1 raw reports are not here, nobody has looked into them: luigi --module tasks.restore " in told
    (pipeline.root / "elsewhere").rename(pipeline.layout.bucket(Stage.RAW, day) / report)
    assert pipeline.everything() == before
    pipeline.verb("forget", "fetch", day, day)
    told = withdraw(pipeline, "--file", f"{day}/{report}", *why, "w", expect=1)
    assert f"tasks.fetch FetchReports --bucket-date {day} first" in told
    assert not pipeline.layout.withdrawn().exists()


def test_a_collector_that_is_away_is_asked_again_and_copies_are_queued(pipeline: Pipeline) -> None:
    pipeline.configure(withdraw__dumps_days="30", withdraw__snapshots_days="7")
    for report in (name("mixed"), name("only"), name("plain")):
        (pipeline.archive / report).write_bytes(REPORTS[report])
    task = ("--module", "tasks.backup", "BackupReports", "--bucket-date", str(pipeline.today))
    pipeline.luigi(*task)
    pipeline.archive.rename(pipeline.root / "away")
    told = withdraw(pipeline, "--address", "--yes", "--why", "w", stdin=ADDRESS)
    assert told.count(f"a file on collector {pipeline.archive}") == 2
    assert "snapshots of the disks, until" in told
    assert "dumps" not in told, "it was never loaded"
    assert withdraw(pipeline, "--due") == "", "cron mails what is printed"
    assert len(waiting(pipeline.layout)) == 3

    (pipeline.root / "away").rename(pipeline.archive)
    (pipeline.archive / name("only")).write_bytes(b"another report by now\n")
    withdraw(pipeline, "--due")
    assert sorted(path.name for path in pipeline.archive.iterdir()) == [name("only"), name("plain")]
    assert [item.kind for item in waiting(pipeline.layout)] == [SNAPSHOTS]
    assert traces(*places(pipeline)) == []


def test_a_backup_that_is_encrypted(pipeline: Pipeline) -> None:
    """This machine cannot read its own backup, and objects go all the same; a rebuild has the identity."""
    identity = pyrage.x25519.Identity.generate()
    key = pipeline.root / "age.key"
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    pipeline.configure(backup__encrypt_to=str(identity.to_public()))
    for report in (name("mixed"), name("only"), name("plain")):
        (pipeline.archive / report).write_bytes(REPORTS[report])
    task = ("--module", "tasks.backup", "BackupReports", "--bucket-date", str(pipeline.today))
    pipeline.luigi(*task)
    backup = pipeline.root / "backup"
    before = {path: path.stat().st_mtime_ns for path in backup.rglob("*") if path.is_file()}
    withdraw(pipeline, "--address", "--yes", "--why", "w", stdin=ADDRESS)
    after = {path: path.stat().st_mtime_ns for path in backup.rglob("*") if path.is_file()}
    same = {path.name.partition("-AS1")[0] for path in before if after.get(path) == before[path]}
    assert "20260801T000000-web_connectivity-plain" in same, "it is not put again"
    assert not [path for path in after if "-only-" in path.name]
    assert withdraw(pipeline, "--due") == ""
    pipeline.layout.private.rename(pipeline.root / "lost")
    pipeline.configure(backup__encrypt_to=str(identity.to_public()), backup__identity=str(key))
    pipeline.luigi("--module", "tasks.restore", "RestoreReports", "--bucket-date", str(pipeline.today))
    assert traces(pipeline.layout.private) == []
    assert len(withdrawals(pipeline.layout)) == 1
    assert len(list(pipeline.layout.bucket(Stage.RAW, pipeline.today).iterdir())) == 2
