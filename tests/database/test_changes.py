"""Two makings of the same reports, compared as rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.database import changes
from ooni_pipeline.database.changes import OTHER, Changes, altered_columns, row_changes
from ooni_pipeline.fingerprints import load_fingerprints
from ooni_pipeline.report.json_lines import dump_entry
from tests.database.measurements import TURKISH_PAGE, entry, page


def report(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(dump_entry(one) + b"\n" for one in entries))
    return path


@pytest.mark.parametrize("at_once", [500_000, 5])
def test_rows_are_found_by_their_id_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(changes, "_AT_ONCE", at_once)
    # Ids that begin with many a byte: shares go by the first.
    entries = [entry(number << 120 | number) for number in range(30)]
    altered = [{**one, "input": "another", "probe_cc": "GR"} for one in entries[10:14]]
    order = [dict(reversed(one.items())) for one in entries[14:16]]
    old = [report(tmp_path / "a", entries[:15]), report(tmp_path / "b", entries[15:])]
    new = [
        report(tmp_path / "c", [*entries[16:], *order]),
        report(tmp_path / "d", [*altered, *entries[3:10], entry(77), entry(78 << 120)]),
    ]
    found = row_changes(old, new)
    assert found == Changes(added=2, gone=3, altered=4, form=2, columns=Counter({"input": 4, "probe_cc": 4}))
    assert found
    assert not row_changes(new, new)
    back = row_changes(new, old)
    assert (back.added, back.gone, back.altered, back.form) == (3, 2, 4, 2)
    assert not row_changes([], [])


@pytest.mark.parametrize(
    ("before", "after", "columns"),
    [
        ({"input": "x"}, {"input": None}, {"input"}),
        ({"input": None}, {}, set()),
        ({"test_keys": {"a": 1, "b": [1]}}, {"test_keys": {"a": 1, "b": [2], "c": None}}, {"b", "c"}),
        ({"test_keys": {"a": 1}}, {"test_keys": None}, {"test_keys"}),
        ({"test_keys": {"a": True}}, {"test_keys": {"a": 1}}, {"a"}),
        ({"test_keys": {"a": {"x": 1, "y": 2}}}, {"test_keys": {"a": {"y": 2, "x": 1}}}, set()),
        ({"test_keys": {"a": [1, [2]]}}, {"test_keys": {"a": [1, [2, 3]]}}, {"a"}),
        ({"test_keys": {"a": {"x": 1}}}, {"test_keys": {"a": {"y": 1}}}, {"a"}),
        ({"annotations": {}}, {"annotations": {"a": 1}}, {"extra.annotations"}),
        ({"sanitised": None}, {"sanitised": {"probe_ip": 1}}, {"extra.sanitised"}),
        ({"extra": 1}, {"extra": 2}, {"extra.extra"}),
    ],
)
def test_what_makes_another_row(before: dict[str, Any], after: dict[str, Any], columns: set[str]) -> None:
    prefixed = {one if one in ("input", "test_keys") or "." in one else f"test_keys.{one}" for one in columns}
    assert set(altered_columns(before, after)) == prefixed


def test_values_as_deep_as_entries_may_be_are_compared() -> None:
    def nested(inner: int) -> Any:
        value: Any = {"x": inner, "y": 1}
        for _ in range(990):
            value = [value]
        return value

    one = {"test_keys": {"a": nested(1)}}
    assert not set(altered_columns(one, {"test_keys": {"a": nested(1)}}))
    assert set(altered_columns(one, {"test_keys": {"a": nested(2)}})) == {"test_keys.a"}


@pytest.mark.parametrize("key", ["192.0.2.1:443", "ab" * 20, "\x1b[2J", "a" * 41, "a123", "", "\u0430"])
def test_no_key_that_a_stranger_may_have_chosen_is_shown(key: str) -> None:
    assert set(altered_columns({"test_keys": {}}, {"test_keys": {key: 1}})) == {f"test_keys.{OTHER}"}
    assert set(altered_columns({}, {key: 1})) == {f"extra.{OTHER}"}


def test_a_stranger_cannot_fill_the_page_with_keys(tmp_path: Path) -> None:
    keys = [chr(97 + number % 26) * (1 + number // 26) for number in range(900)]
    old = report(tmp_path / "a", [entry(number) for number in range(900)])
    new = report(tmp_path / "b", [entry(number) | {key: 1} for number, key in enumerate(keys)])
    found = row_changes([old], [new])
    assert len(found.columns) == 201
    assert sum(found.columns.values()) == found.altered == 900


def test_matches_that_are_gained_and_lost(tmp_path: Path) -> None:
    blocked: dict[str, Any] = {"probe_cc": "TR", "test_keys": page(TURKISH_PAGE)}
    free: dict[str, Any] = {"probe_cc": "TR", "test_keys": page("hello")}
    old = report(
        tmp_path / "a", [entry(1, **blocked), entry(2, **free), entry(3, **blocked), entry(5, **blocked)]
    )
    new = report(
        tmp_path / "b", [entry(1, **free), entry(2, **blocked), entry(4, **blocked), entry(5, **blocked)]
    )
    found = row_changes([old], [new], load_fingerprints().match)
    assert (sum(found.gained.values()), sum(found.lost.values())) == (2, 2)
    ((kind, name),) = found.gained
    assert kind == "blockpage"
    assert "TR" in name.upper()


def test_lines_that_are_no_entries_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    old, new = tmp_path / "a", tmp_path / "b"
    spaced = json.dumps(entry(7)).encode()
    old.write_bytes(b"[1]\nno json\n" + spaced + b'\n{"id": "zz"}\n')
    new.write_bytes(b"[1]\nno jsom\n" + dump_entry(entry(7)) + b'\n{"id": "zz"}\n')
    found = row_changes([old], [new])
    assert (found.added, found.gone, found.altered, found.form) == (1, 1, 0, 1)
