"""What is late, little or impossible, by the proofs of buckets: one line a problem, with what to type."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ooni_pipeline.bucket.decisions import held_reports
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, moment, read_proof
from ooni_pipeline.bucket.process import SINCE_BOOT
from ooni_pipeline.errors import BucketError

#: When a bucket's night begins, after its midnight: cron's first line.
NIGHT = dt.timedelta(hours=4)
#: So many buckets are looked at, the latest that are due: those that the 06:00 run looks at.
LOOK_BACK = 7
#: A clock is corrected by less than this without anybody calling it wrong.
CLOCK_STEP = dt.timedelta(minutes=30)
#: What is usual is told from so many buckets, and not from fewer than the other number.
USUAL, FEWEST = 28, 7
_NEVER = "never fetched"
#: What each stage makes of a bucket: the stages of a group one after the other, the groups side by side.
_GROUPS = (
    ((Stage.BACKUP, "not backed up"), (Stage.REMOVED, "not removed from the collectors")),
    ((Stage.NORMALISED, "not normalised"), (Stage.SANITISED, "not sanitised")),
)


@dataclass(frozen=True)
class Known:
    """What is known from elsewhere: buckets that are loaded, that the views show, that a veto window keeps
    from the mirror, and that the public pages show (None where the database cannot be asked)."""

    loaded: Collection[dt.date] | None = None
    in_views: Collection[dt.date] | None = None
    waiting: Collection[dt.date] = field(default_factory=frozenset)
    on_pages: Collection[dt.date] | None = None


def next_night(now: dt.datetime) -> dt.datetime:
    """When cron's next night begins (UTC)."""
    today = dt.datetime.combine(now.date(), dt.time()) + NIGHT
    return today if now < today else today + dt.timedelta(days=1)


def due(now: dt.datetime, late: dt.timedelta) -> list[dt.date]:
    """The latest buckets that should be done: ``late`` has passed since their night began. In order."""
    last = (now - NIGHT - late).date()
    return [last - dt.timedelta(days=number) for number in reversed(range(LOOK_BACK))]


def late_buckets(layout: Layout, dates: Iterable[dt.date], known: Known) -> list[str]:
    """Which of these buckets are not done, by what they lack first: one line for all that lack the same."""
    lacking: dict[str, list[dt.date]] = {}
    for bucket_date in dates:
        for what in _lacks(layout, bucket_date, known):
            lacking.setdefault(what, []).append(bucket_date)
    return [_late(what, missed) for what, missed in lacking.items()]


def _lacks(layout: Layout, bucket_date: dt.date, known: Known) -> list[str]:
    """What is missing, without what only waits for it."""
    if not layout.manifest(Stage.RAW, bucket_date).exists():
        return ["begun, but not fetched" if layout.plan(bucket_date).exists() else _NEVER]
    lacks = [
        next((what for stage, what in group if not layout.manifest(stage, bucket_date).exists()), "")
        for group in _GROUPS
    ]
    if not lacks[-1]:
        published = layout.manifest(Stage.PUBLISHED, bucket_date).exists() or bucket_date in known.waiting
        lacks.append("" if published else "not on the mirror")
        if known.loaded is not None and bucket_date not in known.loaded:
            lacks.append("not loaded")
        elif known.in_views is not None and bucket_date not in known.in_views:
            lacks.append("not in the views")
        elif known.on_pages is not None and published and bucket_date not in known.on_pages:
            lacks.append("not on the public pages")
    return [what for what in lacks if what]


def _late(what: str, missed: list[dt.date]) -> str:
    first, last = missed[0], missed[-1]
    which = f"bucket {first} is" if len(missed) == 1 else f"{len(missed)} buckets ({_listed(missed)}) are"
    if what == _NEVER:
        was = which.removesuffix(" is").removesuffix(" are") + (" was" if len(missed) == 1 else " were")
        return (
            f"{was} {what}: what came then comes with a later bucket. Say that nothing came: "
            f"python -m tasks.adopt --empty {first} {last}"
        )
    until = last + dt.timedelta(days=1)
    again = (
        f"luigi --module tasks.nightly Nightly --bucket-date {first}"
        if len(missed) == 1
        else f"luigi --module tasks.nightly RangeDaily --of Nightly --start {first} --stop {until}"
    )
    return f"{which} late, {what}: see why in the night's log; then {again}"


def missed_around(layout: Layout, bucket_date: dt.date, today: dt.date) -> tuple[dt.date, dt.date]:
    """The first and the last of the nights that were missed in a row around one that was never fetched:
    between two buckets that were, or one and ``today``, a month away at most. Else the date itself."""

    def end(step: int) -> dt.date:
        for number in range(1, 32):
            other = bucket_date + dt.timedelta(days=step * number)
            if other >= today or not _is_missed(layout, other):
                return other - dt.timedelta(days=step)
        return bucket_date

    return end(-1), end(1)


def _is_missed(layout: Layout, bucket_date: dt.date) -> bool:
    raw = Stage.RAW
    of_it = (layout.manifest(raw, bucket_date), layout.forgotten(raw, bucket_date), layout.plan(bucket_date))
    return not any(path.exists() for path in of_it)


def _listed(dates: list[dt.date]) -> str:
    return ", ".join(map(str, dates))


def made_by_another_clock(
    layout: Layout, bucket_date: dt.date, now: dt.datetime, up: Mapping[str, Any]
) -> bool:
    """Whether the clock that made a bucket was ahead of ours, or ours is behind: it has a proof that was made
    later than it is now, or since it was fetched the clock went otherwise than the machine, which has been
    ``up`` since (see :func:`ooni_pipeline.bucket.process.since_boot`)."""
    for stage in Stage:
        path = layout.manifest(stage, bucket_date)
        if not path.exists():
            continue
        manifest = Manifest.read(path)
        made = _when(manifest.made)
        if made is None:
            continue
        if made > now:
            return True
        then = manifest.facts.get(SINCE_BOOT)
        if isinstance(then, dict) and then.get("boot") == up.get("boot") is not None:
            by_machine = dt.timedelta(seconds=up["seconds"] - int(then.get("seconds", 0)))
            if abs(by_machine - (now - made)) > CLOCK_STEP:
                return True
    return False


def impossible_buckets(layout: Layout, today: dt.date) -> list[str]:
    """Buckets of days to come: a clock that was ahead made them."""
    ahead = [day for day in layout.manifest_dates(Stage.RAW) if day > today]
    return [
        f"bucket {day} is of a day to come (today is {today}): the clock was ahead when it was fetched. So "
        f"that it takes that day's own reports too: python -m tasks.forget fetch {day} {day}"
        for day in ahead
    ]


def little(layout: Layout, bucket_date: dt.date, least_percent: int) -> list[str]:
    """Whether a bucket holds far fewer reports than is usual, from all collectors or from one of them; and
    the collectors that it goes without. Raises BucketError where a proof is damaged."""
    if not layout.manifest(Stage.RAW, bucket_date).exists():
        return []
    manifest = read_proof(layout, Stage.RAW, bucket_date)
    problems = [
        f"bucket {bucket_date} goes without collector {name}: {problem}"
        for name, problem in manifest.facts.get("unreachable", {}).items()
    ]
    before = [day for day in layout.manifest_dates(Stage.RAW) if day < bucket_date][-USUAL:]
    if least_percent and len(before) >= FEWEST:
        days = [_by_collector(read_proof(layout, Stage.RAW, day)) for day in before]
        came = _by_collector(manifest)
        collectors = sorted({name for day in days for name in day if name})
        usual = {name: median(day[name] for day in days) for name in collectors}
        all_usual = median(day.total() for day in days)
        if 100 * came.total() < least_percent * all_usual:
            problems.append(_few(bucket_date, came.total(), all_usual, "all collectors"))
        elif len(collectors) > 1:
            problems += [
                _few(bucket_date, came[name], usual[name], f"collector {name}")
                for name in collectors
                if 100 * came[name] < least_percent * usual[name]
            ]
    return problems


def _by_collector(manifest: Manifest) -> Counter[str]:
    """The reports that are new with a bucket, by where they came from."""
    return Counter(record.collector for record in manifest.reports if record.usable)


def _few(bucket_date: dt.date, came: int, usual: float, whence: str) -> str:
    return (
        f"bucket {bucket_date} has {came} reports from {whence}, where {usual:g} are usual: do probes still "
        "reach the collector, and does [fetch] collectors name where it keeps them?"
    )


def waiting_long(layout: Layout, now: dt.datetime, patience: dt.timedelta) -> list[str]:
    """Whether reports have waited for a person for longer than ``patience``."""
    waiting = 0
    for bucket_date in layout.held_dates():
        for held in held_reports(layout, bucket_date):
            since = _when(held.case.since)
            waiting += held.waits and (since is None or now - since > patience)
    if not waiting:
        return []
    return [f"{waiting} reports wait for a person for over {patience.days} days: python -m tasks.held list"]


def _when(text: str) -> dt.datetime | None:
    try:
        return moment(text)
    except BucketError:
        return None
