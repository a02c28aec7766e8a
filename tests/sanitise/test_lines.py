"""The passes over a report: what any line reveals goes from all; the short way says what the long says."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.sanitise import Sanitiser
from ooni_pipeline.sanitise import lines as passes
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable, load_bridge_table
from ooni_pipeline.sanitise.probe_ip import count_in_lines, withhold_in_lines
from ooni_pipeline.sanitise.reports import sanitise_report
from ooni_pipeline.sanitise.settings import Settings

OWN, OTHER = "203.0.113.7", "198.51.100.20"
SANITISER = Sanitiser(BridgeTable.of([Bridge("192.0.2.1", 443, "01" * 20, None, None)]))


def report(folder: Path, *entries: dict[str, Any]) -> tuple[Outcome, list[bytes]]:
    table = folder / "bridge_table.json"
    table.write_text(json.dumps({"192.0.2.1:443": {"fingerprint": "01" * 20}}))
    source = folder / "in.json"
    source.write_bytes(b"".join(dump_entry(entry) + b"\n" for entry in entries))
    job = Job("r", "2016-08-02", source, folder / "out.json", folder / "rejected", folder / "held")
    outcome = sanitise_report(job, table=table, digest=load_bridge_table(table).digest)
    assert outcome.counts.missing() == 0
    return outcome, job.destination.read_bytes().splitlines() if job.destination.exists() else []


@pytest.mark.parametrize("chunk", [10, 1024 * 1024])
@pytest.mark.parametrize("revealed_in", [1, 2, 3, 7])
def test_what_the_last_line_reveals_goes_from_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, revealed_in: int
) -> None:
    """One address after another, so that several passes end; and more than have a pass of their own."""
    monkeypatch.setattr(passes, "_CHUNK", chunk)
    own = [f"203.0.113.{number}" for number in range(1, revealed_in + 1)]
    seen = [{"id": n, "test_keys": {"seen": f"{one} {OTHER}"}} for n, one in enumerate(own)]
    said = [{"id": -n, "test_keys": {"receiver_data": {"real_address": one}}} for n, one in enumerate(own)]
    outcome, written = report(tmp_path, *seen, *said)
    entries = [loads(line) for line in written]
    assert [one["test_keys"] for one in entries[:revealed_in]] == [
        {"seen": f"[scrubbed] {OTHER}"}
    ] * revealed_in
    assert all(
        one["test_keys"]["receiver_data"]["real_address"] == "[scrubbed]" for one in entries[revealed_in:]
    )
    assert outcome.counts.notes == {"own_address": revealed_in, "client_address": revealed_in}


def test_a_line_that_cannot_be_read_holds_the_report(tmp_path: Path) -> None:
    """Nobody knows what it would have revealed."""
    table = tmp_path / "bridge_table.json"
    table.write_text(json.dumps({"192.0.2.1:443": {"fingerprint": "01" * 20}}))
    source = tmp_path / "in.json"
    source.write_bytes(b'{"id":"x"}\n{"probe_ip":"203.0.113.7",,}\n')
    job = Job("r", "2016-08-02", source, tmp_path / "out.json", tmp_path / "rejected", tmp_path / "held")
    outcome = sanitise_report(job, table=table, digest=load_bridge_table(table).digest)
    assert (outcome.counts.held, outcome.counts.missing()) == (2, 0)
    assert not job.destination.exists()


TEXT = st.text(max_size=6) | st.sampled_from(
    [OWN, f"x{OWN}:80", OTHER, f'"probe_ip":"{OWN}"', f'\\"probe_ip":"{OWN}"', "203.0.113.70", "\\", "}\n"]
)
KEYS = st.dictionaries(TEXT | st.sampled_from(["probe_ip", "report"]), TEXT | st.none(), max_size=3)
ENTRIES = st.fixed_dictionaries(
    {"id": TEXT},
    optional={
        "probe_ip": TEXT | st.just(OWN) | st.none(),
        "probe_city": st.none() | st.just("x"),
        "test_keys": KEYS | st.lists(KEYS, max_size=2) | TEXT,
        "z": KEYS,
    },
)


@settings(max_examples=400, deadline=None)
@example([{"id": "x", "probe_ip": OWN, "test_keys": {"probe_ip": OWN, "seen": OWN}}])
@given(st.lists(ENTRIES, min_size=1, max_size=4))
def test_the_short_way_for_probe_ip_gives_what_the_long_way_gives(entries: list[dict[str, Any]]) -> None:
    lines = [dump_entry(entry) for entry in entries]
    chunk = withhold_in_lines(b"".join(line + b"\n" for line in lines), [OWN])
    counts, expected = Counter[str](), Counter[str]()
    sanitiser, short = SANITISER.of_report([OWN]), chunk.splitlines()
    wanted = {chunk[start:end] for start, end in sanitiser.wanted(chunk)}
    for number, line in enumerate(lines):
        clean = sanitiser.sanitise_line(line, expected)
        if short[number] in wanted:
            short[number] = sanitiser.sanitise_line(short[number], counts) or b""
        else:
            counts["probe_ip_withheld"] += count_in_lines(short[number] + b"\n")
        assert short[number] == clean
    assert +counts == +expected


def _without(name: str) -> Settings:
    off: dict[str, Any] = {name: False}
    return replace(Settings(), **off)


def test_every_setting_has_a_say_in_the_digest() -> None:
    others = [
        _without(name)
        for name in (
            "probe_city", "probe_id", "uuids", "near_resolvers", "input_urls", "options", "process_logs"
        )
    ]  # fmt: skip
    others += [
        Settings(annotations=frozenset({"platform"})), Settings(headers=("X",)), Settings(headers=("X", "Y")),
        Settings(max_addresses_beside_hit=5), Settings(),
    ]  # fmt: skip
    assert len({one.digest for one in others}) == len(others)
    assert Settings().digest == Settings().digest


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("probe_city", {"probe_city": "Reykjavík"}),
        ("probe_id", {"probe_id": "device"}),
        ("uuids", {"test_name": "ndt", "test_keys": {"uuid": "8d5f3c4e-1111-2222-3333-444455556666"}}),
        ("near_resolvers", {"test_keys": {"resolver_ip": "203.0.113.53"}}),
        ("input_urls", {"input": "http://a:b@a.test/#x"}),
        ("options", {"options": ["-f", "/home/me/list.txt", "-b", "obfs4 198.51.100.7:443"]}),
        ("process_logs", {"test_keys": {"stderr": "open /home/me/list.txt"}}),
    ],
)
def test_an_option_that_is_off_leaves_it_as_it_is(name: str, keys: dict[str, Any]) -> None:
    line = dump_entry({"id": "x", **keys})
    chosen = Sanitiser(SANITISER.table, _without(name)).of_report([OWN])
    assert chosen.sanitise_line(line, Counter()) == line
    assert SANITISER.of_report([OWN]).sanitise_line(line, Counter()) != line
    assert list(SANITISER.of_report([OWN]).wanted(line + b"\n")) == [(0, len(line))]


PUBLIC = "198.51.100.30"


@pytest.mark.parametrize("name", ["tcp_connect", "bridge_reachability", "vanilla_tor", "torsf", "tor", "ndt"])
def test_a_public_bridge_stays_in_every_nettest(name: str) -> None:
    public = Bridge(PUBLIC, 443, "AB" * 20, "browser", "obfs4", public=True)
    sanitiser = Sanitiser(BridgeTable.of([*SANITISER.table.bridges.values(), public]))
    said = f"obfs4 {PUBLIC}:443 {public.fingerprint}"
    entry = {
        "id": "x", "test_name": name, "input": said, "options": ["--bridge", said],
        "test_keys": {"tor_log": f"[notice] bridge at {PUBLIC}:443", "failure": f"{PUBLIC}:443 refused"},
    }  # fmt: skip
    line = sanitiser.of_report().sanitise_line(dump_entry(entry), Counter())
    assert line is not None
    result = loads(line)
    assert "sanitised" not in result
    assert {key: result[key] for key in ("input", "options")} == {
        "input": said,
        "options": ["--bridge", said],
    }
    assert {key: result["test_keys"][key] for key in ("tor_log", "failure")} == entry["test_keys"]
