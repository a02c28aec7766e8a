"""The work that was begun, and the queue of what cannot be deleted yet."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.withdraw_queue import (
    BACKUP,
    COLLECTOR,
    DUMPS,
    MIRROR,
    RAW,
    SNAPSHOTS,
    Target,
    Waiting,
    Work,
    add_waiting,
    changing,
    keep_work,
    overdue,
    unfinished_work,
    waiting,
    work_done,
)
from ooni_pipeline.errors import BucketError

NOW = dt.datetime(2026, 11, 26, 7)
ITEM = Waiting(
    BACKUP, "2016-08-01", "2026-11-20T00:00:00Z", "reports-raw/yaml/2016-08-01/secret.json", act="a"
)
WORK = Work(
    "20261126T120000Z-00000001",
    (Target("2016-08-01", "r", True, "r.json", "d", "c", "athens", "x/r.json"),),
    {"2016-08-01": ["raw", "load"]},
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "private", tmp_path / "public")


def test_work_is_there_until_it_is_done(layout: Layout) -> None:
    assert unfinished_work(layout) == []
    later = dataclasses.replace(WORK, act="20261127T120000Z-00000001")
    keep_work(layout, later)
    keep_work(layout, WORK)
    assert unfinished_work(layout) == [WORK, later]
    assert overdue(layout, NOW) == [
        "2 withdrawals were begun and not finished: python -m tasks.withdraw --due"
    ]
    work_done(layout, WORK)
    work_done(layout, WORK)
    assert unfinished_work(layout) == [later]


def test_the_queue_holds_each_thing_once_with_its_latest_time(layout: Layout) -> None:
    later = dataclasses.replace(ITEM, due="2026-12-01T00:00:00Z", act="b")
    other = dataclasses.replace(ITEM, what="another", due="2026-11-01T00:00:00Z")
    for items in ([ITEM, other], [later], [ITEM]):
        add_waiting(layout, items)
    assert waiting(layout) == [other, later], "what is due first in front"
    with changing(layout) as queue:
        queue.remove(other)
    assert waiting(layout) == [later]


@pytest.mark.parametrize("kind", [BACKUP, COLLECTOR, RAW, DUMPS, SNAPSHOTS, MIRROR])
def test_what_is_told_has_no_name(kind: str) -> None:
    told = dataclasses.replace(ITEM, kind=kind, where="athens", digest="0" * 64).told
    assert ITEM.due in told
    assert "secret" not in told
    assert "0000000" not in told.replace(ITEM.due, "")


def test_what_is_overdue_is_told_and_what_ends_with_its_time_is_not(layout: Layout) -> None:
    add_waiting(layout, [ITEM, dataclasses.replace(ITEM, what="another")])
    add_waiting(layout, [dataclasses.replace(ITEM, what="soon", due="2026-11-25T00:00:00Z")])
    add_waiting(layout, [dataclasses.replace(ITEM, kind=kind) for kind in (DUMPS, SNAPSHOTS, MIRROR)])
    (told,) = overdue(layout, NOW)
    assert told.startswith("withdrawn, and still there 2 times: an object of the backup")
    assert told.endswith(": python -m tasks.withdraw --due")


@pytest.mark.parametrize(
    "text", ["{", '{"format": 2, "waiting": []}', '{"format": 1, "waiting": [{"kind": "x"}]}']
)
def test_a_damaged_file_is_told_with_what_to_do(layout: Layout, text: str) -> None:
    layout.withdrawing().mkdir(parents=True)
    for name in ("queue.json", "x.work.json"):
        (layout.withdrawing() / name).write_text(text)
    for read in (waiting, unfinished_work):
        with pytest.raises(BucketError, match=r"is damaged.*Copy it back from a snapshot, or move it away"):
            read(layout)


def test_a_kind_that_nobody_knows_is_damage(layout: Layout) -> None:
    layout.withdrawing().mkdir(parents=True)
    text = '{"format": 1, "waiting": [{"kind": "x", "bucket": "2016-08-01", "due": "2026-11-20T00:00:00Z"}]}'
    (layout.withdrawing() / "queue.json").write_text(text)
    with pytest.raises(BucketError, match="is damaged"):
        waiting(layout)
