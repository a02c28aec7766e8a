"""A bridge that is listed after its address was published: mirror, rows and views are clean at once."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.report.writer import part_of
from tests.tasks.conftest import DEMO, Pipeline

pytestmark = pytest.mark.one_server

ADDRESS, FINGERPRINT = "203.0.113.77", "ab" * 20
LINES = json.loads((DEMO / "bridge_table.json").read_bytes())
LISTED = {**LINES, f"{ADDRESS}:443": {"fingerprint": FINGERPRINT, "distributor": "https"}}
WEEK = [dt.date(2016, 8, 1) + dt.timedelta(days=number) for number in range(3)]


@pytest.fixture
def table(pipeline: Pipeline) -> Path:
    """The demo's table, where a test may change it."""
    path = pipeline.root / "bridge_table.json"
    path.write_text(json.dumps(LINES))
    pipeline.configure(sanitise__bridge_table=str(path))
    return path


def report(name: str, test_name: str, **more: object) -> tuple[str, str]:
    entry = {"test_name": test_name, "probe_cc": "GR", "probe_asn": "AS1", "probe_ip": "127.0.0.1",
             "report_id": name, "data_format_version": "0.2.0", **more}  # fmt: skip
    return f"20160801T000000Z-{test_name}-{name}-AS1-GR-probe-0.2.0.json", json.dumps(entry) + "\n"


CONNECTS = report("connects", "tcp_connect", input=f"{ADDRESS}:443", test_keys={"connection": "success"})
ASKS = report(
    "asks", "web_connectivity", input="http://a.test/",
    test_keys={"requests": [{"response": {"body": f"is it {ADDRESS}?", "code": 200, "headers": {}}}]},
)  # fmt: skip


def buckets(pipeline: Pipeline, **reports: tuple[tuple[str, str], ...]) -> None:
    """Buckets of some of the demo's reports and these, each day of a short week, through the night."""
    for day in WEEK[: len(reports)]:
        pipeline.put_raw(day, *(("-GR-", "-KR-") if day == WEEK[0] else ("-TR-",)))
        directory = pipeline.layout.bucket(Stage.RAW, day)
        for name, text in reports[f"day{day.day}"]:
            (directory / name).write_text(text)
    pipeline.verb("adopt", WEEK[0], WEEK[-1])
    for day in WEEK[: len(reports)]:
        pipeline.nightly(day)


def resanitise(pipeline: Pipeline, *more: str, expect: int = 0) -> str:
    return pipeline.verb("resanitise", WEEK[0], WEEK[-1], *more, expect=expect)


def named_in(pipeline: Pipeline) -> list[str]:
    """Where the address can be read: on the mirror, in rows, in views."""
    found = [
        path.name for path in pipeline.layout.public.rglob("*") if path.is_file() and ADDRESS in _text(path)
    ]
    for table in ("metrics", "blockpage_urls", "fingerprint_matches"):
        found += [
            table for (text,) in pipeline.query(f"SELECT {table}::text FROM {table}") if ADDRESS in text
        ]
    return found


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def ids(pipeline: Pipeline) -> set[str]:
    return {str(row[0]) for row in pipeline.query("SELECT id FROM metrics")}


def inodes(pipeline: Pipeline, day: dt.date = WEEK[0]) -> dict[str, tuple[int, int]]:
    bucket = pipeline.layout.bucket(Stage.SANITISED, day)
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in bucket.iterdir()}


def loads(pipeline: Pipeline) -> object:
    return pipeline.query("SELECT bucket_date, load_id, loaded_at FROM loads ORDER BY 1")


def test_a_newly_listed_bridge_goes_from_everywhere(pipeline: Pipeline, table: Path) -> None:
    buckets(pipeline, day1=(CONNECTS,), day2=())
    assert sorted(named_in(pipeline)) == [CONNECTS[0].replace("0Z-", "0-") + ".gz", "metrics"]
    before, rows, loaded = inodes(pipeline), ids(pipeline), loads(pipeline)

    table.write_text(json.dumps(LISTED))
    told = resanitise(pipeline, "--dry-run", expect=1)
    assert f"{WEEK[0]}  4 reports searched, 1 name a bridge" in told
    assert f"{WEEK[1]}  3 reports searched, none names a bridge" in told
    assert (inodes(pipeline), loads(pipeline)) == (before, loaded), "a dry run changes nothing"
    assert "resanitise" in pipeline.verb("ledger", WEEK[0])

    told = resanitise(pipeline)
    assert ADDRESS not in told
    assert named_in(pipeline) == []
    assert ids(pipeline) == rows
    after = inodes(pipeline)
    connects = CONNECTS[0].replace("0Z-", "0-")
    assert before.pop(connects) != after.pop(connects)
    assert after == before, "the other reports were carried over"
    assert loads(pipeline)[1] == loaded[1], "the bucket without a hit is not loaded again"  # type: ignore[index]
    assert pipeline.query("SELECT count(*) FROM loads JOIN views_contain USING (bucket_date, load_id)") == [
        (2,)
    ]
    for day in WEEK[:2]:
        assert "warning" not in pipeline.verb("ledger", day), "nothing is left to do"
        versions = {pipeline.manifest(stage, day).version for stage in (Stage.SANITISED, Stage.PUBLISHED)}
        assert len(versions) == 1

    before, loaded = inodes(pipeline), loads(pipeline)
    told = resanitise(pipeline)
    assert told.count("sanitised with this table") == 2
    assert (inodes(pipeline), loads(pipeline)) == (before, loaded)
    table.write_text(json.dumps(LINES))
    assert "lacks 2 of the" in resanitise(pipeline, expect=1), (
        "the table of a renewed proof is remembered too"
    )


def test_a_report_that_asks_for_it_is_held(pipeline: Pipeline, table: Path) -> None:
    buckets(pipeline, day1=(ASKS,))
    count = pipeline.query("SELECT count FROM country_counts WHERE probe_cc = 'GR'")[0][0]
    assert len(named_in(pipeline)) == 2
    table.write_text(json.dumps(LISTED))
    told = resanitise(pipeline)
    assert f"bucket {WEEK[0]}: 1 reports are held for a person" in told
    assert named_in(pipeline) == []
    assert pipeline.query("SELECT count FROM country_counts WHERE probe_cc = 'GR'") == [(count - 1,)]
    assert "bridge_elsewhere" in pipeline.verb("held", "list", expect=1)
    table.write_text(json.dumps({**LISTED, "203.0.113.78:1": {"fingerprint": "cd" * 20}}))
    assert "none names a bridge of today's table; 1 reports stay held" in resanitise(pipeline)
    table.write_text(json.dumps(LISTED))
    assert "lacks 2 of the" in resanitise(pipeline, expect=1), "what was searched for is remembered"


def test_a_name_that_holds_it(pipeline: Pipeline, table: Path) -> None:
    buckets(pipeline, day1=(report(FINGERPRINT, "ndt", test_keys={}),))
    mirror = pipeline.layout.bucket(Stage.PUBLISHED, WEEK[0])
    assert FINGERPRINT in (mirror / "index.json").read_text()
    table.write_text(json.dumps(LISTED))
    resanitise(pipeline)
    assert not [path for path in mirror.iterdir() if FINGERPRINT in path.name or FINGERPRINT in _text(path)]


def test_other_rules(pipeline: Pipeline, table: Path) -> None:
    """A bucket that was sanitised by an older version is done again as a whole."""
    buckets(pipeline, day1=())
    path = pipeline.layout.manifest(Stage.SANITISED, WEEK[0])
    proof = Manifest.read(path)
    proof.version = f"sanitise 1{proof.version[proof.version.index(',') :]}"
    proof.write(path)
    before, rows = inodes(pipeline), pipeline.rows_digest()
    assert f"{WEEK[0]}  sanitise 1" in resanitise(pipeline)
    assert not set(before.values()) & set(inodes(pipeline).values())
    assert pipeline.rows_digest() == rows
    assert "warning" not in pipeline.verb("ledger", WEEK[0])


def test_a_sanitised_file_that_is_not_what_was_proven(pipeline: Pipeline, table: Path) -> None:
    buckets(pipeline, day1=())
    rows = pipeline.rows_digest()
    bucket = pipeline.layout.bucket(Stage.SANITISED, WEEK[0])
    gone, changed, *_ = sorted(bucket.iterdir())
    gone.unlink()
    changed.write_bytes(changed.read_bytes().replace(b'"', b"'", 1))
    table.write_text(json.dumps(LISTED))
    assert "2 name a bridge of today's table (or are not what was proven)" in resanitise(pipeline)
    assert gone.exists()
    assert pipeline.rows_digest() == rows


@pytest.mark.parametrize("stage", ["normalise", "sanitise", "publish", "load"])
def test_what_a_run_that_died_left_undone(pipeline: Pipeline, table: Path, stage: str) -> None:
    """Killed between what it forgets and what it does again: the next run ends it, or says who does."""
    buckets(pipeline, day1=(CONNECTS,))
    table.write_text(json.dumps(LISTED))
    pipeline.verb("forget", stage, WEEK[0], WEEK[0])
    if stage == "normalise":
        assert f"Nightly --bucket-date {WEEK[0]}" in resanitise(pipeline, expect=1)
        pipeline.nightly(WEEK[0])
    else:
        resanitise(pipeline)
    assert named_in(pipeline) == []
    assert "warning" not in pipeline.verb("ledger", WEEK[0])


def test_stopped_in_the_middle(pipeline: Pipeline, table: Path) -> None:
    """The mirror first; the rows when the database takes them again; and nothing is lost in between."""
    buckets(pipeline, day1=(CONNECTS,))
    table.write_text(json.dumps(LISTED))
    in_the_way = part_of(pipeline.layout.manifest(Stage.SANITISED, WEEK[0]))
    in_the_way.mkdir()
    resanitise(pipeline, expect=1)
    in_the_way.rmdir()
    pipeline.configure(sanitise__bridge_table=str(table), database__url="postgresql:///no?host=/nonexistent")
    told = resanitise(pipeline, expect=1)
    assert "cannot reach the database" in told
    pipeline.configure(sanitise__bridge_table=str(table))
    resanitise(pipeline)
    assert named_in(pipeline) == []
    pipeline.verb("ledger", WEEK[0])


def test_a_smaller_table(pipeline: Pipeline, table: Path) -> None:
    buckets(pipeline, day1=())
    table.write_text(json.dumps(dict(list(LINES.items())[1:])))
    for more in ((), ("--dry-run",)):
        told = resanitise(pipeline, *more, expect=1)
        assert f"python -m tasks.resanitise {WEEK[0]} {WEEK[-1]} --accept-smaller-bridge-table" in told
    memory = pipeline.layout.known_bridges().read_bytes()
    resanitise(pipeline, "--dry-run", "--accept-smaller-bridge-table")
    assert pipeline.layout.known_bridges().read_bytes() == memory
    assert "is accepted as it is" in resanitise(pipeline, "--accept-smaller-bridge-table")
    resanitise(pipeline)


def test_buckets_that_never_were(pipeline: Pipeline, table: Path) -> None:
    assert resanitise(pipeline) == "0 buckets looked at\n"
