"""What is still to be deleted of what was withdrawn: the work that was begun, and the queue of what cannot go
yet. Both have names, so they lie beside the records of the withdrawals, and go when they are done.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket.files import whole_file
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import moment
from ooni_pipeline.errors import BucketError

_FORMAT = 1
#: Kinds of what waits. An object of the backup, until its retention ends; a file on a collector that was not
#: reached; entries that came back in another report; and copies that the operator said are kept so long.
BACKUP, COLLECTOR, RAW = "backup", "collector", "raw"
DUMPS, SNAPSHOTS, MIRROR = "dumps", "snapshots", "mirror"
#: Those that nobody can delete one by one: they end with their time.
EXPIRING = (DUMPS, SNAPSHOTS, MIRROR)
#: After so long somebody is told that it is still there: the nightly run should have deleted it.
_LATE = dt.timedelta(days=2)


@dataclass(frozen=True)
class Waiting:
    """Something that cannot be deleted yet, ``due`` from a UTC time on (as manifests write it).

    ``what`` is the key of an object, or the path on a collector, whose digest must be ``digest`` still.
    """

    kind: str
    bucket: str
    due: str
    what: str = ""
    where: str = ""
    digest: str = ""
    act: str = ""

    @property
    def told(self) -> str:
        """For the ledger and the log: no name of a report."""
        of = {
            BACKUP: "an object of the backup that its retention protects",
            COLLECTOR: f"a file on collector {self.where}",
            RAW: "entries that came back in another report",
            DUMPS: "dumps of the database, and its WAL where that is archived",
            SNAPSHOTS: "snapshots of the disks",
            MIRROR: "the copy on the mirror machine",
        }[self.kind]
        return f"{of}, {'until' if self.kind in EXPIRING else 'to be deleted from'} {self.due}"


@dataclass(frozen=True)
class Target:
    """A report that a withdrawal concerns: all of it (``whole``), or entries of it that have tombstones.

    ``name`` is its file in the raw bucket, with ``digest`` and ``content`` as the raw manifest had them;
    ``collector`` and ``path`` say where it came from.
    """

    bucket: str
    report: str
    whole: bool
    name: str = ""
    digest: str = ""
    content: str = ""
    collector: str = ""
    path: str = ""

    @property
    def bucket_date(self) -> dt.date:
        return dt.date.fromisoformat(self.bucket)


@dataclass(frozen=True)
class Work:
    """What one act has still to do. ``stages`` are those that each bucket had done, and must have again."""

    act: str
    targets: tuple[Target, ...]
    stages: dict[str, list[str]]


def keep_work(layout: Layout, work: Work) -> Path:
    """Write down what is to be done: a run that dies is finished by the next."""
    path = layout.withdrawing() / f"{work.act}.work.json"
    value = {
        "format": _FORMAT,
        "targets": [dataclasses.asdict(target) for target in work.targets],
        "stages": work.stages,
    }
    _write(path, value)
    return path


def unfinished_work(layout: Layout) -> list[Work]:
    """What was begun and not finished, the oldest first. Raises BucketError for a file that is damaged."""
    directory = layout.withdrawing()
    paths = sorted(directory.glob("*.work.json")) if directory.is_dir() else []
    return [_work(path) for path in paths]


def work_done(layout: Layout, work: Work) -> None:
    """The work of an act is done: its names go."""
    (layout.withdrawing() / f"{work.act}.work.json").unlink(missing_ok=True)


def waiting(layout: Layout) -> list[Waiting]:
    """The queue, what is due first in front. Raises BucketError where it is damaged."""
    path = _queue(layout)
    if not path.exists():
        return []
    value = _read(path)
    try:
        items = [Waiting(**item) for item in value["waiting"]]
        told = [item.told for item in items]  # each is of a kind that we know
    except (KeyError, TypeError):
        raise BucketError(_damaged(path)) from None
    return sorted(items, key=lambda item: item.due) if told else []


def add_waiting(layout: Layout, items: Iterable[Waiting]) -> None:
    """Put into the queue what is not there; of what is, the later time counts."""
    with changing(layout) as queue:
        for item in items:
            known = [one for one in queue if dataclasses.replace(one, due="", act="") == _undated(item)]
            for one in known:
                queue.remove(one)
            queue.append(max([item, *known], key=lambda one: one.due))


def overdue(layout: Layout, now: dt.datetime) -> list[str]:
    """What should have been deleted by now and was not: one line a problem, with what to type."""
    problems = []
    if unfinished := len(unfinished_work(layout)):
        problems.append(f"{unfinished} withdrawals were begun and not finished")
    late = [item for item in waiting(layout) if moment(item.due) + _LATE < now]
    for told in dict.fromkeys(item.told for item in late if item.kind not in EXPIRING):
        number = sum(item.told == told for item in late)
        problems.append(f"withdrawn, and still there {number} times: {told}")
    return [f"{problem}: python -m tasks.withdraw --due" for problem in problems]


def _undated(item: Waiting) -> Waiting:
    return dataclasses.replace(item, due="", act="")


@contextmanager
def changing(layout: Layout) -> Iterator[list[Waiting]]:
    """The queue, to be changed in a block by one process alone."""
    with one_writer(layout.lock("withdraw_queue")):
        before = waiting(layout)
        queue = list(before)
        yield queue
        if queue != before:
            _write(
                _queue(layout),
                {"format": _FORMAT, "waiting": [dataclasses.asdict(item) for item in queue]},
            )


def _queue(layout: Layout) -> Path:
    return layout.withdrawing() / "queue.json"


def _write(path: Path, value: dict[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(value, indent=0) + "\n", encoding="ascii")


def _work(path: Path) -> Work:
    value = _read(path)
    try:
        targets = tuple(Target(**target) for target in value["targets"])
        stages = {str(bucket): [str(one) for one in done] for bucket, done in value["stages"].items()}
        dates = {target.bucket_date for target in targets}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BucketError(_damaged(path)) from None
    return Work(path.name.removesuffix(".work.json"), targets, stages if dates else {})


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
        if value["format"] != _FORMAT:
            raise ValueError
    except OSError as error:
        raise BucketError(f"{path}, of a withdrawal, cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BucketError(_damaged(path)) from None
    return dict(value)


def _damaged(path: Path) -> str:
    return (
        f"{path} is damaged: it says what is still to be deleted of what was withdrawn. Copy it back from a "
        "snapshot, or move it away and type the python -m tasks.withdraw of then again"
    )
