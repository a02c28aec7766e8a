"""What is shown of kept lines says nothing of what they say."""

from __future__ import annotations

from pathlib import Path

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.kept import kept_lines
from ooni_pipeline.report.writer import RejectedWriter


def test_reasons_and_sizes_alone(tmp_path: Path) -> None:
    with RejectedWriter(tmp_path, "r", "r.json") as kept:
        kept.keep_bytes(RejectReason.STILL_LEAKS, 70, b"secret", "RecursionError")
        kept.keep_bytes(RejectReason.STILL_LEAKS, 7, b"secret 2", "")
    path = tmp_path / "r.jsonl"
    with path.open("ab") as file:
        file.write(b'{"reason": "secret"}\nsecret, no JSON\n["secret"]\n"' + b"secret" * 700_000 + b'"')
    assert list(kept_lines(path)) == [
        "still_leaks (RecursionError), 6 bytes at offset 70",
        "still_leaks, 8 bytes at offset 7",
        "20 bytes",
        "15 bytes",
        "10 bytes",
        "4200002 bytes",
    ]
