from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket import replace
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.transfer import publish
from ooni_pipeline.transfer.publish import publish_bucket, take_off_mirror
from tests.conftest import Start
from tests.transfer.conftest import DATE, NOW, die

REPORTS = {
    "20160731T000001-http_host-id1-AS1-GR-probe-0.2.0": '{"a": 1}\n{"a": 2}\n',
    "20160731T000002-web_connectivity-id2-AS22-IT-probe-0.2.0": '{"b": 1}\n',
}
ORDERS = ["by-country", "by-measurements", "by-network", "by-size", "by-test", "index"]
INDICES = ["SHA256SUMS", *(f"{order}.html" for order in ORDERS), "index.json"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(private=tmp_path / "private", public=tmp_path / "srv" / "public")


def sanitise(layout: Layout, reports: dict[str, str]) -> Manifest:
    """A sanitised bucket that holds these texts."""
    directory = layout.bucket(Stage.SANITISED, DATE)
    directory.mkdir(parents=True, exist_ok=True)
    manifest = Manifest("sanitised", DATE, "", "sanitise 1, bridge table t")
    for report, text in reports.items():
        name, lines = f"{report}.json", text.count("\n")
        (directory / name).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        counts = Tally(taken=lines + 1, out=lines, held=1)
        manifest.reports.append(ReportRecord(report, name, len(text), digest, "normalised", counts))
    manifest.reports.append(ReportRecord("nothing left", counts=Tally(1, held=1)))
    manifest.write(layout.manifest(Stage.SANITISED, DATE))
    return manifest


def put(layout: Layout, **options: Any) -> Manifest:
    return publish_bucket(layout, DATE, NOW, **{"pool": ThreadPoolExecutor, **options})


def published(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.bucket(Stage.PUBLISHED, DATE).iterdir()}


def test_reports_are_compressed_beside_their_indices(layout: Layout) -> None:
    sanitise(layout, REPORTS)
    manifest = publish_bucket(layout, DATE, NOW, workers=2)  # with real processes
    assert manifest == Manifest.read(layout.manifest(Stage.PUBLISHED, DATE))
    found = published(layout)
    assert sorted(found) == sorted([*INDICES, *(f"{report}.json.gz" for report in REPORTS)])
    for record in manifest.reports:
        packed = found[str(record.name)]
        assert gzip.decompress(packed).decode() == REPORTS[record.report]
        assert (record.size, record.digest) == (len(packed), hashlib.sha256(packed).hexdigest())
        assert record.counts.as_dict() == {"taken": record.counts.out, "out": record.counts.out}
        assert record.source == hashlib.sha256(REPORTS[record.report].encode()).hexdigest()
    assert manifest.version == "sanitise 1, bridge table t"
    assert [path.name for path in layout.public.iterdir()] == ["2016-08-01"]


def test_the_same_reports_give_the_same_bytes(layout: Layout) -> None:
    sanitise(layout, REPORTS)
    put(layout)
    first = published(layout)
    sanitise(layout, dict(reversed(REPORTS.items())))
    for path in layout.bucket(Stage.SANITISED, DATE).iterdir():
        os.utime(path, (0, 0))
    put(layout, workers=3)
    assert published(layout) == first


def test_a_download_can_be_checked(layout: Layout) -> None:
    sanitise(layout, REPORTS)
    put(layout)
    directory = layout.bucket(Stage.PUBLISHED, DATE)
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=directory, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK\n") == len(REPORTS) + len(INDICES) - 1


def test_the_index_for_programs(layout: Layout) -> None:
    sanitise(layout, {**REPORTS, "unnamed_0123": "{}\n"})
    put(layout)
    found = published(layout)
    index = json.loads(found["index.json"])
    assert (index["bucket_date"], index["measurements"]) == ("2016-08-01", 4)
    first, second, unnamed = index["reports"]
    file = "20160731T000001-http_host-id1-AS1-GR-probe-0.2.0.json.gz"
    assert first == {
        "test_name": "http_host", "probe_cc": "GR", "probe_asn": "AS1", "file": file, "measurements": 2,
        "size": len(found[file]), "sha256": hashlib.sha256(found[file]).hexdigest(),
    }  # fmt: skip
    assert (second["test_name"], second["probe_asn"]) == ("web_connectivity", "AS22")
    assert (unnamed["test_name"], unnamed["probe_cc"]) == ("", "")


def test_nothing_private_is_published(layout: Layout) -> None:
    manifest = sanitise(layout, REPORTS)
    put(layout)
    text = b"".join(published(layout)[name] for name in INDICES).decode()
    assert "nothing left" not in text
    for record in manifest.reports:
        assert not record.digest or record.digest not in text
        assert "normalised" not in text.replace("normalised and sanitised", "")


class Links(HTMLParser):
    """The tags and links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name == "href"]


def test_the_page_for_people_escapes_what_it_shows(layout: Layout) -> None:
    sanitise(layout, {**REPORTS, "<script>alert(1)<": "{}\n", 'a"b#c?d%20&': "{}\n"})
    put(layout)
    page = published(layout)["index.html"].decode()
    links = Links(page)
    assert "script" not in links.tags
    assert "a%22b%23c%3Fd%2520%26.json.gz" in links.links
    assert {f"{report}.json.gz" for report in REPORTS} < set(links.links)
    assert "4 reports with 5 measurements" in page


def test_a_bucket_of_no_reports(layout: Layout) -> None:
    sanitise(layout, {})
    assert put(layout).reports == []
    assert sorted(published(layout)) == INDICES
    named = [line.split()[1] for line in published(layout)["SHA256SUMS"].decode().splitlines()]
    assert named == INDICES[1:]
    assert json.loads(published(layout)["index.json"])["reports"] == []


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private_umask")
def test_everybody_may_read_what_is_public_in_spite_of_the_umask(layout: Layout) -> None:
    sanitise(layout, REPORTS)
    publish_bucket(layout, DATE, NOW)
    directory = layout.bucket(Stage.PUBLISHED, DATE)
    for path in (layout.public.parent, layout.public, directory):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o644}
    assert stat.S_IMODE(layout.manifest(Stage.PUBLISHED, DATE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "has 2 bytes, its manifest says"), (None, "missing"), ("same", "is not what its")],
)
def test_what_the_leak_check_has_not_passed_is_not_published(
    layout: Layout, text: str | None, message: str
) -> None:
    sanitise(layout, REPORTS)
    put(layout)
    before = published(layout)
    path = layout.bucket(Stage.SANITISED, DATE) / f"{next(iter(REPORTS))}.json"
    size = path.stat().st_size
    path.unlink()
    if text is not None:
        path.write_text("192.0.2.1:443 is a bridge"[:size] if text == "same" else text)
    with pytest.raises(BucketError, match=f"{path}.*{message}"):
        publish_bucket(layout, DATE, NOW)
    assert published(layout) == before


def test_a_report_that_cannot_be_compressed_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    sanitise(layout, REPORTS)
    monkeypatch.setattr(publish, "run_all", lambda jobs, *_: iter([(next(iter(jobs)), None)]))
    with pytest.raises(TransferError, match="kills whatever compresses it"):
        put(layout)
    assert not layout.bucket(Stage.PUBLISHED, DATE).exists()


def test_what_goes_upstream_goes_from_the_mirror(layout: Layout) -> None:
    sanitise(layout, REPORTS)
    put(layout)
    one = dict([REPORTS.popitem()])
    sanitise(layout, one)
    put(layout)
    REPORTS.update(one)
    assert len(published(layout)) == len(INDICES) + 1


def watch(directory: Path, whole: set[frozenset[str]], stop: threading.Event, odd: list[Any]) -> None:
    while not stop.is_set():
        try:
            found = frozenset(os.listdir(directory))  # noqa: PTH208  # nothing is faster
        except FileNotFoundError:
            odd.append("missing")
            continue
        if found not in whole:
            odd.append(sorted(found))


def test_whoever_looks_sees_the_former_bucket_or_the_new_one(layout: Layout) -> None:
    first, second = ({f"{letter}{number}": "{}\n" for number in range(20)} for letter in "ab")
    whole = {
        frozenset([*INDICES, *(f"{report}.json.gz" for report in reports)]) for reports in (first, second)
    }
    sanitise(layout, first)
    put(layout)
    stop, odd = threading.Event(), list[Any]()
    watcher = threading.Thread(target=watch, args=(layout.bucket(Stage.PUBLISHED, DATE), whole, stop, odd))
    watcher.start()
    try:
        for number in range(50):
            sanitise(layout, first if number % 2 else second)
            put(layout)
    finally:
        stop.set()
        watcher.join()
    assert odd == []
    assert [path.name for path in layout.public.iterdir()] == ["2016-08-01"]


def test_where_directories_cannot_be_exchanged(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace, "_exchange", lambda one, other: False)
    for reports in (REPORTS, {}, REPORTS):
        sanitise(layout, reports)
        put(layout)
        assert len(published(layout)) == len(INDICES) + len(reports)
    assert [path.name for path in layout.public.iterdir()] == ["2016-08-01"]


def publish_and_die(layout: Layout, moment: str) -> None:
    patch, exchange, rename = pytest.MonkeyPatch(), replace._exchange, Path.rename
    if moment == "index":
        patch.setattr(publish, "write_index", die)
    elif moment == "exchange":
        patch.setattr(replace, "_exchange", lambda one, other: die(exchange(one, other)))
    elif moment == "no exchange":
        patch.setattr(replace, "_exchange", lambda one, other: False)
        patch.setattr(Path, "rename", lambda path, target: die(rename(path, target)))
    elif moment == "manifest":
        patch.setattr(Manifest, "write", die)
    put(layout)


@pytest.mark.parametrize("moment", ["index", "exchange", "no exchange", "manifest"])
def test_killed_at_any_moment_the_next_run_ends_it(layout: Layout, start: Start, moment: str) -> None:
    sanitise(layout, {})
    put(layout)
    layout.manifest(Stage.PUBLISHED, DATE).unlink()
    sanitise(layout, REPORTS)
    process = start(publish_and_die, layout, moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not layout.manifest(Stage.PUBLISHED, DATE).exists()
    put(layout)
    assert len(published(layout)) == len(INDICES) + len(REPORTS)
    assert [path.name for path in layout.public.iterdir()] == ["2016-08-01"]


@pytest.mark.parametrize(
    ("hours", "later", "waits"),
    [(0, 0, False), (24, 0, True), (24, 23.99, True), (24, 24, False), (24, 30, False), (24, -1, True)],
)
def test_a_bucket_waits_from_when_it_was_sanitised(
    layout: Layout, hours: int, later: float, waits: bool
) -> None:
    made = dt.datetime(2016, 8, 1, 4)
    Manifest("sanitised", DATE, timestamp(made)).write(layout.manifest(Stage.SANITISED, DATE))
    now = made + dt.timedelta(hours=later)
    until = publish.waits_until(layout, DATE, dt.timedelta(hours=hours), now)
    assert until == (made + dt.timedelta(hours=hours) if waits else None)


def test_what_is_on_the_mirror_waits_no_more(layout: Layout) -> None:
    made = dt.datetime(2016, 8, 1, 4)
    Manifest("sanitised", DATE, timestamp(made)).write(layout.manifest(Stage.SANITISED, DATE))
    assert publish.waits_until(layout, DATE, dt.timedelta(hours=24), made)
    layout.bucket(Stage.PUBLISHED, DATE).mkdir(parents=True)
    assert publish.waits_until(layout, DATE, dt.timedelta(hours=24), made) is None


def public_files(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.bucket(Stage.PUBLISHED, DATE).iterdir()}


def test_what_is_taken_off_is_as_if_it_had_never_been_published(layout: Layout) -> None:
    gone, other = REPORTS
    sanitise(layout, {other: REPORTS[other]})
    put(layout, withdrawn=(1, 2))
    wanted = public_files(layout)
    sanitise(layout, REPORTS)
    put(layout)
    for left in ("new", "old"):
        (layout.public / f".{DATE}.{left}").mkdir()
    for _ in range(2):
        take_off_mirror(layout, DATE, [gone, "never there"], (1, 2))
        assert public_files(layout) == wanted
        assert [path.name for path in layout.public.iterdir()] == [str(DATE)]


@pytest.mark.parametrize("fault", ["full disk", "no index"])
def test_what_is_taken_off_is_gone_even_where_no_index_can_be_made(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    gone, other = REPORTS
    sanitise(layout, REPORTS)
    put(layout)
    if fault == "full disk":

        def full(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(publish, "write_index", full)
        with pytest.raises(TransferError, match="is not made again without them: No space left on device"):
            take_off_mirror(layout, DATE, [gone], (1, 2))
    else:
        (layout.bucket(Stage.PUBLISHED, DATE) / "index.json").write_text("{")
        take_off_mirror(layout, DATE, [gone], (1, 2))
    assert {name for name in public_files(layout) if name.endswith(".gz")} == {f"{other}.json.gz"}
    assert [path.name for path in layout.public.iterdir()] == [str(DATE)]
