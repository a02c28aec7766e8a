from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.database.public import Blocked, Country
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.site import bucket_page, countries
from ooni_pipeline.site.bucket_page import write_index
from ooni_pipeline.site.changes import Change, Summary, buckets_of, further, read_changes
from ooni_pipeline.site.countries import country_names, write_countries
from ooni_pipeline.site.files import replace_directory, write_if_changed
from ooni_pipeline.site.front import Shown, SiteSettings, write_front, write_years
from ooni_pipeline.site.page import link, shown, table
from ooni_pipeline.site.page import number as spelled
from ooni_pipeline.site.tables import keep_tables, write_page, write_tables

DATE = dt.date(2016, 8, 1)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (None, ""),
        ("a&b<c>\"d'", "a&amp;b&lt;c&gt;&quot;d&#x27;"),
        ("\u202eabc\u2066\u200f", "\\u{202e}abc\\u{2066}\\u{200f}"),
        ("a\0b\n\x1b[31m\ud800", "a\\u{0}b\\u{a}\\u{1b}[31m\\u{d800}"),
        ("ü пример 例", "ü пример 例"),
        ("x" * 200, "x" * 120 + "…"),
        ("&" * 121, "&amp;" * 120 + "…"),
    ],
)
def test_what_strangers_sent_is_text(text: str | None, html: str) -> None:
    assert shown(text) == f"<bdi>{html}</bdi>"
    shown(text).encode()


def test_links_and_numbers() -> None:
    assert link("javascript:alert(1)", "x") == '<a href="javascript%3Aalert%281%29">x</a>'
    assert link('a"b#c?d&e', "x") == '<a href="a%22b%23c%3Fd%26e">x</a>'
    assert [spelled(value) for value in (1234567, None, 0)] == ["1\u202f234\u202f567", "?", "0"]
    made = table(("#Count", "~Text", "Plain"), [("1", "two", "three")])
    assert '<th class="number">Count</th><th class="text">Text</th><th>Plain</th>' in made
    assert '<td class="number">1</td><td class="text">two</td><td>three</td>' in made


def records(names: dict[str, tuple[int, int]]) -> list[ReportRecord]:
    """Reports by name: their measurements and size."""
    made = []
    for name, (measurements, size) in names.items():
        digest = hashlib.sha256(name.encode()).hexdigest()
        counts = Tally(taken=measurements, out=measurements)
        made.append(ReportRecord(name, f"{name}.json.gz", size, digest, counts=counts))
    return made


REPORTS = {
    "20160731T000001-http_host-a-AS9-GR-probe-0.2.0": (3, 100),
    "20160731T000002-web_connectivity-b-AS10-AE-probe-0.2.0": (1, 900),
    "20160731T000003-dns_consistency-c-AS2-IT-probe-0.2.0": (2, 500),
}


def order(page: str) -> str:
    """The reports on a page, by the letters that are their ids."""
    return "".join(re.findall(r'href="2016\d+T\d+-\w+-(\w)-', page))


def test_the_list_of_a_bucket_comes_in_every_order(tmp_path: Path) -> None:
    write_index(tmp_path, DATE, records(REPORTS), (2, 70))
    orders = {path.stem: order(path.read_text()) for path in tmp_path.glob("*.html")}
    assert orders == {
        "index": "abc", "by-test": "cab", "by-country": "bac", "by-network": "cab",
        "by-measurements": "acb", "by-size": "bca",
    }  # fmt: skip
    page = (tmp_path / "by-size.html").read_text()
    assert "<b>size</b>" in page and 'href="by-test.html"' in page
    assert "3 reports with 6 measurements" in page and "Withdrawn since: 2 reports, 70 measurements" in page
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert index["withdrawn"] == {"reports": 2, "measurements": 70} and index["format"] == 1
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    assert set(sums) == {f"{name}.json.gz" for name in REPORTS} | {
        path.name for path in tmp_path.iterdir() if path.name != "SHA256SUMS"
    }
    for path in tmp_path.iterdir():
        if path.name != "SHA256SUMS":
            assert sums[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_bucket_has_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_page, "_ON_A_PAGE", 2)
    write_index(tmp_path, DATE, records(REPORTS))
    assert order((tmp_path / "by-size.html").read_text()) == "bc"
    second = (tmp_path / "by-size-2.html").read_text()
    assert order(second) == "a" and "<b>2</b>" in second and 'href="by-size.html">1<' in second
    assert "by-size-2.html" in (tmp_path / "SHA256SUMS").read_text()
    assert "Withdrawn" not in second


def summary(state: str, reports: int = 1) -> Summary:
    return Summary(reports, 10, 100, state * 64)


def test_the_log_leads_from_state_to_state(tmp_path: Path) -> None:
    path, days = tmp_path / "changes.jsonl", [DATE + dt.timedelta(days=number) for number in range(3)]
    changes: list[Change] = []
    states = [
        {days[0]: summary("a"), days[1]: summary("b")},
        {days[0]: summary("a"), days[1]: summary("c", 0), days[2]: summary("d")},
        {days[0]: summary("a"), days[1]: summary("c", 0), days[2]: summary("d")},
        {days[1]: summary("c", 0)},
    ]
    for number, state in enumerate(states):
        changes += further(changes, state, f"2016-08-0{number + 1}T04:00:00Z")
        path.write_text("".join(change.line() for change in changes))
        assert buckets_of(read_changes(path)) == state
    whats = [(change.number, change.what, change.bucket_date) for change in read_changes(path)]
    assert whats == [
        (1, "added", days[0]), (2, "added", days[1]), (3, "replaced", days[1]), (4, "added", days[2]),
        (5, "removed", days[0]), (6, "removed", days[2]),
    ]  # fmt: skip
    assert read_changes(tmp_path / "none") == []


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", "null", '{"change": 2}', "ü", '{"change": 1, "time": "", "what": "odd", '
             '"bucket_date": "2016-08-01"}']
)  # fmt: skip
def test_a_log_that_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "changes.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(BucketError, match=r"line 1 of .* Delete the file"):
        read_changes(path)


def copy(view: str, file: BinaryIO) -> int:
    file.write(f"column\n{view}\n".encode())
    return 1


def test_tables_are_kept_for_some_dates_and_no_longer_than_what_they_show(tmp_path: Path) -> None:
    for number in range(1, 10):
        write_tables(tmp_path, dt.date(2016, 8, number), ["country_counts"], copy, number)
    added = [Change(number, "", "added", DATE, summary("a")) for number in range(1, 8)]
    kept = keep_tables(tmp_path, added)
    assert [tables["date"] for tables in kept] == [f"2016-08-0{number}" for number in range(9, 2, -1)]
    write_page(tmp_path, kept)
    assert (tmp_path / "index.html").read_text().count("country_counts.csv.gz</a>") == 7
    kept = keep_tables(tmp_path, [*added, Change(8, "", "replaced", DATE, summary("b"))])
    assert [tables["date"] for tables in kept] == ["2016-08-09", "2016-08-08"]
    assert sorted(path.name for path in tmp_path.glob("20*")) == ["2016-08-08", "2016-08-09"]
    kept = keep_tables(tmp_path, [*added, Change(9, "", "removed", DATE)])
    assert [tables["date"] for tables in kept] == ["2016-08-09"]
    (tmp_path / "2016-08-09" / "index.json").write_text("half")
    assert keep_tables(tmp_path, added) == [] and not list(tmp_path.glob("20*"))


def test_the_same_table_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_tables(tmp_path / name, DATE, ["country_counts"], copy, 1)
    one, two = (tmp_path / name / str(DATE) / "country_counts.csv.gz" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()) == b"column\ncountry_counts\n"


def blocked(code: str, text: str, number: int = 0, **more: object) -> Blocked:
    values: dict[str, object] = {"tested_count": 5, "report": f"2016-08-01/r{number}.json"}
    values |= {"latest": dt.datetime(2016, 7, 31, 0, 0, number)} | more
    counts = (values["tested_count"], "name", values["latest"], values["report"])
    return Blocked(code, text, f"AS{number}", DATE, 2, *counts)  # type: ignore[arg-type]


def test_a_page_for_each_country(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "2016-08-01").mkdir()
    for number in range(6):
        (tmp_path / "2016-08-01" / f"r{number}.json.gz").touch()
    rows = [
        *(blocked("GR", "http://a/", number) for number in range(6)),
        blocked("GR", "http://b/", tested_count=None, report=None, latest=None),
        blocked("GR", "http://c/", report="2016-08-01/gone.json"),
        blocked("GR", "http://d/", report="../../etc/passwd"),
        blocked("IT", "http://e/"),
    ]
    monkeypatch.setattr(countries, "_INPUTS", 3)
    there = [Country("AE", 3, 1, [DATE]), Country("GR", 9, 8, [DATE]), Country("IT", 1, 1, [DATE]),
             Country(None, 4, 0, [DATE])]  # fmt: skip
    indices = write_countries(tmp_path, there, iter(rows))
    assert [(index.code, index.blocked_inputs) for index in indices] == [("AE", 0), ("GR", 4), ("IT", 1)]
    page = (tmp_path / "countries" / "GR" / "index.html").read_text()
    assert "<title>Greece (GR)</title>" in page and "The 3 that met it most often" in page
    assert page.count("<code>") == 3 and page.index("http://a/") < page.index("http://b/")
    row = page[page.index("http://a/") : page.index("http://b/")]
    assert ">12</td>" in row and ">30</td>" in row and "AS0" in row and "+2" in row
    assert re.findall(r"2016-08-01/r(\d)", row) == ["5", "4", "3"], "the latest reports"
    assert ">?</td>" in page, "what was not counted is not nought"
    assert "gone.json" not in page and "passwd" not in page
    lines = gzip.decompress((tmp_path / "countries/GR/blocked.csv.gz").read_bytes()).decode().splitlines()
    assert len(lines) == 10 and lines[1] == (
        "GR,http://a/,AS0,2016-08-01,2,5,name,2016-07-31 00:00:00,2016-08-01/r0.json.gz"
    )
    assert len(gzip.decompress((tmp_path / "countries/AE/blocked.csv.gz").read_bytes()).splitlines()) == 1
    assert (tmp_path / "countries/GR/buckets.txt").read_text() == "2016-08-01\n"


def test_memory_does_not_grow_with_the_inputs_of_a_country(tmp_path: Path) -> None:
    import tracemalloc

    def many(count: int) -> Iterator[Blocked]:
        return (blocked("GR", f"http://{number:07}/", report=None) for number in range(count))

    peaks = []
    for count in (2_000, 20_000):
        tracemalloc.start()
        write_countries(tmp_path, [Country("GR", 1, 1, [DATE])], many(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_countries_have_names() -> None:
    names = country_names()
    assert len(names) > 240 and names["GR"] == "Greece" and names["ZZ"] == "Unknown"
    assert all(re.fullmatch("[A-Z]{2}", code) and name for code, name in names.items())


def test_years_have_all_buckets(tmp_path: Path) -> None:
    buckets = {dt.date(2015, 12, 31) + dt.timedelta(days=number): summary("a") for number in range(40)}
    years = write_years(tmp_path / "years", buckets)
    assert years == [2016, 2015]
    assert (tmp_path / "years/2016.html").read_text().count("<tr><td>") == 39
    before = (tmp_path / "years/2015.html").stat().st_mtime_ns
    buckets[dt.date(2016, 8, 1)] = summary("b")
    write_years(tmp_path / "years", buckets)
    assert (tmp_path / "years/2015.html").stat().st_mtime_ns == before, "not written again"
    del buckets[dt.date(2015, 12, 31)]
    assert write_years(tmp_path / "years", buckets) == [2016]
    assert not (tmp_path / "years/2015.html").exists()
    shown_ = Shown(buckets, [], [], 7, dt.datetime(2016, 8, 1, 5), dt.datetime(2016, 8, 2, 4))
    write_front(tmp_path, shown_, SiteSettings("A <licence>", "https://m.test/"), years)
    page = (tmp_path / "index.html").read_text()
    assert page.count("<tr><td>") == 30 and "Data up to <b>2016-08-01</b>, next at 2016-08-02 04:00" in page
    assert "A &lt;licence&gt;" in page
    assert "site=<bdi>https://m.test</bdi>" in (tmp_path / "about.html").read_text()
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert index["totals"]["buckets"] == 40 and index["data_up_to"] == "2016-08-01"
    lines = (tmp_path / "index.json").read_text().splitlines()
    assert sum('"bucket_date"' in line for line in lines) == 40, "one a line"


def test_an_empty_site(tmp_path: Path) -> None:
    shown_ = Shown({}, [], [], 0, dt.datetime(2016, 8, 1, 5), dt.datetime(2016, 8, 2, 4))
    write_front(tmp_path, shown_, SiteSettings(), write_years(tmp_path / "years", {}))
    assert "No data yet" in (tmp_path / "index.html").read_text()
    json.loads((tmp_path / "index.json").read_bytes())


def test_what_stays_the_same_keeps_its_file(tmp_path: Path) -> None:
    def write(same: str, other: str) -> None:
        def fill(fresh: Path) -> None:
            (fresh / "below").mkdir()
            (fresh / "below" / "same").write_text(same)
            (fresh / "other").write_text(other)

        replace_directory(tmp_path / "d", fill)

    before = os.umask(0o077)
    try:
        write("1", "2")
        kept, changed = (tmp_path / "d" / name for name in ("below/same", "other"))
        first, second = kept.stat().st_ino, changed.stat().st_ino
        write("1", "3")
    finally:
        os.umask(before)
    assert kept.stat().st_ino == first and changed.stat().st_ino != second
    assert changed.read_text() == "3"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")} == {0o755, 0o644}
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    write_if_changed(tmp_path / "file", "text")
    before_time = (tmp_path / "file").stat().st_mtime_ns
    write_if_changed(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mtime_ns == before_time
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_directory_that_cannot_be_filled_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()

    def fill(fresh: Path) -> None:
        (fresh / "half").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_directory(tmp_path / "d", fill)
    assert [path.name for path in tmp_path.rglob("*")] == ["d", "old"]
