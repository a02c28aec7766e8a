"""Withdrawn files that still lie on their collectors: removed there, or queued until they can be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.bucket.withdraw_queue import COLLECTOR, Target, Waiting, add_waiting, changing
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.collectors import CHANGED, GONE, REMOVED
from ooni_pipeline.transfer.plan import BATCH
from tasks import config
from tasks.base import utc_now


def ask_collectors(layout: Layout, bucket_date: dt.date, targets: list[Target], act: str) -> None:
    """Have the files removed where they came from, if they still lie there; queue those of a collector that
    is away. Of a report that was cut the collector's file goes once the backup holds the rest."""
    now = timestamp(utc_now())
    items = [
        Waiting(COLLECTOR, target.bucket, now, target.path, target.collector, target.digest, act)
        for target in targets
        if target.collector and target.path and target.digest
    ]
    add_waiting(layout, items)  # first: it is not forgotten if we die
    take_from_collectors(layout, items)


def take_from_collectors(layout: Layout, items: list[Waiting]) -> None:
    """Remove files on their collectors; what is done leaves the queue."""
    done = []
    with config.open_collectors() as collectors:
        for collector in collectors:
            mine = [item for item in items if item.where == collector.name and _may_go(layout, item)]
            for some in _at_once(mine):
                try:
                    fates = collector.remove({item.what: item.digest for item in some})
                except TransferError:  # the queue tells
                    break
                done += [item for item in some if fates.get(item.what) in (REMOVED, GONE, CHANGED)]
    with changing(layout) as queue:
        gone = {(item.where, item.what, item.digest) for item in done}
        queue[:] = [
            one for one in queue if one.kind != COLLECTOR or (one.where, one.what, one.digest) not in gone
        ]


def _at_once(items: list[Waiting]) -> Iterator[list[Waiting]]:
    """So many as a collector takes; each path once, for what lies there may be any of its former states."""
    while items:
        some: dict[str, Waiting] = {}
        later = []
        for item in items:
            if item.what in some or len(some) == BATCH:
                later.append(item)
            else:
                some[item.what] = item
        yield list(some.values())
        items = later


def _may_go(layout: Layout, item: Waiting) -> bool:
    """Whether a collector's file may go: nothing of it is only there. The backup holds what is left of it."""
    bucket_date = dt.date.fromisoformat(item.bucket)
    proof = layout.manifest(Stage.RAW, bucket_date)
    return not proof.exists() or layout.manifest(Stage.BACKUP, bucket_date).exists()
