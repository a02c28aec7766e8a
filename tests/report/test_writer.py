from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import MAX_REJECTED_BYTES, BadEntry
from ooni_pipeline.report.names import ReportName, format_report_name
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter, part_of

#: As long as the names that we write can be.
LONGEST = format_report_name(
    ReportName(None, "t" * 300, "i" * 300, "AS4294967295", "ZZ", "333.333.333.333", "json", False)
).removesuffix(".json")


def test_lines_appear_whole_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / f"{LONGEST}.json"
    assert len(path.name) == 252
    with LinesWriter(path) as lines:
        lines.write(b"one")
        lines.write_lines(b"two\nthree\n", 2)
        assert not path.exists()
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert (lines.size, lines.lines) == (14, 3)
    assert lines.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_no_lines_are_an_empty_file(tmp_path: Path) -> None:
    with LinesWriter(tmp_path / "a.json") as lines:
        pass
    assert (tmp_path / "a.json").read_bytes() == b""
    assert (lines.size, lines.lines, lines.digest) == (0, 0, hashlib.sha256().hexdigest())


def test_an_error_leaves_the_former_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"former")
    with pytest.raises(ZeroDivisionError), LinesWriter(path) as lines:
        lines.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def write_and_die(path: Path, rejected: Path) -> None:
    with RejectedWriter(rejected, "a", "a.yaml") as bad, LinesWriter(path) as lines:
        lines.write(b"x" * 2_000_000)
        bad.keep_bytes(RejectReason.TOO_DEEP, 0, b"y" * 2_000_000, "")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_leaves_nothing_visible_and_nothing_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=(path, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert {left.name for left in tmp_path.iterdir()} <= {
        part_of(path).name, part_of(tmp_path / "a.jsonl").name
    }  # fmt: skip
    with LinesWriter(path) as lines:
        lines.write(b"whole")
    assert path.read_bytes() == b"whole\n"


def test_a_disk_that_is_full_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(part: Path, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"), LinesWriter(tmp_path / "a.json") as lines:
        lines.write(b"one")
    with pytest.raises(OSError, match="No space left"), RejectedWriter(tmp_path, "a", "a.yaml") as bad:
        bad.keep_bytes(RejectReason.TOO_DEEP, 0, b"one", "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_rejected_is_kept_with_reason_source_offset_and_digest(tmp_path: Path) -> None:
    directory = tmp_path / "rejected" / "2016-08-01"
    hostile = os.fsdecode(b"\xff\n.yaml")
    large = b"\0\xff" * MAX_REJECTED_BYTES
    with RejectedWriter(directory, LONGEST, hostile) as rejected:
        rejected.keep(BadEntry(RejectReason.NOT_YAML, 7, 3, b"abc", "d" * 64, "ScannerError"))
        rejected.keep_bytes(RejectReason.TOO_LARGE, 10, large, "")
        assert not rejected.path.exists()
    assert [path.name for path in directory.iterdir()] == [f"{LONGEST}.jsonl"]
    small, cut = (json.loads(line) for line in rejected.path.read_bytes().splitlines())
    assert small == {
        "reason": "not_yaml", "detail": "ScannerError", "source": hostile, "offset": 7, "size": 3,
        "digest": "d" * 64, "base64": base64.b64encode(b"abc").decode(),
    }  # fmt: skip
    assert (cut["size"], cut["digest"]) == (len(large), hashlib.sha256(large).hexdigest())
    assert base64.b64decode(cut["base64"]) == large[:MAX_REJECTED_BYTES]


def test_nothing_rejected_is_no_file_and_an_old_one_goes(tmp_path: Path) -> None:
    with RejectedWriter(tmp_path / "new", "a", "a.yaml"):
        pass
    assert not (tmp_path / "new").exists()
    (tmp_path / "a.jsonl").write_text("of an earlier run")
    with pytest.raises(ZeroDivisionError), RejectedWriter(tmp_path, "a", "a.yaml"):
        raise ZeroDivisionError
    assert (tmp_path / "a.jsonl").exists()
    with RejectedWriter(tmp_path, "a", "a.yaml"):
        pass
    assert not (tmp_path / "a.jsonl").exists()


def test_parts_are_hidden_short_and_apart(tmp_path: Path) -> None:
    names = ["a", "b", "x" * 255, os.fsdecode(b"\xff" * 255)]
    parts = {part_of(tmp_path / name) for name in names}
    assert len(parts) == len(names)
    assert all(part.name.startswith(".") and len(part.name) < 30 for part in parts)
    assert part_of(tmp_path / "a") == part_of(tmp_path / "a")
