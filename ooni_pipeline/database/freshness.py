"""How late the views are, by the clock of the database alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ooni_pipeline.database.connect import QUESTION_WAITS, connected, run
from ooni_pipeline.database.migrate import pending


@dataclass(frozen=True)
class Freshness:
    """``pending``: schema files that the database lacks (then the rest is not known). ``unseen`` loads are
    older than was asked for and not in the views; the ages are of the oldest load that is not, and of the
    last refresh (None: there is none). ``now`` is the clock of the database, naive UTC."""

    pending: tuple[str, ...] = ()
    unseen: int = 0
    oldest: dt.timedelta | None = None
    refreshed: dt.timedelta | None = None
    now: dt.datetime | None = None


def freshness(url: str, late: dt.timedelta) -> Freshness:
    """What the database says. Raises DatabaseError where it cannot be asked."""
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        if missing := pending(database):
            return Freshness(pending=tuple(missing))
        row = run(database, "load/unseen_loads", {"seconds": int(late.total_seconds())})[0]
    unseen, oldest, refreshed, now = row
    return Freshness((), unseen, _age(oldest), _age(refreshed), now)


def _age(seconds: int | None) -> dt.timedelta | None:
    return None if seconds is None else dt.timedelta(seconds=seconds)
