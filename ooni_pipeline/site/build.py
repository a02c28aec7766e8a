"""The site, made again where something changed: countries, tables, log of changes, index, front page last."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from ooni_pipeline.bucket.files import sweep_parts, whole_file
from ooni_pipeline.bucket.layout import Layout, Stage, dates_of
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.bucket.replace import make_public
from ooni_pipeline.database.public import PublishedRows
from ooni_pipeline.database.views import VIEWS
from ooni_pipeline.errors import BucketError
from ooni_pipeline.site.bucket_page import INDEX
from ooni_pipeline.site.changes import NAME, Summary, buckets_of, further, read_changes
from ooni_pipeline.site.countries import write_countries
from ooni_pipeline.site.front import Shown, SiteSettings, write_front, write_years
from ooni_pipeline.site.state import SiteState, look, read_state
from ooni_pipeline.site.tables import keep_tables, write_page, write_tables


def buckets_to_show(layout: Layout) -> list[dt.date]:
    """The buckets whose rows the site may show: on the mirror, as their proof says. One that is being done
    again is left out until it is published anew, so that no row speaks of a file that is not there."""
    proved = set(layout.manifest_dates(Stage.PUBLISHED))
    return [date for date in dates_of(layout.public) if date in proved]


def build_site(
    layout: Layout,
    rows: PublishedRows,
    settings: SiteSettings,
    now: dt.datetime,
    next_night: dt.datetime,
) -> SiteState:
    """Make the site show the buckets on the mirror, and of ``rows`` what is of them; then note what it shows.

    Every file and directory appears whole, what is linked to before what links to it, the front page last.
    A run that dies is made good by the next one. Raises BucketError for a bucket without its indices.
    """
    public, former = layout.public, read_state(layout)
    views, by_year = public / "views", public / "years"
    for directory in (public, views, by_year):
        make_public(directory)
        sweep_parts(directory)
    for left in views.glob(".*"):  # by a run that died on another date
        shutil.rmtree(left)
    changes = read_changes(public / NAME)
    state = SiteState(settings, look(layout, former), rows.loads)
    now_there = _summaries(public, state, buckets_of(changes))
    new = further(changes, now_there, timestamp(now))
    changes += new

    countries = write_countries(public, rows.countries(), rows.blocked())
    kept = keep_tables(views, changes)
    if former is None or former.loads != state.loads or not kept:
        change = changes[-1].number if changes else 0
        write_tables(views, now.date(), VIEWS, rows.copy_view, change)
        kept = keep_tables(views, changes)
    write_page(views, kept)
    years = write_years(by_year, now_there)
    if new or not (public / NAME).exists():
        with whole_file(public / NAME) as part:
            part.write_text("".join(change.line() for change in changes), encoding="ascii")
            part.chmod(0o644)
    last = changes[-1].number if changes else 0
    write_front(public, Shown(now_there, countries, kept, last, now, next_night), settings, years)
    state.write(layout)
    return state


def _summaries(public: Path, state: SiteState, known: Mapping[dt.date, Summary]) -> dict[dt.date, Summary]:
    """Each bucket on the mirror; the index is read of those alone that are not as the log has them."""
    summaries = {}
    for date, seen in state.buckets.items():
        old = known.get(date)
        same = old is not None and old.sha256sums == seen.sha256sums
        summaries[date] = old if old is not None and same else _summary(public / str(date), seen.sha256sums)
    return summaries


def _summary(bucket: Path, sha256sums: str) -> Summary:
    try:
        index = json.loads((bucket / INDEX).read_bytes())
        reports = index["reports"]
        withdrawn = index.get("withdrawn", {})  # the first buckets that this project published have none
        return Summary(
            reports=len(reports),
            measurements=int(index["measurements"]),
            size=sum(int(report["size"]) for report in reports),
            sha256sums=sha256sums,
            withdrawn_reports=int(withdrawn.get("reports", 0)),
            withdrawn_measurements=int(withdrawn.get("measurements", 0)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BucketError(
            f"bucket {bucket.name}: {bucket / INDEX} is missing or none of ours; python -m tasks.forget "
            f"publish {bucket.name} {bucket.name} and the next night make it again"
        ) from None
