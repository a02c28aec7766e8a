"""What PostgreSQL refuses all the same costs that entry, is named, and is quoted nowhere."""

from __future__ import annotations

import random
import string
import traceback
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.database import copying
from ooni_pipeline.database.markers import counts, forget_loads, is_loaded
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.rows import COLUMNS, TEXT
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import load_fingerprints

from .measurements import (
    BUCKET,
    NEXT_BUCKET,
    TURKISH_PAGE,
    digest,
    entry,
    measurement_id,
    one,
    page,
    query,
    write_report,
)

FINGERPRINTS = load_fingerprints()
PRIVATE = "http://private.test/"
Rejected = list[tuple[Path, int, bytes, str]]


@pytest.fixture
def picky(url: str) -> str:
    """A database that refuses one input."""
    query(url, f"ALTER TABLE metrics ADD CONSTRAINT picky CHECK (input <> '{PRIVATE}')")
    return url


def load(url: str, reports: list[Path]) -> tuple[Rejected, int]:
    """What was rejected, and how many rows the marker counts."""
    rejected: Rejected = []
    done = load_bucket(url, BUCKET, reports, FINGERPRINTS, reject=lambda *one: rejected.append(one))
    assert done is not None and done.refused == len(rejected)
    held = counts(url, BUCKET, BUCKET)[BUCKET]
    assert held.measurements == held.rows == done.measurements and held.refused == done.refused
    assert one(url, "SELECT coalesce(sum(measurements), 0) FROM country_totals") == done.measurements
    return rejected, done.measurements


def test_no_text_is_too_long_for_the_indexes(url: str, tmp_path: Path) -> None:
    """Text that cannot be packed, in every column at once: an index may hold several of them."""
    chance = random.Random(20160801)  # noqa: S311 - the same text every time
    texts = [column for column, kind in COLUMNS.items() if kind is TEXT]
    long: dict[str, Any] = {
        column: "".join(chance.choices(string.ascii_letters, k=8_000)) for column in texts
    }
    assert load(url, [write_report(tmp_path / "r.json", [entry(1, **long)])]) == ([], 1)
    assert all(one(url, f"SELECT extra->>'{column}' FROM metrics") == text for column, text in long.items())


@pytest.mark.parametrize("batch_bytes", [5_000, 16_000_000])
@pytest.mark.parametrize("bad", [[0], [49], [20], [0, 1, 25, 48, 49], range(50), range(0, 50, 2)], ids=str)
def test_the_refused_are_found_wherever_they_are(
    picky: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: list[int], batch_bytes: int
) -> None:
    monkeypatch.setattr(copying, "BATCH_BYTES", batch_bytes)
    entries = [
        entry(n, input=PRIVATE if n in bad else f"\0{n}", probe_cc="TR", test_keys=page(TURKISH_PAGE))
        for n in range(50)
    ]
    reports = [
        write_report(tmp_path / "a.json", entries[:20]),
        write_report(tmp_path / "b.json", entries[20:]),
    ]
    rejected, measurements = load(picky, reports)
    lines = [(report, line) for report in reports for line in report.read_bytes().splitlines()]
    assert [(report, line, why) for report, _, line, why in rejected] == [
        (*lines[n], "SQLSTATE 23514") for n in bad
    ]
    for report, offset, line, _ in rejected:
        assert report.read_bytes()[offset:].startswith(line + b"\n")
    good = [(measurement_id(n),) for n in range(50) if n not in bad]
    assert measurements == len(good)
    assert query(picky, "SELECT id FROM metrics ORDER BY id") == good
    assert query(picky, "SELECT measurement_id FROM fingerprint_matches ORDER BY 1") == good
    assert one(picky, "SELECT notes FROM loads") == {
        **({"nul": len(good)} if good else {}),
        "refused": len(rejected),
    }


def test_what_can_be_no_row(url: str, tmp_path: Path) -> None:
    other_bucket = entry(5, NEXT_BUCKET)
    no_date = {key: value for key, value in entry(6).items() if key != "bucket_date"}
    no_id = {key: value for key, value in entry(7).items() if key != "id"}
    report = write_report(
        tmp_path / "a.json",
        [
            b"{",
            entry(1),
            b"",
            b"[]",
            b"null",
            b"\xff",
            b"1" * 5_000,
            other_bucket,
            no_date,
            no_id,
            {**entry(8), "id": "private\ud800", "probe_cc": "TR", "test_keys": page(TURKISH_PAGE)},
            entry(2),
            entry(1, input="again"),
        ],
    )
    with report.open("ab") as lines:
        lines.write(b'{"cut off')
    rejected, measurements = load(url, [report])
    assert measurements == 2
    assert [why for _, _, _, why in rejected] == [
        "not JSON",
        "not JSON",
        "not a mapping",
        "not a mapping",
        "not JSON",
        "not JSON",
        "of another bucket",
        "of another bucket",
        "SQLSTATE 23502",
        "SQLSTATE 22P02",
        "SQLSTATE 23505",
        "not JSON",
    ]
    assert rejected[-1][2] == b'{"cut off'
    assert query(url, "SELECT id, input FROM metrics ORDER BY id") == [
        (measurement_id(1), "http://example.test/1"),
        (measurement_id(2), "http://example.test/2"),
    ]


def test_many_lines_that_are_none(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BATCH_BYTES", 20_000)
    report = write_report(tmp_path / "a.json", [*[b"{"] * 1_000, entry(1), *[b"{"] * 1_000])
    rejected, measurements = load(url, [report])
    assert (len(rejected), measurements) == (2_000, 1)


def test_again_refuses_the_same(picky: str, tmp_path: Path) -> None:
    entries = [entry(n, input=PRIVATE if n == 3 else str(n)) for n in range(9)]
    report = write_report(tmp_path / "a.json", entries)
    first = load(picky, [report])
    before = digest(picky)
    forget_loads(picky, BUCKET, BUCKET)
    assert load(picky, [report]) == first and digest(picky) == before


def test_without_reject_a_refused_entry_stops_the_load_and_is_named_not_quoted(
    picky: str, tmp_path: Path
) -> None:
    load(picky, [write_report(tmp_path / "old.json", [entry(1)])])
    forget_loads(picky, BUCKET, BUCKET)
    before = digest(picky)
    first = entry(1)
    report = write_report(tmp_path / "a.json", [first, entry(2, input=PRIVATE)])
    with pytest.raises(DatabaseError) as caught:
        load_bucket(picky, BUCKET, [report], FINGERPRINTS)
    text = "".join(traceback.format_exception(caught.value))
    offset = report.read_bytes().index(b"\n") + 1
    assert str(caught.value) == f"the entry at offset {offset} of a.json cannot be loaded: SQLSTATE 23514"
    assert "private" not in text and measurement_id(2) not in text
    assert digest(picky) == before and not is_loaded(picky, BUCKET)


def test_what_is_not_a_rows_fault_stops_the_load_and_quotes_nothing(url: str, tmp_path: Path) -> None:
    query(
        url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE disk_full USING MESSAGE = 'no space', DETAIL = NEW.input; END $$",
    )
    query(url, "CREATE TRIGGER fail BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION fail()")
    report = write_report(tmp_path / "a.json", [entry(1, input=PRIVATE)])
    rejected: Rejected = []
    with pytest.raises(DatabaseError) as caught:
        load_bucket(url, BUCKET, [report], FINGERPRINTS, reject=lambda *one: rejected.append(one))
    assert str(caught.value) == "the database answers 53100: no space"
    assert "private" not in "".join(traceback.format_exception(caught.value))
    assert rejected == [] and not is_loaded(url, BUCKET)


def test_what_reject_raises_stops_the_load(picky: str, tmp_path: Path) -> None:
    def reject(report: Path, offset: int, line: bytes, why: str) -> None:
        raise OSError("no space left")

    report = write_report(tmp_path / "a.json", [entry(1, input=PRIVATE)])
    with pytest.raises(OSError, match="no space left"):
        load_bucket(picky, BUCKET, [report], FINGERPRINTS, reject=reject)
    assert not is_loaded(picky, BUCKET)
