"""The public site, made by real nights and read through a real nginx."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import hashlib
import html
import io
import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import duckdb
import pandas
import psycopg2
import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.database.public import published_rows
from ooni_pipeline.errors import BucketError
from ooni_pipeline.site import build, tables
from ooni_pipeline.site.build import buckets_to_show, build_site
from ooni_pipeline.site.front import SiteSettings
from tests.conftest import Browse, Start
from tests.parts.nginx import Nginx, serving
from tests.tasks.conftest import Pipeline
from tests.transfer.conftest import die

pytestmark = pytest.mark.one_server

VIEWS = ("blockpage_count", "blockpage_urls", "country_counts", "identified_vendors")
NOW = dt.datetime(2016, 8, 2, 4, 30)


@pytest.fixture
def nginx(pipeline: Pipeline) -> Iterator[Nginx]:
    pipeline.layout.public.mkdir(exist_ok=True)
    with serving(pipeline.root / "nginx", pipeline.layout.public) as server:
        yield server


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # our own nginx
        data: bytes = answer.read()
        return data


def csv_rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(gzip.decompress(data).decode())))


class Links(HTMLParser):
    """The tags and the links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src", "action")]


def crawl(top: str) -> dict[str, bytes]:
    """Everything that a link of a page leads to; each answers, and none leads elsewhere."""
    found: dict[str, bytes] = {}
    wanted = [f"{top}/"]
    while wanted:
        url = wanted.pop().partition("#")[0]
        if url in found:
            continue
        assert url.startswith(f"{top}/"), f"a link leads to {url}"
        found[url] = get(url)
        if url.endswith((".html", "/")):
            links = Links(found[url].decode())
            assert not links.tags & {"script", "iframe", "form", "img", "object", "base"}
            wanted += [urljoin(url, link) for link in links.links]
    return found


def test_a_night_makes_a_site_that_a_researcher_can_use(pipeline: Pipeline, nginx: Nginx) -> None:
    pipeline.configure(publish__site_url=nginx.url)
    pipeline.receive("-GR-", "-IR-")
    pipeline.nightly()
    _check_links(pipeline, nginx)
    _check_tables(pipeline)
    _check_reports_read_as_they_are(pipeline)
    _check_recipes(pipeline, nginx)


def _check_links(pipeline: Pipeline, nginx: Nginx) -> None:
    """Every link of every page leads to something."""
    found = crawl(nginx.url)
    public = pipeline.layout.public
    there = {path for path in public.rglob("*") if path.is_file()}
    reached = {public / urlsplit(url).path.lstrip("/") for url in found}
    unlinked = {path.name for path in there - reached}
    assert unlinked <= {"index.json", "SHA256SUMS"}, "nothing lies there that no page shows"
    assert f"Data up to <b>{pipeline.today}</b>".encode() in found[f"{nginx.url}/"]
    assert b"Withdrawn since" not in found[f"{nginx.url}/{pipeline.today}/index.html"]
    _check_index(pipeline, json.loads(found[f"{nginx.url}/index.json"]))
    _check_evidence(pipeline, found, nginx.url)


def _check_index(pipeline: Pipeline, index: dict[str, Any]) -> None:
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    published = json.loads((bucket / "index.json").read_bytes())
    assert index["totals"]["measurements"] == published["measurements"] > 0
    assert index["buckets"] == [
        {
            "bucket_date": str(pipeline.today),
            "reports": len(published["reports"]),
            "measurements": published["measurements"],
            "size": sum(report["size"] for report in published["reports"]),
            "sha256sums": hashlib.sha256((bucket / "SHA256SUMS").read_bytes()).hexdigest(),
            "withdrawn_reports": 0,
            "withdrawn_measurements": 0,
        }
    ]
    assert [country["code"] for country in index["countries"]] == ["GR", "IR"]
    assert (index["changes"]["last"], index["licence"]) == (1, "CC BY-NC-SA 4.0")


def _check_evidence(pipeline: Pipeline, found: dict[str, bytes], top: str) -> None:
    """A row of a country's page leads to the very report that shows it."""
    page = found[f"{top}/countries/GR/index.html"].decode()
    rows = re.findall(r"<tr><td class=\"text\"><code><bdi>(.*?)</bdi>.*?</tr>", page)
    (expected,) = pipeline.query(
        "SELECT array_agg(DISTINCT input) FROM blockpage_urls WHERE probe_cc = 'GR'"
    )[0:1]
    assert sorted(html.unescape(row) for row in rows) == sorted(expected[0])
    csv_of = csv_rows(found[f"{top}/countries/GR/blocked.csv.gz"])
    head, *lines = csv_of
    for line in lines:
        row = dict(zip(head, line, strict=True))
        entries = gzip.decompress(found[f"{top}/{row['report']}"]).decode().splitlines()
        assert row["input"] in {json.loads(entry)["input"] for entry in entries}
        assert f"../../{row['report']}" in page


def _check_tables(pipeline: Pipeline) -> None:
    """Tables are what psql shows, and are read as they are."""
    (directory,) = (pipeline.layout.public / "views").glob("20*")
    assert directory.name == str(pipeline.today)
    for view in VIEWS:
        file = directory / f"{view}.csv.gz"
        columns = [row[0] for row in pipeline.query(
            f"SELECT attname::text FROM pg_attribute WHERE attrelid = '{view}'::regclass AND attnum > 0 "
            "AND attname <> 'row_key' ORDER BY attnum"
        )]  # fmt: skip
        shown = pipeline.query(f"SELECT {', '.join(f'{column}::text' for column in columns)} FROM {view}")
        plain = subprocess.run(["zcat", file], capture_output=True, check=True).stdout.decode()
        head, *rows = csv.reader(io.StringIO(plain))
        assert head == columns
        assert sorted(map(tuple, rows)) == sorted(tuple(value or "" for value in row) for row in shown)
        assert len(pandas.read_csv(file)) == len(rows)
        assert duckdb.execute(f"SELECT count(*) FROM '{file}'").fetchall() == [(len(rows),)]
    assert (directory / "blockpage_urls.csv.gz").stat().st_mode & 0o777 == 0o644
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    subprocess.run(check, cwd=directory, check=True, capture_output=True)


def _check_reports_read_as_they_are(pipeline: Pipeline) -> None:
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    index = json.loads((bucket / "index.json").read_bytes())
    report = index["reports"][0]
    assert len(pandas.read_json(bucket / report["file"], lines=True)) == report["measurements"]
    lines = f"read_json('{bucket}/*.json.gz', union_by_name = true)"
    assert duckdb.execute(f"SELECT count(*) FROM {lines}").fetchall() == [(index["measurements"],)]


def _check_recipes(pipeline: Pipeline, nginx: Nginx) -> None:
    """The recipes of the page do what they say."""
    if shutil.which("wget") is None or shutil.which("rclone") is None:
        pytest.skip("no wget or rclone here: apt-get install wget rclone")
    page = get(f"{nginx.url}/about.html").decode()
    recipes = {name: html.unescape(re.sub("<[^>]+>", "", text))
               for name, text in re.findall(r'<pre id="(\w+)">(.*?)</pre>', page, re.DOTALL)}  # fmt: skip
    assert set(recipes) == {"bucket", "country", "rclone"}
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    for name, recipe in recipes.items():
        here = pipeline.root / name
        here.mkdir()
        script = recipe.replace("2016-08-01", str(pipeline.today)).replace("=GR", "=IR")
        subprocess.run(["sh", "-euc", script], cwd=here, check=True, capture_output=True, text=True)
        got = {path.name: path.read_bytes() for path in (here / str(pipeline.today)).iterdir()}
        parts = {"bucket": (), "country": ("-IR-", "-web_connectivity-"), "rclone": ("-IR-",)}[name]
        assert got == {
            path.name: path.read_bytes()
            for path in bucket.iterdir()
            if all(part in path.name for part in parts)
        }


class Client:
    """Somebody else's mirror, as the researchers' page says that it is done."""

    def __init__(self, url: str) -> None:
        self.url, self.seen = url, 0
        self.buckets: dict[str, dict[str, bytes]] = {}

    def follow(self) -> int:
        """Returns how many files it had to fetch."""
        fetched = 0
        lines = get(f"{self.url}/changes.jsonl").decode().splitlines()
        states = {}
        for line in map(json.loads, lines[self.seen :]):
            states[line["bucket_date"]] = line.get("sha256sums")
            self.seen = line["change"]
        for date, state in states.items():
            if state is None:
                self.buckets.pop(date, None)
                continue
            sums = get(f"{self.url}/{date}/SHA256SUMS")
            assert hashlib.sha256(sums).hexdigest() == state
            mine = self.buckets.get(date, {})
            files = {"SHA256SUMS": sums}
            for digest, name in (line.split("  ") for line in sums.decode().splitlines()):
                if name not in mine or hashlib.sha256(mine[name]).hexdigest() != digest:
                    mine[name] = get(f"{self.url}/{date}/{name}")
                    fetched += 1
                assert hashlib.sha256(mine[name]).hexdigest() == digest
                files[name] = mine[name]
            self.buckets[date] = files
        return fetched


def on_disk(pipeline: Pipeline) -> dict[str, dict[str, bytes]]:
    return {
        directory.name: {path.name: path.read_bytes() for path in directory.iterdir()}
        for directory in pipeline.layout.public.glob("20*")
    }


def test_who_follows_the_changes_has_what_is_there(pipeline: Pipeline, nginx: Nginx) -> None:
    client, yesterday = Client(nginx.url), pipeline.today - dt.timedelta(days=1)
    pipeline.put_raw(yesterday, "-GR-")
    pipeline.verb("adopt", yesterday, yesterday)
    pipeline.nightly(yesterday)
    client.follow()
    assert client.buckets == on_disk(pipeline) != {}
    pipeline.receive("-IR-")
    pipeline.nightly()
    assert client.follow() > 5
    assert client.buckets == on_disk(pipeline)

    # A report goes, as when it is withdrawn; and a table of that day must not go on showing it.
    sanitised = pipeline.manifest(Stage.SANITISED, yesterday)
    gone = sanitised.reports.pop()
    sanitised.write(pipeline.layout.manifest(Stage.SANITISED, yesterday))
    old = pipeline.layout.public / "views" / "2016-01-01"
    shutil.copytree(pipeline.layout.public / "views" / str(pipeline.today), old)
    index = json.loads((old / "index.json").read_bytes())
    (old / "index.json").write_text(json.dumps({**index, "date": "2016-01-01"}))
    pipeline.layout.manifest(Stage.PUBLISHED, yesterday).unlink()
    pipeline.nightly(yesterday)
    assert client.follow() < 12, "the other reports of the bucket are not fetched again"
    assert client.buckets == on_disk(pipeline)
    log = get(f"{nginx.url}/changes.jsonl").decode()
    assert [json.loads(line)["what"] for line in log.splitlines()] == ["added", "added", "replaced"]
    assert gone.report not in log and not any(gone.report in name for name in client.buckets[str(yesterday)])
    assert not old.exists(), "it may show what went"
    shutil.rmtree(pipeline.layout.bucket(Stage.PUBLISHED, yesterday))
    pipeline.layout.site().unlink()
    pipeline.nightly()
    client.follow()
    assert list(client.buckets) == [str(pipeline.today)] == list(on_disk(pipeline))


def test_what_a_veto_window_keeps_back_is_on_no_page(pipeline: Pipeline, nginx: Nginx) -> None:
    yesterday = pipeline.today - dt.timedelta(days=1)
    pipeline.put_raw(yesterday, "-GR-")
    pipeline.verb("adopt", yesterday, yesterday)
    pipeline.nightly(yesterday)
    pipeline.configure(publish__hold_hours="24")
    pipeline.receive("-IR-", "-TR-")
    pipeline.nightly()
    pipeline.layout.site().unlink()  # made again for whatever reason
    pipeline.nightly(yesterday)
    assert pipeline.query("SELECT count(*) > 0 FROM blockpage_urls WHERE probe_cc = 'TR'") == [(True,)]
    found = crawl(nginx.url)
    assert not any("/countries/IR/" in url or str(pipeline.today) in url.split("/views/")[0] for url in found)
    for url, data in found.items():
        text = gzip.decompress(data) if url.endswith(".gz") else data
        assert b",TR," not in text and b",IR," not in text and b'"IR"' not in text, url
    assert "Did not run any tasks" in pipeline.nightly()
    assert pipeline.verb("check", expect=None).count("not on the public pages") == 0

    manifest = pipeline.manifest(Stage.SANITISED)
    manifest.made = timestamp(dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=25))
    manifest.write(pipeline.layout.manifest(Stage.SANITISED, pipeline.today))
    assert "done      PublishSite" in pipeline.nightly()
    assert "/countries/TR/index.html" in "".join(crawl(nginx.url))


def test_one_making_serves_a_range_and_what_is_forgotten_is_done_again(pipeline: Pipeline) -> None:
    days = [pipeline.today - dt.timedelta(days=number) for number in (3, 2, 1)]
    for day, country in zip(days, ("-GR-", "-IR-", "-TR-"), strict=True):
        pipeline.put_raw(day, country)
    pipeline.verb("adopt", days[0], days[-1])
    week = ("--start", str(days[0]), "--stop", str(pipeline.today))
    nights = ("--module", "tasks.nightly", "RangeDaily", "--of", "Nightly", *week)
    output = pipeline.luigi(*nights)
    assert output.count("was done meanwhile") >= 2
    log = (pipeline.layout.public / "changes.jsonl").read_text()
    assert len({json.loads(line)["time"] for line in log.splitlines()}) == 1
    assert "Did not run any tasks" in pipeline.luigi(*nights)

    pipeline.verb("forget", "publish", days[0], days[0])
    output = pipeline.luigi(*nights)
    assert "done      PublishReports" in output and "running   LoadMeasurements" not in output
    assert (pipeline.layout.public / "changes.jsonl").read_text() == log, "the same bytes: no change"
    assert pipeline.layout.manifest(Stage.PUBLISHED, days[0]).exists()
    pipeline.configure(publish__licence="CC BY 4.0")
    assert pipeline.luigi(*nights).count("done      PublishReports") == 0
    assert "CC BY 4.0" in (pipeline.layout.public / "index.html").read_text()


def test_without_a_database_buckets_are_published_and_the_site_comes_later(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(database__url="postgresql:///nowhere?host=/nonexistent")
    pipeline.nightly(expect=30)
    assert pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today).is_dir()
    assert not (pipeline.layout.public / "index.html").exists()
    pipeline.configure()
    pipeline.nightly()
    assert str(pipeline.today) in (pipeline.layout.public / "index.html").read_text()


HOSTILE = (
    "javascript:alert(1)//<script>document.title='broken'</script>",
    "http://\u202egpj.exe\u0007\n.test/",
    "http://" + "x" * 1900 + ".test/",
    "http://пример.испытание/путь?q=\"'&<img src=x onerror=document.title='broken'>",
)


@pytest.fixture
def night(pipeline: Pipeline) -> Pipeline:
    """A bucket with two countries and rows that a hostile probe made."""
    pipeline.receive("-GR-")
    pipeline.nightly()
    for number, text in enumerate(HOSTILE):
        with psycopg2.connect(pipeline.url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO fingerprint_matches SELECT bucket_date, gen_random_uuid(), kind, name, "
                "fingerprints, %s, report_id, test_start_time, probe_cc, %s, 9, report_filename "
                "FROM fingerprint_matches LIMIT 1",
                (text, f"AS{number + 1}"),
            )
        connection.close()
    pipeline.change("INSERT INTO country_totals SELECT bucket_date, '../../x', 7 FROM loads")
    pipeline.change("INSERT INTO country_totals SELECT bucket_date, NULL, 5 FROM loads")
    shutil.rmtree(pipeline.layout.public / "views")
    pipeline.layout.site().unlink()
    return pipeline


def make(pipeline: Pipeline, now: dt.datetime = NOW, url: str = "") -> None:
    with published_rows(url or pipeline.url, buckets_to_show(pipeline.layout)) as rows:
        build_site(pipeline.layout, rows, SiteSettings(), now, now + dt.timedelta(hours=24))


def test_a_browser_shows_hostile_names_as_text(night: Pipeline, nginx: Nginx, browse: Browse) -> None:
    make(night)
    crawl(nginx.url)
    page = browse(f"{nginx.url}/countries/GR/index.html")
    assert "<title>Greece (GR)</title>" in page
    assert "<script" not in page and "<img" not in page
    assert html.escape(HOSTILE[0], quote=False) in page
    assert "\u202e" not in page and "\\u{202e}gpj.exe\\u{7}\\u{a}.test/" in page
    assert "x" * 150 not in page and "x" * 100 in page
    assert 'href="javascript' not in page and 'href="http://' not in page
    data = get(f"{nginx.url}/countries/GR/blocked.csv.gz")
    assert {row[1] for row in csv_rows(data)} > set(HOSTILE), "in the data they stand as they are"
    assert sorted(path.name for path in (night.layout.public / "countries").iterdir()) == [
        "GR", "index.html", "index.json",
    ]  # fmt: skip
    assert re.search(r"no country in two capitals</td><td class=\"number\">12<", get(
        f"{nginx.url}/countries/index.html").decode())  # fmt: skip


def everything(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()}  # fmt: skip


def test_the_same_data_gives_the_same_bytes(night: Pipeline) -> None:
    make(night)
    first = everything(night.layout.public)
    times = {path: path.stat().st_mtime_ns for path in night.layout.public.rglob("*") if path.is_file()}
    make(night)
    assert everything(night.layout.public) == first
    assert {path: path.stat().st_mtime_ns for path in times} == times, "nobody has to fetch anything again"
    public = night.layout.public
    for name in ("countries", "views", "years", "index.html", "index.json", "about.html", "style.css"):
        shutil.rmtree(public / name, ignore_errors=True) if (public / name).is_dir() else (
            public / name
        ).unlink()
    night.layout.site().unlink()
    make(night)
    assert everything(public) == first


def test_it_needs_to_read_alone_and_tells_what_is_damaged(night: Pipeline) -> None:
    night.change(
        "DO $$ BEGIN CREATE ROLE site_reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    night.change("GRANT ooni_reader TO site_reader")
    url = re.sub(r"//[^/@]*@?/", "//site_reader@/", night.url)
    assert url != night.url
    make(night)
    expected = everything(night.layout.public)
    night.layout.site().unlink()
    make(night, url=url)
    assert everything(night.layout.public) == expected
    _check_a_bucket_that_is_done_again(night)
    _check_that_what_is_damaged_is_told(night)


def build_and_die(pipeline: Pipeline, moment: str) -> None:
    patch = pytest.MonkeyPatch()
    if moment == "a table":
        patch.setattr(tables, "file_digest", die)
    else:
        patch.setattr(build, moment, die)
    make(pipeline)


def test_killed_at_any_moment_the_next_making_ends_it(night: Pipeline, start: Start) -> None:
    public = night.layout.public
    expected: dict[str, bytes] = {}
    for moment in ("a table", "write_page", "write_years", "write_front"):
        shutil.rmtree(public / "views", ignore_errors=True)
        process = start(build_and_die, night, moment)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not night.layout.site().exists(), moment
        (public / "views" / ".2016-07-31.new").mkdir(parents=True, exist_ok=True)
        make(night)
        assert list(public.rglob(".*")) == []
        expected = expected or everything(public)
        assert everything(public) == expected, moment
        night.layout.site().unlink()
    lines = [json.loads(line) for line in (public / "changes.jsonl").read_text().splitlines()]
    assert [line["change"] for line in lines] == [1]


def _check_a_bucket_that_is_done_again(night: Pipeline) -> None:
    """It is left out until it is published: a row must not lead to a file that is not there."""
    path = night.layout.manifest(Stage.PUBLISHED, night.today)
    proof = path.read_bytes()
    path.unlink()
    make(night)
    assert not (night.layout.public / "countries" / "GR").exists()
    assert str(night.today) in (night.layout.public / "index.html").read_text(), "it is on the mirror"
    path.write_bytes(proof)


def _check_that_what_is_damaged_is_told(night: Pipeline) -> None:
    for name, message in (
        ("changes.jsonl", "line 1 of .*changes.jsonl is none of ours"),
        (
            f"{night.today}/index.json",
            "index.json is missing or none of ours; python -m tasks.forget publish",
        ),
        (
            f"{night.today}/SHA256SUMS",
            "SHA256SUMS: No such file or directory; python -m tasks.forget publish",
        ),
    ):
        path = night.layout.public / name
        data = path.read_bytes()
        path.write_text('{"change": 2}\n')
        if name.endswith("index.json"):  # nobody reads it again where the log knows the bucket
            (night.layout.public / "changes.jsonl").unlink()
        if name.endswith("SHA256SUMS"):
            path.unlink()
        with pytest.raises(BucketError, match=message):
            make(night)
        path.write_bytes(data)
    make(night)


def test_what_is_late_is_told(pipeline: Pipeline) -> None:
    """tasks.check looks at buckets that are due: yesterday's."""
    yesterday = pipeline.today - dt.timedelta(days=1)
    pipeline.put_raw(yesterday, "-GR-")
    pipeline.verb("adopt", yesterday, yesterday)
    pipeline.nightly(yesterday)
    assert "not on the public pages" not in pipeline.verb("check", expect=None)
    pipeline.layout.site().unlink()
    said = pipeline.verb("check", expect=1)
    assert f"bucket {yesterday} is late, not on the public pages" in said
