"""The front page, a page for each year, and the index for programs."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

from ooni_pipeline.bucket.manifest import moment as read_moment
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.bucket.replace import make_public
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.names import UNKNOWN_CC
from ooni_pipeline.site.bucket_page import FORMAT, INDEX
from ooni_pipeline.site.changes import NAME, Summary
from ooni_pipeline.site.countries import CountryIndex
from ooni_pipeline.site.files import write_if_changed
from ooni_pipeline.site.page import DATA, link, moment, number, page, shown, table

#: So many buckets are on the front page; the years have them all.
_LATEST = 30
_HEADS = ("Bucket", "#Reports", "#Measurements", "#Bytes", "#Withdrawn", "State (SHA-256 of SHA256SUMS)")

Buckets = Mapping[dt.date, Summary]


@dataclass(frozen=True)
class SiteSettings:
    """What the operator says of the site: the ``licence`` of the data, and its ``url`` for the recipes."""

    licence: str = "CC BY-NC-SA 4.0"
    url: str = "https://mirror.example"


@dataclass(frozen=True)
class Shown:
    """What the site shows: its buckets, countries and tables, the number of the last change, when it was
    made and when the next night begins (naive UTC)."""

    buckets: Buckets
    countries: list[CountryIndex]
    tables: list[dict[str, Any]]
    change: int
    made: dt.datetime
    next_night: dt.datetime


def write_years(directory: Path, buckets: Buckets) -> list[int]:
    """A page for each year with all of its buckets; returns the years, the latest first."""
    make_public(directory)
    years = []
    for year, dates in itertools.groupby(sorted(buckets, reverse=True), key=lambda date: date.year):
        body = _listed(((date, buckets[date]) for date in dates), "../")
        write_if_changed(directory / f"{year}.html", page(f"Buckets of {year}", body, 1))
        years.append(year)
    for path in directory.glob("*.html"):
        if path.name not in {f"{year}.html" for year in years}:
            path.unlink()
    return years


def write_front(public: Path, shown_: Shown, settings: SiteSettings, years: list[int]) -> None:
    """Style, researcher's page, index and front page, in this order: what is linked to comes first. Where
    they would only say that they were made later they stay as they are."""
    before = replace(shown_, made=_made_before(public) or shown_.made)
    if _index(before, settings) == _text(public / INDEX):
        shown_ = before
    write_if_changed(public / "style.css", (DATA / "style.css").read_text(encoding="utf-8"))
    write_if_changed(public / "about.html", _about(settings))
    write_if_changed(public / INDEX, _index(shown_, settings))
    write_if_changed(public / "index.html", _front(shown_, settings, years))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _made_before(public: Path) -> dt.datetime | None:
    try:
        return read_moment(json.loads(_text(public / INDEX))["made"])
    except (ValueError, KeyError, TypeError, BucketError):
        return None


def _totals(buckets: Buckets) -> dict[str, int]:
    names = ("reports", "measurements", "size", "withdrawn_reports", "withdrawn_measurements")
    return {name: sum(getattr(bucket, name) for bucket in buckets.values()) for name in names}


def _index(shown_: Shown, settings: SiteSettings) -> str:
    """One bucket a line, so that a shell finds its way too."""
    head = {
        "format": FORMAT,
        "made": timestamp(shown_.made),
        "next_night": timestamp(shown_.next_night),
        "data_up_to": str(max(shown_.buckets, default="")),
        "licence": settings.licence,
        "changes": {"file": NAME, "last": shown_.change},
        "totals": {"buckets": len(shown_.buckets), **_totals(shown_.buckets)},
    }
    parts = {
        "views": [json.dumps(tables) for tables in shown_.tables],
        "countries": [json.dumps(asdict(country)) for country in shown_.countries],
        "buckets": [
            json.dumps({"bucket_date": str(date), **asdict(bucket)})
            for date, bucket in shown_.buckets.items()
        ],
    }
    lists = [f'"{name}": [\n' + ",\n".join(lines) + "\n]" for name, lines in parts.items()]
    return json.dumps(head, indent=1)[:-2] + ",\n " + ",\n ".join(lists) + "\n}\n"


def _front(shown_: Shown, settings: SiteSettings, years: list[int]) -> str:
    totals = _totals(shown_.buckets)
    up_to = max(shown_.buckets, default=None)
    state = f"Data up to <b>{up_to}</b>" if up_to else "No data yet"
    tables = " ".join(
        link(f"views/{shown_.tables[0]['date']}/{file['file']}", file["file"])
        for file in (shown_.tables[0]["files"] if shown_.tables else ())
    )
    blocked = sorted(shown_.countries, key=lambda country: (-country.blocked_inputs, country.code))
    countries = " ".join(
        link(f"countries/{country.code}/index.html", shown(country.name or country.code))
        for country in blocked[:40]
    )
    known = sum(country.code != UNKNOWN_CC for country in shown_.countries)
    latest = sorted(shown_.buckets.items(), reverse=True)[:_LATEST]
    body = f"""<p>What volunteers' probes measured of blocked sites, services and tools: every report, freed
of what would harm a person, for everybody to download. {link("about.html", "How to read and use it")}.</p>
<p>{state}, next at {moment(shown_.next_night)} (UTC); these pages were made at {moment(shown_.made)}.</p>
<p>{number(totals["measurements"])} measurements in {number(totals["reports"])} reports of
{number(len(shown_.buckets))} buckets, from {number(known)} countries; {number(totals["size"])} bytes.</p>
<h2>Countries</h2>
<p class="list">{countries}</p>
<p>{link("countries/index.html", "All countries")}</p>
<h2>Tables</h2>
<p class="list">{tables}</p>
<p>{link("views/index.html", "Earlier dates")}</p>
<h2>Latest buckets</h2>
{_listed(latest, "")}
<p class="list">All buckets: {" ".join(link(f"years/{year}.html", str(year)) for year in years)}</p>
<footer><p>For programs: {link(INDEX, INDEX)}, {link(NAME, NAME)}.
Licence of the data: {shown(settings.licence)}.</p></footer>"""
    return page("Measurements of network interference", body, 0)


def _listed(buckets: Iterable[tuple[dt.date, Summary]], top: str) -> str:
    rows = [
        (
            link(f"{top}{date}/index.html", str(date)),
            number(bucket.reports),
            number(bucket.measurements),
            number(bucket.size),
            number(bucket.withdrawn_measurements),
            f"<code>{bucket.sha256sums[:16]}…</code>",
        )
        for date, bucket in buckets
    ]
    return table(_HEADS, rows)


def _about(settings: SiteSettings) -> str:
    text = Template((DATA / "about.html").read_text(encoding="utf-8"))
    body = text.substitute(licence=shown(settings.licence), url=shown(settings.url.rstrip("/"), 200))
    return page("How to use these measurements", body, 0)
