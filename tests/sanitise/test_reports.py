"""One normalised report through the stage: lines, chunks, what is held, and the counts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.errors import BridgeTableError
from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.sanitise import ReportSanitiser
from ooni_pipeline.sanitise import lines as passes
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.lines import whole_lines
from ooni_pipeline.sanitise.reports import sanitise_report

FINGERPRINT = "1234567890123456789012345678901234567890"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table" / "bridge_table.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"192.0.2.1:443": {"fingerprint": FINGERPRINT}}))
    return path


def entry(number: int, body: str = "") -> bytes:
    return dump_entry(
        {"id": number, "probe_ip": "127.0.0.1", "test_name": "ndt", "test_keys": {"failure": body}}
    )


CLEAN, KNOWN, HELD = (
    entry(1, "nothing"),
    entry(2, "at 192.0.2.1"),
    entry(3).replace(b'""', FINGERPRINT.encode()),
)


def run(directory: Path, table: Path, content: bytes, digest: str = "") -> tuple[Outcome, Job]:
    source = directory / "in.json"
    source.write_bytes(content)
    job = Job("r", "2016-08-02", source, directory / "out.json", directory / "rejected", directory / "held")
    return sanitise_report(job, table=table, digest=digest or load_bridge_table(table).digest), job


def test_held_entries_are_kept_and_counted(tmp_path: Path, table: Path) -> None:
    content = b"".join(line + b"\n" for line in (CLEAN, HELD, KNOWN, CLEAN, HELD))
    outcome, job = run(tmp_path, table, content)
    counts = outcome.counts
    assert (counts.taken, counts.out, counts.held, counts.missing()) == (5, 3, 2, 0)
    assert counts.notes == {"bridge": 1}
    written = job.destination.read_bytes()
    assert (outcome.size, outcome.digest) == (len(written), hashlib.sha256(written).hexdigest())
    first, second, third = written.splitlines()
    assert first == third == CLEAN
    assert loads(second)["sanitised"] == {"bridge": 1}
    kept = [loads(line) for line in (job.held / "r.jsonl").read_bytes().splitlines()]
    assert [one["reason"] for one in kept] == ["still_leaks"] * 2
    assert [base64.b64decode(one["base64"]) for one in kept] == [HELD, HELD]
    assert [one["offset"] for one in kept] == [content.index(HELD), content.rindex(HELD)]


def test_everything_held_leaves_no_file(tmp_path: Path, table: Path) -> None:
    outcome, job = run(tmp_path, table, HELD + b"\n")
    assert (outcome.digest, outcome.counts.held, outcome.counts.missing()) == ("", 1, 0)
    assert not job.destination.exists()


def test_an_entry_that_makes_us_fail_is_held(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ReportSanitiser, line: bytes, counts: Counter[str]) -> bytes:
        raise RecursionError("with content")

    monkeypatch.setattr(ReportSanitiser, "sanitise_line", fail)
    outcome, job = run(tmp_path, table, CLEAN + b"\n" + KNOWN + b"\n" + CLEAN + b"\n")
    assert (outcome.counts.out, outcome.counts.held, outcome.counts.missing()) == (2, 1, 0)
    assert loads((job.held / "r.jsonl").read_bytes())["detail"] == "RecursionError"


def test_untouched_to_the_byte(tmp_path: Path, table: Path) -> None:
    content = b"".join(entry(number, "é" * number) + b"\n" for number in range(50))
    outcome, job = run(tmp_path, table, content)
    assert job.destination.read_bytes() == content
    assert (outcome.counts.out, outcome.counts.notes) == (50, {})
    assert not job.held.exists()


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["clean", "known", "held", "long"]), min_size=1, max_size=12),
    chunk=st.integers(1, 400),
    end=st.booleans(),
)
def test_wherever_chunks_end(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], chunk: int, end: bool
) -> None:
    directory = tmp_path_factory.mktemp("chunks")
    table = directory / "bridge_table.json"
    table.write_text(json.dumps({"192.0.2.1:443": {"fingerprint": FINGERPRINT}}))
    kinds: dict[str, bytes] = {
        "clean": CLEAN,
        "known": KNOWN,
        "held": HELD,
        "long": entry(4, "x" * 700 + " 192.0.2.1"),
    }
    content = b"\n".join(kinds[line] for line in lines) + (b"\n" if end else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "_CHUNK", chunk)
        outcome, job = run(directory, table, content)
    expected = [line for line in lines if line != "held"]
    written = job.destination.read_bytes().splitlines() if outcome.digest else []
    assert len(written) == len(expected) == outcome.counts.out
    assert outcome.counts.missing() == 0
    assert outcome.counts.held == lines.count("held")
    for line, found in zip(expected, written, strict=True):
        assert b"192.0.2.1" not in found
        assert found == CLEAN if line == "clean" else b"[REDACTED]" in found


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\n")), st.integers(1, 9))
def test_chunks_of_whole_lines(content: bytes, chunk: int) -> None:
    import io

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "_CHUNK", chunk)
        chunks = list(whole_lines(io.BytesIO(content)))
    assert all(part.endswith(b"\n") for part in chunks)
    ended = content if content.endswith(b"\n") or not content else content + b"\n"
    assert b"".join(chunks) == ended


@pytest.mark.parametrize("content", [None, "", "{}", '{"x:1": {}}', "changed"])
def test_without_a_good_table_nothing_is_written(tmp_path: Path, table: Path, content: Any) -> None:
    digest = load_bridge_table(table).digest
    if content is None:
        table.unlink()
    elif content == "changed":
        table.write_text(table.read_text() + " ")
    else:
        table.write_text(content)
    with pytest.raises(BridgeTableError):
        run(tmp_path, table, CLEAN + b"\n", digest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json", "table"]
