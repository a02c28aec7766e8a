"""One night over the demo's reports, and what an operator does afterwards."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

from ooni_pipeline.bucket.layout import Stage
from tests.conftest import Browse
from tests.tasks.conftest import DEMO, Pipeline

#: Distinct blocked inputs by country that the demo's README promises.
BLOCKED = {
    "AE": 4, "BE": 2, "CN": 13, "CY": 2, "DK": 2, "FR": 1, "GB": 3, "GR": 5, "ID": 8, "IN": 7, "IR": 9,
    "IT": 7, "KR": 9, "MY": 3, "QA": 2, "RO": 4, "RU": 13, "SA": 4, "TR": 10,
}  # fmt: skip


def test_a_night(pipeline: Pipeline) -> None:
    pipeline.receive()
    received = {path.name: path.read_bytes() for path in pipeline.archive.iterdir()}
    pipeline.nightly()

    assert (
        dict(pipeline.query("SELECT probe_cc, sum(block_count) FROM blockpage_count GROUP BY 1")) == BLOCKED
    )
    urls = dict(pipeline.query("SELECT probe_cc, count(*) FROM blockpage_urls GROUP BY 1"))
    assert urls == BLOCKED
    vendors = pipeline.query("SELECT vendor, probe_cc FROM identified_vendors ORDER BY 1, 2")
    assert vendors == [
        ("bluecoat", "EG"), ("bluecoat", "MM"), ("privoxy", "TH"), ("squid", "BR"), ("squid", "ID")
    ]  # fmt: skip
    assert pipeline.query("SELECT sum(count) FROM country_counts") == [(448,)]
    assert pipeline.query("SELECT count(*), count(DISTINCT id) FROM metrics") == [(448, 448)]

    ledger = pipeline.verb("ledger", pipeline.today)
    assert "adds up" in ledger
    assert "70 received" in ledger

    tally = pipeline.manifest(Stage.NORMALISED).tally()
    assert dict(tally.rejected) == {
        "not_json": 2, "null_entry": 1, "too_many_nodes": 1, "truncated": 1, "unsafe_tag": 1
    }  # fmt: skip
    whole = sorted(
        record.rejected for record in pipeline.manifest(Stage.NORMALISED).reports if record.rejected
    )
    assert whole == ["bad_header", "empty_report"]

    # Everything that was taken went from the collector, and is here and in the backup, byte for byte.
    assert list(pipeline.archive.iterdir()) == []
    for root in (pipeline.layout.private, pipeline.root / "backup"):
        bucket = root / "reports-raw" / "yaml" / str(pipeline.today)
        assert sorted(path.read_bytes() for path in bucket.iterdir()) == sorted(received.values())

    _check_mirror(pipeline)
    _check_that_no_bridge_leaked(pipeline)


def _check_mirror(pipeline: Pipeline) -> None:
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bucket, check=True)
    index = json.loads((bucket / "index.json").read_bytes())
    assert index["measurements"] == 448
    ids = set()
    for report in index["reports"]:
        lines = gzip.decompress((bucket / report["file"]).read_bytes()).splitlines()
        assert len(lines) == report["measurements"]
        ids |= {json.loads(line)["id"] for line in lines}
    assert ids == {str(row[0]) for row in pipeline.query("SELECT id FROM metrics")}


def test_a_browser_shows_the_mirror(pipeline: Pipeline, browse: Browse) -> None:
    pipeline.receive("-GR-", "-KR-")
    name = "20260801T000000Z-<img src=x onerror=document.title=1>-id-AS1-GR-probe-0.2.0.json"
    (pipeline.archive / name).write_bytes(b'{"test_name": "web_connectivity", "input": "http://a.test/"}\n')
    pipeline.nightly()
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    page = browse((bucket / "index.html").as_uri())
    assert f"<title>Measurements of bucket {pipeline.today}</title>" in page
    assert "<img" not in page
    assert "img_src_x_onerror" in page, "under a name made harmless"
    reports = json.loads((bucket / "index.json").read_bytes())["reports"]
    links = re.findall(r'<a href="([^"]+\.json\.gz)">', page)
    assert [unquote(link) for link in links] == [report["file"] for report in reports]
    assert all((bucket / unquote(link)).is_file() for link in links)


def _check_that_no_bridge_leaked(pipeline: Pipeline) -> None:
    """By plain search, sharing no code with the sanitiser."""
    table = json.loads((DEMO / "bridge_table.json").read_bytes())
    secrets = [line["fingerprint"].lower() for line in table.values()]
    secrets += [place.rpartition(":")[0].strip("[]").lower() for place in table]
    published = [
        gzip.decompress(path.read_bytes()).decode().lower()
        for path in pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today).glob("*.gz")
    ]
    rows = [row[0].lower() for row in pipeline.query("SELECT metrics::text FROM metrics")]
    for secret in secrets:
        assert not any(secret in text for text in published + rows)
    hashed = {
        hashlib.sha1(bytes.fromhex(line["fingerprint"]), usedforsecurity=False).hexdigest()
        for line in table.values()
    }
    inputs = {row[0] for row in pipeline.query("SELECT DISTINCT input FROM metrics WHERE input IS NOT NULL")}
    assert hashed & inputs, "the bridges are still there, by their public names"


def test_again_there_is_nothing_to_do(pipeline: Pipeline) -> None:
    pipeline.receive("-IR-", "-GR-")
    pipeline.nightly()
    before = _proofs(pipeline)
    output = pipeline.nightly()
    assert "Did not run any tasks" in output
    assert _proofs(pipeline) == before


def _proofs(pipeline: Pipeline) -> object:
    manifests = {
        path: path.stat().st_mtime_ns for path in (pipeline.layout.private / "manifests").rglob("*.json")
    }
    return manifests, pipeline.query("SELECT load_id, loaded_at FROM loads")


def test_forget_normalise_gives_identical_rows(pipeline: Pipeline) -> None:
    pipeline.receive()
    pipeline.nightly()
    rows = pipeline.rows_digest()
    mirror = _bytes_below(pipeline.layout.public)
    forgot = pipeline.verb("forget", "normalise", pipeline.today, pipeline.today)
    assert "normalised, sanitised, published" in forgot
    assert pipeline.query("SELECT count(*) FROM metrics") == [(448,)], (
        "readers keep the rows until the reload"
    )
    output = pipeline.nightly(None, "--log-level", "INFO")
    assert "running   NormaliseReports" in output
    assert "running   FetchReports" not in output
    assert pipeline.rows_digest() == rows
    assert _bytes_below(pipeline.layout.public) == mirror
    pipeline.verb("ledger", pipeline.today)


def test_forget_with_a_filter_does_those_reports_again(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-", "-IR-")
    pipeline.nightly()
    rows = pipeline.rows_digest()
    bucket = pipeline.layout.bucket(Stage.NORMALISED, pipeline.today)
    before = {path.name: path.stat().st_mtime_ns for path in bucket.iterdir()}
    pipeline.verb("forget", "normalise", pipeline.today, pipeline.today, "--country", "gr")
    pipeline.nightly()
    again = {path.name for path in bucket.iterdir() if path.stat().st_mtime_ns != before[path.name]}
    assert again
    assert all("-GR-" in name for name in again)
    assert pipeline.rows_digest() == rows
    pipeline.verb("ledger", pipeline.today)
    assert "as a whole" in pipeline.verb(
        "forget", "publish", pipeline.today, pipeline.today, "--country", "GR", expect=2
    )


def test_raw_files_that_are_gone_come_back_from_the_backup(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    yesterday = pipeline.today - dt.timedelta(days=1)
    pipeline.nightly()
    rows = pipeline.query("SELECT id FROM metrics ORDER BY 1")
    _make_it_yesterday(pipeline, yesterday)
    for path in pipeline.layout.bucket(Stage.RAW, yesterday).iterdir():
        path.unlink()
    pipeline.verb("forget", "fetch", yesterday, yesterday)
    pipeline.nightly(yesterday)
    assert pipeline.query("SELECT id FROM metrics ORDER BY 1") == rows


def _make_it_yesterday(pipeline: Pipeline, yesterday: dt.date) -> None:
    """Give today's bucket another date everywhere, as if the night had been one day ago."""
    today = str(pipeline.today)
    for root in (pipeline.layout.private, pipeline.root / "backup"):
        for path in sorted(root.rglob(f"{today}*"), reverse=True):
            if path.is_file():
                path.write_text(path.read_text().replace(today, str(yesterday)))
            path.rename(path.with_name(path.name.replace(today, str(yesterday))))
    (pipeline.layout.private / "manifests" / "reports.sqlite").unlink()
    pipeline.query("DELETE FROM loads; DELETE FROM metrics; COMMIT; SELECT 1")


def _bytes_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_a_second_batch_on_the_same_day(pipeline: Pipeline) -> None:
    pipeline.receive("-IR-")
    pipeline.nightly()
    first = pipeline.query("SELECT id FROM metrics ORDER BY 1")
    made = {record.report: record for record in pipeline.manifest(Stage.NORMALISED).reports}
    untouched = {
        name: (pipeline.layout.bucket(Stage.NORMALISED, pipeline.today) / str(record.name)).stat().st_mtime_ns
        for name, record in made.items()
        if record.name
    }
    pipeline.receive("-GR-")
    pipeline.verb("forget", "fetch", pipeline.today, pipeline.today)
    pipeline.nightly()
    assert set(first) < set(pipeline.query("SELECT id FROM metrics"))
    for name, modified in untouched.items():
        path = pipeline.layout.bucket(Stage.NORMALISED, pipeline.today) / f"{name}.json"
        assert path.stat().st_mtime_ns == modified, "only the new reports go downstream"
    assert list(pipeline.archive.iterdir()) == []
    pipeline.verb("ledger", pipeline.today)


def test_the_same_report_in_a_later_bucket_is_a_duplicate(pipeline: Pipeline) -> None:
    yesterday = pipeline.today - dt.timedelta(days=1)
    pipeline.put_raw(yesterday, "-GR-")
    pipeline.verb("adopt", yesterday, yesterday)
    pipeline.nightly(yesterday)
    rows = pipeline.query("SELECT count(*) FROM metrics")
    pipeline.receive("-GR-")
    pipeline.nightly()
    assert pipeline.query("SELECT count(*) FROM metrics") == rows
    raw = pipeline.manifest(Stage.RAW)
    assert all(record.duplicate_of.startswith(f"{yesterday}/") for record in raw.reports)
    assert list(pipeline.archive.iterdir()) == [], "it is backed up, so the collector need not keep it"
    pipeline.verb("ledger", yesterday, pipeline.today)


def test_a_past_bucket_is_refused_with_the_command_to_type(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    output = pipeline.nightly(dt.date(2016, 8, 1), "--log-level", "WARNING", expect=30)
    assert "bucket 2016-08-01 was never fetched" in output
    assert "python -m tasks.adopt --empty 2016-08-01 2016-08-01" in output
    assert "Traceback" not in output
    assert len(list(pipeline.archive.iterdir())) == 1, "tonight's reports stay for tonight's bucket"


def test_a_past_bucket_comes_back_from_the_backup(pipeline: Pipeline, tmp_path: Path) -> None:
    yesterday = pipeline.today - dt.timedelta(days=1)
    pipeline.put_raw(yesterday, "-GR-", "-IR-")
    pipeline.verb("adopt", yesterday, yesterday)
    pipeline.nightly(yesterday)
    rows = pipeline.rows_digest()
    (tmp_path / "private").rename(tmp_path / "lost")
    pipeline.verb("forget", "load", yesterday, yesterday)
    pipeline.nightly(yesterday)
    assert pipeline.rows_digest() == rows, "the key came back too, so the ids are the same"
    for path in (tmp_path / "lost" / "reports-raw").rglob("*"):
        if path.is_file():
            back = pipeline.layout.private / path.relative_to(tmp_path / "lost")
            assert back.read_bytes() == path.read_bytes()


def test_rubbish_in_the_archive_breaks_nothing(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    (pipeline.archive / "x.json").mkdir()
    (pipeline.archive / "link.json").symlink_to("/etc/passwd")
    (pipeline.archive / "..hidden").write_bytes(b"being written")
    (pipeline.archive / "what is this").write_bytes(b"\x00\xff" * 1000)
    (pipeline.archive / "20260801T000000Z-http_requests-x-AS1-GR-probe-0.2.0.yaml.gz").write_bytes(
        b"not gzip"
    )
    (pipeline.archive / "20260801T000000Z-web_connectivity-x-AS1-GR-probe-0.2.0.json").write_bytes(
        b"[" * 100_000 + b"\n\xff\xfe\nnull\n" + b'{"a":' * 5000 + b"\n"
    )
    pipeline.nightly()
    reasons = sorted(record.rejected for record in pipeline.manifest(Stage.RAW).reports if record.rejected)
    assert reasons == ["name_not_understood", "not_a_regular_file"]
    assert (pipeline.archive / "..hidden").exists()
    assert "passwd" not in "".join(
        path.name for path in pipeline.layout.bucket(Stage.RAW, pipeline.today).iterdir()
    )
    pipeline.verb("ledger", pipeline.today)
