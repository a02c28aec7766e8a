from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.tally import Tally

NUMBERS = st.integers(min_value=0, max_value=1_000_003)
COUNTERS = st.dictionaries(st.sampled_from([reason.value for reason in RejectReason]), NUMBERS.filter(bool))
TALLIES = st.builds(
    Tally, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, COUNTERS.map(Counter), COUNTERS.map(Counter)
)


def test_what_is_rejected_was_taken() -> None:
    tally = Tally()
    tally.reject(RejectReason.NOT_JSON)
    tally.reject(RejectReason.TOO_DEEP, 3)
    assert tally.as_dict() == {"taken": 4, "out": 0, "rejected": {"not_json": 1, "too_deep": 3}}
    assert tally.missing() == 0


def test_every_fate_is_in_the_sum_and_notes_are_not() -> None:
    tally = Tally(
        taken=21,
        out=1,
        duplicate=2,
        held=3,
        excluded=4,
        withdrawn=5,
        rejected=Counter(a=6),
        notes=Counter(b=7),
    )
    assert tally.missing() == 0
    tally.out += 1
    assert tally.missing() == -1


def test_what_did_not_happen_is_not_shown() -> None:
    assert Tally().as_dict() == {"taken": 0, "out": 0}
    assert list(Tally(notes=Counter(b=1, a=2)).as_dict()["notes"]) == ["a", "b"]


@given(TALLIES)
def test_what_is_shown_is_read(tally: Tally) -> None:
    assert Tally.from_dict(json.loads(json.dumps(tally.as_dict()))) == tally


@given(TALLIES, TALLIES)
def test_a_sum_accounts_for_what_its_parts_do(one: Tally, other: Tally) -> None:
    missing = one.missing() + other.missing()
    total = Tally()
    total.add(one)
    total.add(other)
    assert total.missing() == missing
    assert total.taken == one.taken + other.taken
    assert total.rejected == one.rejected + other.rejected
    assert total.notes == one.notes + other.notes
