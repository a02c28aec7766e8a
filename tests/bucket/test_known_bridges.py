"""The memory of bridges: what it notices, what it says of it, and what it never says."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
from pathlib import Path

import pytest

from ooni_pipeline.bucket.known_bridges import FACT, KnownBridges
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BridgeTableError

DATE = dt.date(2016, 8, 1)
TABLE = Path("/etc/bridge_table.json")
NAMES = {"192.0.2.1", "192.0.2.2", "A" * 40}
AGAIN = "the command that accepts it"


@pytest.fixture
def known(layout: Layout) -> KnownBridges:
    return KnownBridges(layout, b"k" * 32)


def check(known: KnownBridges, names: set[str]) -> None:
    known.check(names, TABLE, AGAIN)


def refused(known: KnownBridges, names: set[str]) -> str:
    with pytest.raises(BridgeTableError) as caught:
        check(known, names)
    text = str(caught.value)
    assert AGAIN in text
    assert str(TABLE) in text
    assert "\n" not in text
    assert not any(name in text for name in NAMES)
    return text


def test_a_table_may_grow_and_not_shrink(known: KnownBridges) -> None:
    check(known, NAMES)
    assert not known.path.exists(), "nothing was sanitised with it yet"
    known.remember(NAMES)
    check(known, NAMES)
    check(known, NAMES | {"192.0.2.3"})
    known.remember({"192.0.2.3"})
    assert "lacks 1 of the 4 addresses" in refused(known, NAMES)
    assert "lacks 3 of the 4 addresses" in refused(known, {"192.0.2.2"})


def test_what_was_accepted_is_what_there_is(known: KnownBridges) -> None:
    known.remember(NAMES)
    known.replace({"192.0.2.2"})
    check(known, {"192.0.2.2"})
    assert "lacks 1 of the 1" in refused(known, {"192.0.2.1"})


def test_no_bridge_can_be_read_in_it_or_guessed(known: KnownBridges, layout: Layout) -> None:
    known.remember(NAMES)
    memory = known.path.read_text()
    assert not any(name in memory or name.lower() in memory for name in NAMES)
    other = KnownBridges(Layout(layout.private / "other", layout.public), b"o" * 32)
    other.remember(NAMES)
    digests = [set(json.loads(one.path.read_text())["names"]) for one in (known, other)]
    assert len(digests[0]) == len(digests[1]) == 3
    assert not digests[0] & digests[1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: json.dumps({**json.loads(text), "names": json.loads(text)["names"][1:]}),
        lambda text: json.dumps({**json.loads(text), "names": None}),
        lambda text: json.dumps({**json.loads(text), "seal": 5}),
        None,
    ],
)  # fmt: skip
def test_a_damaged_memory_stops(known: KnownBridges, damage: object) -> None:
    known.remember(NAMES)
    if callable(damage):
        known.path.write_text(damage(known.path.read_text()))
    else:
        known = KnownBridges(known.layout, b"x" * 32)
    assert "is damaged, or was made with another id.key" in refused(known, NAMES)
    with pytest.raises(BridgeTableError):
        known.remember(NAMES)
    known.replace(NAMES)
    check(known, NAMES)


def test_a_memory_that_cannot_be_read_stops(known: KnownBridges) -> None:
    known.path.mkdir(parents=True)
    assert "cannot be read" in refused(known, NAMES)


@pytest.mark.parametrize("aside", [False, True])
def test_a_memory_that_is_gone_stops_where_there_was_one(known: KnownBridges, aside: bool) -> None:
    layout = known.layout
    path = layout.forgotten if aside else layout.manifest
    Manifest("sanitised", DATE, "").write(path(Stage.SANITISED, DATE))
    check(known, NAMES)  # sanitised by a version that remembered nothing
    Manifest("sanitised", DATE, "", facts={FACT: "3"}).write(path(Stage.SANITISED, DATE))
    assert f"{known.path} is gone" in refused(known, NAMES)
    path(Stage.SANITISED, DATE).write_text("damaged")
    assert f"{known.path} is gone" in refused(known, NAMES)


def remember(layout: Layout, number: int, ready: object) -> None:
    ready.wait()  # type: ignore[attr-defined]
    for turn in range(20):
        KnownBridges(layout, b"k" * 32).remember({f"{number}.{turn}"})


def test_two_buckets_at_once(known: KnownBridges) -> None:
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(4)
    processes = [fork.Process(target=remember, args=(known.layout, number, ready)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert "lacks 80 of the 80" in refused(known, set())
