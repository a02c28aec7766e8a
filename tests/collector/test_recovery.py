"""What a reception makes of what it finds in staging."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Literal

import pytest

from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.staging import DONE, ENTRIES, SIDE, Staging
from tests.collector.reports import HOUR, KINDS, Clock, archived, entry, header, names, opened, run

Kind = Literal["json", "yaml"]
#: The shape of an id that nobody has made.
UNKNOWN = f"20160801T120000Z_AS0_{'x' * 50}"


@pytest.fixture
def layout(tmp_path: Path) -> CollectorLayout:
    return CollectorLayout(tmp_path / "bouncer")


def left(layout: CollectorLayout, kind: Kind, count: int) -> str:
    """A report that a process left open, with so many entries."""

    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header(kind))
        for number in range(count):
            await reception.append(report_id, entry(kind, number))
        await reception.shut()
        return report_id

    return run(work())


def journal(layout: CollectorLayout, report_id: str) -> Path:
    return layout.staging / f"{report_id}{ENTRIES}"


def goes_on(layout: CollectorLayout, report_id: str, kind: Kind, number: int) -> int:
    """The next process takes one more entry and closes the report. Returns how many it put in quarantine."""

    async def work() -> int:
        reception = await opened(layout)
        assert reception.format_of(report_id) == kind
        await reception.append(report_id, entry(kind, number))
        assert await reception.close(report_id)
        await reception.shut()
        return reception.counts.quarantined

    return run(work())


def quarantined(layout: CollectorLayout) -> int:
    """The next process finds no open report. Returns how many it put in quarantine."""

    async def work() -> int:
        reception = await opened(layout)
        assert reception.open_reports == reception.counts.recovered == 0
        await reception.shut()
        return reception.counts.quarantined

    return run(work())


TORN = (b'{"number": 7, "half": "', b"\0" * 9000, b"\xff\xfe{", b'"', b"{}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", TORN)
def test_a_torn_end_is_cut_off(layout: CollectorLayout, kind: Kind, tail: bytes) -> None:
    report_id = left(layout, kind, 2)
    with journal(layout, report_id).open("ab") as file:
        file.write(tail)
    assert goes_on(layout, report_id, kind, 2) == 0
    assert archived(layout) == {report_id: [0, 1, 2]}
    assert names(layout.quarantine) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rubbish",
    [b"\0" * 5000 + b"\n", b"\n", b'{"number": 7, "half": \0\0\0}\n', b"\xff\xfe\n\x81\n",
     b'{"number": 7,}\n', b'"half\n', b"\0\0\n{" + b"\0" * 100],
)  # fmt: skip
def test_lines_that_are_no_entry_are_set_aside(
    layout: CollectorLayout, kind: Kind, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """After a power cut any block of a batch that was not flushed may be zeros, and the next one whole."""
    report_id = left(layout, kind, 2)
    path = journal(layout, report_id)
    last = path.read_bytes().splitlines(keepends=True)[-1]
    with path.open("ab") as file:
        file.write(rubbish + (last if rubbish.endswith(b"\n") else b""))
    os.utime(path, (1e9, 1e9))
    assert goes_on(layout, report_id, kind, 2) == 1
    whole = rubbish[: rubbish.rindex(b"\n") + 1]
    assert archived(layout) == {report_id: [0, 1, 1, 2] if rubbish == whole else [0, 1, 2]}
    (kept,) = layout.quarantine.iterdir()
    assert kept.read_bytes() == whole
    assert report_id in caplog.text
    assert "half" not in caplog.text


def test_damage_in_the_middle_costs_the_lines_that_it_hit(layout: CollectorLayout) -> None:
    report_id = left(layout, "json", 200)
    path = journal(layout, report_id)
    content = bytearray(path.read_bytes())
    lines = bytes(content).splitlines(keepends=True)
    begin = sum(map(len, lines[:3])) + 5
    content[begin : begin + len(lines[3])] = b"\0" * len(lines[3])
    path.write_bytes(content)
    assert goes_on(layout, report_id, "json", 200) == 1
    assert archived(layout) == {report_id: [0, 1, 2, *range(5, 201)]}
    assert len(names(layout.quarantine)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [None, b"", b"{}", b"\0" * 300, b"[" * 100_000, b'{"form": 1}', b"other"])
def test_entries_without_a_sound_side_file_go_into_quarantine(
    layout: CollectorLayout, kind: Kind, side: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    report_id = left(layout, kind, 2)
    place = layout.staging / f"{report_id}{SIDE}"
    content = journal(layout, report_id).read_bytes()
    if side is None:
        place.unlink()
    elif side == b"other":
        place.write_bytes(place.read_bytes().replace(report_id.encode(), UNKNOWN.encode()))
    else:
        place.write_bytes(side)
    assert quarantined(layout) == 1
    assert (layout.quarantine / f"{report_id}{ENTRIES}").read_bytes() == content
    assert names(layout.staging) == names(layout.archive) == []
    assert report_id in caplog.text


@pytest.mark.parametrize("field", ["format", "probe_cc", "input_hashes", "content", "form"])
def test_a_side_file_with_a_field_of_another_kind_is_damaged(layout: CollectorLayout, field: str) -> None:
    report_id = left(layout, "yaml", 1)
    place = layout.staging / f"{report_id}{SIDE}"
    place.write_text(json.dumps(json.loads(place.read_bytes()) | {field: 7}))
    assert quarantined(layout) == 1
    assert len(names(layout.quarantine)) == 2


def test_what_is_not_ours_is_kept_and_not_named(
    layout: CollectorLayout, caplog: pytest.LogCaptureFixture
) -> None:
    report_id = left(layout, "json", 1)
    (layout.staging / "secret-name").write_text("theirs")
    (layout.staging / b"\xff\n".decode("utf-8", "surrogateescape")).write_text("theirs")
    (layout.staging / "a-directory").mkdir()
    (layout.staging / f"{report_id}.json.part").mkdir()
    (layout.staging / "link").symlink_to("/etc/passwd")
    (layout.staging / f"{report_id}{ENTRIES}.bak").write_text("theirs")
    (layout.staging / report_id).write_text("theirs")
    (layout.quarantine / "secret-name").write_text("older")
    assert goes_on(layout, report_id, "json", 1) == 7
    assert (layout.quarantine / "secret-name").read_text() == "older"
    assert (layout.quarantine / "secret-name.1").read_text() == "theirs"
    assert len(names(layout.quarantine)) == 8
    assert "secret" not in caplog.text
    assert names(layout.staging) == []


def test_a_journal_that_is_no_file_goes_into_quarantine(layout: CollectorLayout) -> None:
    paths = [journal(layout, left(layout, "json", 1)) for _ in range(3)]
    for path in paths:
        path.unlink()
    paths[0].mkdir()
    os.mkfifo(paths[1])
    paths[2].symlink_to("/etc/passwd")
    assert quarantined(layout) == 3
    assert len(names(layout.quarantine)) == 6
    assert Path("/etc/passwd").exists()


def test_half_files_of_ours_are_removed(layout: CollectorLayout) -> None:
    report_id = left(layout, "yaml", 1)
    for suffix in (f"{SIDE}.part", f"{ENTRIES}.part", f"{DONE}.part", ".part"):
        (layout.staging / f"{report_id}{suffix}").write_text("half")
    journal(layout, UNKNOWN).touch()  # made, and nobody was told
    assert goes_on(layout, report_id, "yaml", 1) == 0
    assert names(layout.staging) == names(layout.quarantine) == []


def test_a_side_file_alone_is_that_of_a_finished_report(layout: CollectorLayout) -> None:
    report_id = left(layout, "json", 1)
    journal(layout, report_id).unlink()
    assert quarantined(layout) == 0
    assert names(layout.staging) == names(layout.quarantine) == []


def test_a_finished_yaml_report_is_moved_once_and_no_json_report_has_one(layout: CollectorLayout) -> None:
    yaml, json_ = left(layout, "yaml", 2), left(layout, "json", 2)
    for report_id in (yaml, json_):
        (layout.staging / f"{report_id}{DONE}").write_text("---\na: 1\n...\n")

    async def work() -> tuple[int, int]:
        reception = await opened(layout)
        await reception.shut()
        return reception.counts.archived, reception.counts.quarantined

    assert run(work()) == (1, 1)
    (path,) = layout.archive.iterdir()
    assert (yaml in path.name, path.read_text()) == (True, "---\na: 1\n...\n")
    assert names(layout.quarantine) == sorted(f"{json_}{suffix}" for suffix in (SIDE, DONE, ENTRIES))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_64_entries_are_forgiven_once_after_a_restart(layout: CollectorLayout, kind: Kind) -> None:
    report_id = left(layout, kind, 66)

    async def work() -> None:
        reception = await opened(layout)
        for number in (1, 2, 65, 65, 100):
            await reception.append(report_id, entry(kind, number))
        assert (reception.counts.repeated, reception.counts.entries) == (2, 3)
        await reception.close(report_id)
        await reception.shut()

    run(work())
    assert archived(layout) == {report_id: [*range(66), 1, 65, 100]}


@pytest.mark.parametrize(
    "odd", [b"[" * 100_000 + b"]" * 100_000, b"9" * 5000, b"1e999", b"NaN", b'"\t\\ud800"']
)
def test_no_entry_that_was_taken_is_judged_anew(layout: CollectorLayout, odd: bytes) -> None:
    report_id = left(layout, "json", 1)
    one = b'{"odd": ' + odd + b"}"

    async def send() -> int:
        reception = await opened(layout)
        await reception.append(report_id, one)
        await reception.shut()
        return reception.counts.quarantined + reception.counts.repeated

    assert run(send()) == 0
    assert run(send()) == 1  # it is there, and repeated
    assert journal(layout, report_id).read_bytes() == entry("json", 0) + b"\n" + one + b"\n"
    assert names(layout.quarantine) == []


def test_how_long_a_report_is_silent_outlives_the_process(layout: CollectorLayout) -> None:
    clock, steady = Clock(), Clock(0)
    old, fresh, later = [left(layout, "json", 1) for _ in range(3)]
    for report_id, silent in ((old, 5 * HOUR), (fresh, HOUR / 2), (later, -5 * HOUR)):
        os.utime(journal(layout, report_id), (clock.now - silent, clock.now - silent))

    async def work() -> None:
        reception = await opened(layout, clock=clock, steady=steady)
        assert reception.counts.recovered == 3
        assert await reception.archive_stale() == 0  # its client may come back: it could not until now
        steady.now += 600
        assert await reception.archive_stale() == 1
        steady.now += HOUR / 2 - 600
        assert await reception.archive_stale() == 1
        steady.now += HOUR / 2
        assert await reception.archive_stale() == 1
        await reception.shut()

    run(work())
    assert set(archived(layout)) == {old, fresh, later}


def test_a_torn_end_does_not_make_a_report_younger(layout: CollectorLayout) -> None:
    clock, steady = Clock(), Clock(0)
    ids = [left(layout, "json", 2) for _ in range(2)]
    for report_id, tail in zip(ids, (b"torn", b"\0\n"), strict=True):
        with journal(layout, report_id).open("ab") as file:
            file.write(tail)
        os.utime(journal(layout, report_id), (clock.now - 2 * HOUR, clock.now - 2 * HOUR))

    async def work() -> None:
        await (await opened(layout, clock=clock, steady=steady)).shut()
        reception = await opened(layout, clock=clock, steady=steady)
        steady.now += 600
        assert await reception.archive_stale() == 2
        await reception.shut()

    run(work())


def test_what_is_found_is_flushed_before_anybody_is_told_of_it(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(layout, "json", 1)
    flushed: list[Path] = []
    monkeypatch.setattr("ooni_pipeline.collector.recovery.flush_file_system", flushed.append)

    async def work() -> None:
        await (await opened(layout)).shut()

    run(work())
    assert flushed == [layout.staging]


def test_a_finished_report_is_flushed_before_its_side_file_goes(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_id = left(layout, "json", 1)
    journal(layout, report_id).unlink()
    flushed: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(
        "ooni_pipeline.collector.recovery.flush",
        lambda place: flushed.append((place, names(layout.staging))),
    )
    assert quarantined(layout) == 0
    assert flushed == [(layout.archive, [f"{report_id}{SIDE}"])]


def test_an_empty_directory_is_no_error(layout: CollectorLayout, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert quarantined(layout) == 0
    assert caplog.text == ""


@pytest.mark.parametrize(("kind", "moved"), [("json", 1), ("yaml", 1), ("yaml", 2)])
def test_a_way_into_quarantine_that_was_cut_short_loses_nothing(
    layout: CollectorLayout, kind: Kind, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_id = left(layout, kind, 2)
    if kind == "yaml":
        (layout.staging / f"{report_id}{DONE}").write_bytes(b"the whole report")
    before = {path.name: path.read_bytes() for path in layout.staging.iterdir()}
    set_aside = Staging.set_aside
    moves: list[Path] = []

    def until_it_dies(staging: Staging, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(path)
        if len(moves) == moved:
            raise KeyboardInterrupt
        moves.append(path)
        set_aside(staging, path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Staging, "set_aside", until_it_dies)
        Staging(layout, Clock()).quarantine(report_id)
    assert quarantined(layout) == 1
    assert {path.name: path.read_bytes() for path in layout.quarantine.iterdir()} == before
    assert names(layout.staging) == names(layout.archive) == []
