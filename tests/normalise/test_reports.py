"""One raw report through the stage: what becomes of every entry, and of the files."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from pathlib import Path

import pytest

from ooni_pipeline import normalise
from ooni_pipeline.normalise import reports
from ooni_pipeline.normalise.reports import MAX_HEADER_BYTES, normalise_report
from ooni_pipeline.normalise.source import ReportContext
from ooni_pipeline.report import writer
from ooni_pipeline.report.entry import RawEntry
from ooni_pipeline.report.json_lines import loads
from ooni_pipeline.report.measurement_id import measurement_id
from ooni_pipeline.report.work import Job, Outcome

CORPUS = Path(os.environ.get("OONI_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "corpus"))


def run(directory: Path, name: str, content: bytes) -> tuple[Outcome, Job]:
    source = directory / name
    source.write_bytes(content)
    job = Job("r", "2016-08-02", source, directory / "out.json", directory / "rejected", directory / "held")
    return normalise_report(job, key=b"k"), job


def test_every_entry_is_accounted_for(tmp_path: Path) -> None:
    lines = [b'{"a":1}', b"", b"nothing", b"null", b"[1]", b'{"a":NaN,"b":[1e400]}', b'{"a":']
    outcome, job = run(tmp_path, "r.json", b"\n".join(lines))
    counts = outcome.counts
    assert (counts.taken, counts.out, counts.missing()) == (7, 2, 0)
    assert counts.notes == {"nonfinite": 2}
    assert sum(counts.rejected.values()) == 5
    written = job.destination.read_bytes()
    crc = zlib.crc32(written).to_bytes(4, "big")
    assert (outcome.size, outcome.digest) == (len(written), hashlib.sha256(outcome.ids + crc).hexdigest())
    kept = [loads(line) for line in (job.rejected / "r.jsonl").read_bytes().splitlines()]
    assert [base64.b64decode(one["base64"]) for one in kept] == [lines[place] for place in (1, 2, 3, 4, 6)]


class Withdrawn:
    """Some of the entries of a report."""

    def __init__(self, ids: set[str], digests: set[str]) -> None:
        self.entry, self.piece = ids.__contains__, digests.__contains__


def test_what_was_withdrawn_is_counted_and_goes_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good entry, one that cannot be read, and one that can be read and not be normalised."""
    monkeypatch.setattr(reports, "MAX_WRITTEN_BYTES", 5000)
    large = b'{"large":"%b"}' % (b"x" * 5000)
    lines = [b'{"a":1}', b'{"b":1}', b"nothing", b"no thing", large, large.replace(b"x", b"y")]
    source = tmp_path / "r.json"
    source.write_bytes(b"\n".join(lines) + b"\n")
    ids = {measurement_id(b"k", b"", lines[place]) for place in (0, 4)}
    withdrawn = Withdrawn(ids, {hashlib.sha256(lines[2]).hexdigest()})
    job = Job("r", "2016-08-02", source, tmp_path / "out.json", tmp_path / "rejected", tmp_path / "held")
    outcome = normalise_report(job, key=b"k", withdrawn=withdrawn)
    counts = outcome.counts
    assert (counts.taken, counts.out, counts.withdrawn, counts.missing()) == (6, 1, 3, 0)
    assert counts.rejected == {"not_json": 1, "too_large": 1}
    assert [loads(line)["test_keys"] for line in job.destination.read_bytes().splitlines()] == [{"b": 1}]
    kept = [loads(line) for line in (job.rejected / "r.jsonl").read_bytes().splitlines()]
    assert [base64.b64decode(one["base64"]) for one in kept] == [lines[3], lines[5]]


def test_replaced_keys_are_counted(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, "r.yaml", b"---\na: 1\n...\n---\n{b: 1, b: 2, b: 3}\n...\n")
    assert outcome.counts.notes == {"duplicate_keys": 2}
    outcome, _ = run(tmp_path, "r.yaml", b"---\n{a: 1, a: .nan}\n...\n---\nb: 1\n...\n")
    assert outcome.counts.notes == {"duplicate_keys": 1, "nonfinite": 1}, "those of the header too"


def test_a_last_document_without_its_end_is_noted(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, "r.yaml", b"---\na: 1\n...\n---\nb: 1\n...\n---\nqueries:\n- a\n")
    assert (outcome.counts.out, outcome.counts.notes) == (2, {"without_end": 1})


def test_few_bytes_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "OUTPUT_FLOOR", 100_000)
    monkeypatch.setattr(reports, "OUTPUT_RATIO", 1)
    header = b"---\nnote: " + b"x" * 20_000 + b"\n...\n"
    outcome, job = run(tmp_path, "r.yaml", header + b"---\nb: 1\n...\n" * 50)
    assert outcome.counts.rejected == {"report_too_large": 1}
    assert (outcome.counts.out, outcome.counts.missing()) == (6, 0)
    assert job.destination.stat().st_size < 150_000
    (kept,) = [loads(line) for line in (job.rejected / "r.jsonl").read_bytes().splitlines()]
    assert kept["offset"] == len(header) + 6 * 13 + 4, "where reading ended"


def test_nor_do_bad_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_REJECTED_FILE", 1000)
    monkeypatch.setattr(reports, "MAX_BAD_ENTRIES", 20)
    outcome, job = run(tmp_path, "r.json", b'{"a":1}\n' + b"0\n" * 30)
    assert outcome.counts.rejected == {"not_a_mapping": 20, "report_too_large": 1}
    kept = [loads(line) for line in (job.rejected / "r.jsonl").read_bytes().splitlines()]
    assert 2 < len(kept) < 10
    assert [one["reason"] for one in kept] == ["not_a_mapping"] * (len(kept) - 1) + [None]
    assert kept[-1]["offset"] == kept[-2]["offset"] + 1
    assert "raw report" in kept[-1]["detail"]


def test_nor_do_bombs_take_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_BAD_ENTRIES", 20_000)
    bomb = b"---\na: &a [" + b"x, " * 2000 + b"]\nb: [" + b"*a, " * 2000 + b"]\n...\n"
    outcome, _ = run(tmp_path, "r.yaml", b"---\na: 1\n...\n---\nb: 1\n...\n" + bomb * 5)
    assert outcome.counts.rejected == {"too_many_nodes": 2, "report_too_large": 1}
    assert outcome.counts.out == 1


def test_what_normalising_makes_too_large_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_WRITTEN_BYTES", 10_000)
    entry = '{"test_name":"http_requests","requests":[{"request":{"headers":[["a","%s"]]}}]}\n'
    outcome, _ = run(tmp_path, "r.json", (entry % ("é" * 500) + entry % ("é" * 1000)).encode())
    assert (outcome.counts.out, outcome.counts.rejected) == (1, {"too_large": 1})


def test_an_entry_that_cannot_be_normalised_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(raw: RawEntry, report: ReportContext) -> normalise.Entry:
        if raw.value.get("a") == "bad":
            raise RecursionError("quoting content would be a leak")
        return normalise.normalise_entry(raw, report)

    monkeypatch.setattr(reports, "normalise_entry", fail)
    outcome, job = run(tmp_path, "r.json", b'{"a":"good"}\n{"a":"bad"}\n{"a":"good, too"}\n')
    assert (outcome.counts.out, outcome.counts.rejected) == (2, {"cannot_be_normalised": 1})
    (kept,) = [loads(line) for line in (job.rejected / "r.jsonl").read_bytes().splitlines()]
    assert (kept["offset"], kept["detail"]) == (13, "RecursionError")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("r.json", b"", "empty_report"),
        ("r.yaml", b"---\nnull\n...\n", "bad_header"),
        ("r.yaml", b"---\ninput: a\n...\n---\ninput: b\n...\n", "bad_header"),
        ("r.yaml", b"---\nreport: {x: y}\n...\n---\nreport: {x: z}\n...\n", "bad_header"),
        ("r.yaml", b"---\n[\n...\n---\na: 1\n...\n", "bad_header"),
        ("r.yaml", b"---\na: " + b"x" * MAX_HEADER_BYTES + b"\n...\n---\nb: 1\n...\n", "bad_header"),
        (
            "r.yaml",
            b"---\na: &a [" + b"x, " * 9000 + b"]\nb: [*a, *a, *a]\n...\n---\nb: 1\n...\n",
            "bad_header",
        ),
    ],
)
def test_a_report_that_cannot_be_taken_leaves_nothing(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    outcome, _ = run(tmp_path, name, content)
    assert (outcome.rejected, outcome.digest, outcome.counts.taken) == (reason, "", 0)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_report_without_a_good_entry_has_no_file(tmp_path: Path) -> None:
    outcome, job = run(tmp_path, "r.json", b"x\ny\n")
    assert (outcome.digest, outcome.counts.taken, outcome.counts.missing()) == ("", 2, 0)
    assert not job.destination.exists()


def test_binary_in_the_header_does_not_cost_the_report(tmp_path: Path) -> None:
    header = b"---\nprobe_city: !!binary UmV5a2phdu1r\ntest_helpers: {a: !!binary /w==}\n...\n"
    outcome, job = run(tmp_path, "r.yaml", header + b"---\nb: 1\n...\n" * 2)
    assert outcome.counts.out == 2
    for line in job.destination.read_bytes().splitlines():
        assert loads(line)["probe_city"] == {"data": "UmV5a2phdu1r", "format": "base64"}


def corpus_reports() -> list[Path]:
    return sorted(path for path in CORPUS.rglob("*") if path.suffix in (".json", ".yaml", ".njson", ".jsonl"))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real reports is not beside this project")
def test_no_real_entry_fails(tmp_path: Path) -> None:
    taken = 0
    for number, path in enumerate(corpus_reports()):
        job = Job(
            f"r{number}", "2026-12-01", path, tmp_path / f"{number}.json", tmp_path / "rejected", tmp_path
        )
        outcome = normalise_report(job, key=b"k")
        assert outcome.counts.missing() == 0, path
        assert "cannot_be_normalised" not in outcome.counts.rejected, path
        taken += outcome.counts.out
    assert taken > 150
