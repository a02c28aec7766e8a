"""The records of withdrawals and their tombstones."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.withdrawn import (
    Marks,
    Withdrawal,
    record_withdrawal,
    tombstones,
    withdrawals,
    withdrawn_counts,
)
from ooni_pipeline.errors import BucketError

KEY, OTHER = b"k" * 32, b"o" * 32
DATE, LATER = dt.date(2016, 8, 1), dt.date(2016, 8, 2)
CONTENT, FORMER, PIECE = "c" * 64, "f" * 64, "b" * 64
ID = "0a1b2c3d-0000-4000-8000-00000000000f"


def an_act(name: str = "20261126T120000Z-00000001", **changed: object) -> Withdrawal:
    marks = Marks(KEY)
    values: dict[str, object] = {
        "name": name,
        "when": "2026-11-26T12:00:00Z",
        "by": "ada",
        "why": "a volunteer asked",
        "counts": {DATE: (1, 3), LATER: (0, 2)},
        "reports": frozenset([marks.report(CONTENT)]),
        "former": frozenset([marks.report(FORMER)]),
        "entries": frozenset([marks.entry(ID), marks.piece(PIECE)]),
        **changed,
    }
    return Withdrawal(**values)  # type: ignore[arg-type]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "private", tmp_path / "public")


def test_what_is_recorded_is_read_and_counted(layout: Layout) -> None:
    assert withdrawn_counts(layout, DATE) == (0, 0)
    assert not tombstones(layout, KEY)
    acts = [an_act(), an_act("20261127T120000Z-00000002", counts={DATE: (2, 0)})]
    for act in reversed(acts):
        record_withdrawal(layout, act, KEY)
    assert withdrawals(layout, KEY) == acts
    assert (withdrawn_counts(layout, DATE), withdrawn_counts(layout, LATER)) == ((3, 3), (0, 2))
    assert withdrawn_counts(layout, dt.date(2016, 8, 3)) == (0, 0)


def test_tombstones_know_each_kind_by_itself(layout: Layout) -> None:
    record_withdrawal(layout, an_act(), KEY)
    travelled = pickle.loads(pickle.dumps(tombstones(layout, KEY)))  # noqa: S301  # our own
    for stones in (tombstones(layout, KEY), travelled):
        assert stones
        assert [stones.report(one) for one in (CONTENT, FORMER, PIECE)] == [True, False, False]
        assert [stones.former(one) for one in (CONTENT, FORMER, PIECE)] == [False, True, False]
        assert [stones.piece(one) for one in (CONTENT, FORMER, PIECE)] == [False, False, True]
        assert stones.entry(ID)
        assert stones.entry(ID.upper()), "as an operator may type it"
        assert not stones.entry(ID.replace("f", "e"))


def test_a_record_says_nothing_of_what_was_withdrawn(layout: Layout) -> None:
    text = record_withdrawal(layout, an_act(), KEY).read_text()
    for secret in (CONTENT, FORMER, PIECE, ID, ID[:8]):
        assert secret not in text
    assert Marks(KEY).report(CONTENT) != Marks(OTHER).report(CONTENT), "it is keyed"
    marks = Marks(KEY)
    assert len({marks.report(CONTENT), marks.piece(CONTENT), marks.entry(CONTENT), marks.seal(CONTENT)}) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["entries"].pop(),
        lambda record: record["counts"].clear(),
        lambda record: record.update(by="eve"),
        lambda record: record.update(seal=""),
        lambda record: record.pop("reports"),
        lambda record: record.update(format=2),
        lambda record: record["reports"].append(7),
    ],
)
def test_a_damaged_record_stops_everything(layout: Layout, change: object) -> None:
    """Else what it kept away would come back unnoticed."""
    path = record_withdrawal(layout, an_act(), KEY)
    record = json.loads(path.read_text())
    change(record)  # type: ignore[operator]
    path.write_text(json.dumps(record))
    with pytest.raises(BucketError, match=f"{path}.*damaged.*copy it back from the backup"):
        tombstones(layout, KEY)


def test_another_key_is_noticed(layout: Layout) -> None:
    record_withdrawal(layout, an_act(), KEY)
    with pytest.raises(BucketError, match=r"another id\.key"):
        tombstones(layout, OTHER)


def test_half_a_file_of_a_run_that_died_is_none(layout: Layout) -> None:
    record_withdrawal(layout, an_act(), KEY)
    (layout.withdrawn() / ".0123456789abcdef.part").write_text("{")
    assert len(withdrawals(layout, KEY)) == 1
