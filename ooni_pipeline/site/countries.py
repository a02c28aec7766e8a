"""A page and a CSV for each country: what met a known block page there, and the reports that show it."""

from __future__ import annotations

import csv
import datetime as dt
import functools
import heapq
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.replace import make_public
from ooni_pipeline.database.public import Blocked, Country
from ooni_pipeline.site.bucket_page import INDEX
from ooni_pipeline.site.files import packed, replace_directory
from ooni_pipeline.site.page import DATA, link, moment, number, page, shown, table

CSV, BUCKETS = "blocked.csv.gz", "buckets.txt"
#: So many inputs, reports beside an input, and buckets are on a page; all of them are in its files.
_INPUTS, _REPORTS, _BUCKETS = 500, 3, 60
_HEADS = ("~What was tested", "#Met a block page", "#Of tests", "Networks", "Latest (UTC)", "Evidence")


@dataclass
class _Input:
    """One input of a country, over all networks and buckets."""

    text: str
    blocked: int = 0
    tested: int | None = 0
    networks: set[str] = field(default_factory=set)
    latest: dt.datetime | None = None
    reports: list[tuple[dt.datetime, str]] = field(default_factory=list)

    def add(self, row: Blocked) -> None:
        self.blocked += row.blocked_count
        known = self.tested is not None and row.tested_count is not None
        self.tested = (self.tested or 0) + (row.tested_count or 0) if known else None
        if row.probe_asn:
            self.networks.add(row.probe_asn)
        if row.latest and (self.latest is None or row.latest > self.latest):
            self.latest = row.latest
        if row.report:
            self.reports.append((row.latest or dt.datetime.min, row.report))
            self.reports = heapq.nlargest(_REPORTS, self.reports)


@dataclass(frozen=True)
class CountryIndex:
    """What the front page and the index for programs say of a country."""

    code: str
    name: str
    measurements: int
    tested: int
    buckets: int
    blocked_inputs: int
    csv_sha256: str


@functools.cache
def country_names() -> dict[str, str]:
    """Names by code: ISO 3166 and the two that the field has beside it."""
    with (DATA / "countries.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: row["name"] for row in csv.DictReader(file)}


def write_countries(
    public: Path, countries: Iterable[Country], blocked: Iterable[Blocked]
) -> list[CountryIndex]:
    """Write ``<public>/countries/``, which appears whole. ``blocked`` comes sorted by country and input, row
    by row; memory is bounded by what one page shows. Links lead to reports that lie below ``public``."""
    indices: list[CountryIndex] = []
    others = [country for country in countries if country.probe_cc is None]

    def write(fresh: Path) -> None:
        by_country = itertools.groupby(blocked, key=lambda row: row.probe_cc)
        code, rows = next(by_country, ("", iter(())))
        for country in countries:
            if country.probe_cc is None:
                continue
            while code and code < country.probe_cc:  # matches, and no measurement: cannot be
                code, rows = next(by_country, ("", iter(())))
            mine = rows if code == country.probe_cc else iter(())
            indices.append(_write_country(public, fresh, country, mine))
        index = json.dumps([vars(country) for country in indices], indent=1) + "\n"
        (fresh / INDEX).write_text(index, encoding="ascii")
        (fresh / "index.html").write_text(_all(indices, others), encoding="utf-8")

    make_public(public)
    replace_directory(public / "countries", write)
    return indices


def _write_country(public: Path, fresh: Path, country: Country, rows: Iterator[Blocked]) -> CountryIndex:
    code = str(country.probe_cc)
    name = country_names().get(code, "")
    directory = fresh / code
    directory.mkdir()
    most: list[tuple[int, int, int, _Input]] = []
    inputs = 0
    with (
        packed(directory / CSV) as binary,
        io.TextIOWrapper(binary, encoding="utf-8", newline="") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Blocked._fields)
        for one in _inputs(rows, writer):
            inputs += 1
            place = (one.blocked, len(one.networks), -inputs, one)  # of equals the first one stays
            (heapq.heappush if len(most) < _INPUTS else heapq.heappushpop)(most, place)
    dates = [str(date) for date in country.buckets]
    (directory / BUCKETS).write_text("".join(f"{date}\n" for date in dates), encoding="ascii")
    top = [one for _, _, _, one in sorted(most, reverse=True)]
    title = f"{name} ({code})" if name else code
    (directory / "index.html").write_text(
        page(title, _body(public, country, top, inputs), 2), encoding="utf-8"
    )
    digest = file_digest(directory / CSV)
    counts = (country.measurements, country.tested, len(dates), inputs)
    return CountryIndex(code, name, *counts, digest)


def _inputs(rows: Iterator[Blocked], writer: csv._writer) -> Iterator[_Input]:  # type: ignore[name-defined]
    """Each input of one country once, while its rows are written."""
    for text, same in itertools.groupby(rows, key=lambda row: row.input):
        one = _Input(text)
        for row in same:
            report = f"{row.report}.gz" if row.report else None
            writer.writerow(row._replace(report=report))
            one.add(row)
        yield one


def _body(public: Path, country: Country, top: list[_Input], inputs: int) -> str:
    cut = f" The {_INPUTS} that met it most often are below; all are in the CSV." if inputs > len(top) else ""
    rows = [
        (
            f"<code>{shown(one.text)}</code>",
            number(one.blocked),
            number(one.tested),
            _networks(one.networks),
            moment(one.latest),
            " ".join(_evidence(public, report) for _, report in one.reports),
        )
        for one in top
    ]
    latest = " ".join(
        link(f"../../{date}/index.html", str(date)) for date in country.buckets[: -_BUCKETS - 1 : -1]
    )
    about = link("../../about.html", "What that means")
    return f"""<p>{number(country.measurements)} measurements, in {number(country.tested)} of which a block
page was looked for. {number(inputs)} inputs met a known one.{cut} {about}, and what it does not. Inputs are
shown as text and are no links: what is blocked may be dangerous to open, and a visit would tell that site,
and whoever watches the line, that you came.</p>
<p class="list">All of it: {link(CSV, CSV)} {link(BUCKETS, "the buckets with measurements from here")}</p>
{table(_HEADS, rows)}
<h2>Latest buckets</h2>
<p class="list">{latest}</p>"""


def _networks(networks: set[str]) -> str:
    first = sorted(networks, key=lambda asn: (len(asn), asn))[:4]
    more = f" +{number(len(networks) - len(first))}" if len(networks) > len(first) else ""
    return " ".join(shown(asn, 12) for asn in first) + more


def _evidence(public: Path, report: str) -> str:
    """A link to the published report, where it lies there."""
    bucket, _, name = report.partition("/")
    if not name or "/" in name or name.startswith(".") or not (public / bucket / f"{name}.gz").is_file():
        return ""
    return link(f"../../{bucket}/{name}.gz", shown(bucket))


def _all(indices: list[CountryIndex], others: list[Country]) -> str:
    rows = [
        (
            link(f"{country.code}/index.html", country.code),
            shown(country.name),
            number(country.measurements),
            number(country.tested),
            number(country.blocked_inputs),
            link(f"{country.code}/{CSV}", CSV),
        )
        for country in indices
    ]
    rows += [
        ("", "no country in two capitals", number(other.measurements), number(other.tested), "", "")
        for other in others
    ]
    heads = (
        "Code",
        "Country",
        "#Measurements",
        "#Looked for a block page",
        "#Blocked inputs",
        "Blocked inputs",
    )
    return page("Countries", table(heads, rows), 1)
