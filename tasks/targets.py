"""What proves that a task is done."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import luigi

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.database import markers
from ooni_pipeline.errors import DatabaseError
from tasks import config

logger = logging.getLogger("luigi-interface")


class ManifestTarget(luigi.Target):
    """The manifest of a stage for one bucket."""

    def __init__(self, stage: Stage, bucket_date: dt.date) -> None:
        self.stage = stage
        self.bucket_date = bucket_date

    def exists(self) -> bool:
        return config.layout().manifest(self.stage, self.bucket_date).exists()


class DatabaseTarget(luigi.Target):
    """Something that the database says of one bucket."""

    def __init__(self, says: Callable[[str, dt.date], bool], bucket_date: dt.date) -> None:
        self._says = says
        self.bucket_date = bucket_date

    def exists(self) -> bool:
        """False, with one warning, when the database cannot be reached or has no schema: never starts it."""
        return ask(lambda url: self._says(url, self.bucket_date), otherwise=False)


_Answer = TypeVar("_Answer")

#: A database that lets us wait this long (seconds) is not asked again for a while: a range has many dates.
SLOW, A_WHILE = 3.0, 60.0
_silent_until = 0.0


def ask(question: Callable[[str], _Answer], otherwise: _Answer) -> _Answer:
    """What the database answers; ``otherwise``, with one warning, when it does not."""
    global _silent_until
    begin = time.monotonic()
    if begin < _silent_until:
        return otherwise
    try:
        return question(config.database_url())
    except DatabaseError as error:
        warn_once(str(error))
        if time.monotonic() - begin > SLOW:
            _silent_until = time.monotonic() + A_WHILE
        return otherwise


def answers_again() -> None:
    """The database has just done something for us: ask it again."""
    global _silent_until
    _silent_until = 0.0


_warned: set[str] = set()


def warn_once(message: str) -> None:
    """One line in the log, not one for each of a thousand buckets."""
    if message not in _warned:
        _warned.add(message)
        logger.warning("%s", message)


class LoadTarget(DatabaseTarget):
    """The marker row of a loaded bucket."""

    def __init__(self, bucket_date: dt.date) -> None:
        super().__init__(markers.is_loaded, bucket_date)


class ViewsTarget(DatabaseTarget):
    """The current load of a bucket is in the views."""

    def __init__(self, bucket_date: dt.date) -> None:
        super().__init__(markers.in_views, bucket_date)


def among(dates: Iterable[dt.date], loaded: Callable[[str, dt.date, dt.date], set[dt.date]]) -> list[dt.date]:
    """Which of these buckets the database calls done, in one question; none when it cannot be reached."""
    wanted = list(dates)
    if not wanted:
        return []
    nothing: set[dt.date] = set()
    done = ask(lambda url: loaded(url, min(wanted), max(wanted)), otherwise=nothing)
    return [date for date in wanted if date in done]
