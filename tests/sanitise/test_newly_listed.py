"""Looking into sanitised files for bridges that are listed today."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ooni_pipeline.errors import BridgeTableError
from ooni_pipeline.sanitise import lines as passes
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.newly_listed import Sanitised, names_a_bridge

FINGERPRINT, SHIPPED = "ab" * 20, "cd" * 20


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "bridge_table.json"
    lines = {
        "192.0.2.1:443": {"fingerprint": FINGERPRINT},
        "[2001:db8::1]:443": {"fingerprint": FINGERPRINT},
        "192.0.2.9:443": {"fingerprint": SHIPPED, "public": True},
    }
    path.write_text(json.dumps(lines))
    return path


def look(table: Path, content: bytes, *, name: str = "r", digest: str = "") -> bool:
    path = table.with_name("r.json")
    path.write_bytes(content)
    sanitised = Sanitised("2016-08-01", name, path, digest or hashlib.sha256(content).hexdigest())
    return names_a_bridge(sanitised, table=table, digest=load_bridge_table(table).digest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("nothing", False),
        ("192.0.2.10", False),
        ("192.0.2.9", False),
        (SHIPPED, False),
        ("at 192.0.2.1:80", True),
        ("2001:DB8:0:0::1", True),
        (f"${FINGERPRINT.upper()}~nick", True),
    ],
)
def test_reports(table: Path, text: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1, 100, 1024 * 1024):
        monkeypatch.setattr(passes, "_CHUNK", chunk)
        lines = [b'{"a": "nothing"}'] * 7 + [json.dumps({"a": text}).encode()] + [b'{"a": "nothing"}'] * 7
        assert look(table, b"".join(line + b"\n" for line in lines)) is expected


def test_names(table: Path) -> None:
    assert look(table, b"{}\n", name=f"20160801T000000-ndt-{FINGERPRINT}-AS1-GR-probe-0.2.0")
    digest = load_bridge_table(table).digest
    for name, expected in ((FINGERPRINT, True), ("r", False)):
        assert names_a_bridge(Sanitised("", name, None), table=table, digest=digest) is expected


def test_what_is_not_as_proven(table: Path) -> None:
    assert look(table, b"{}\n", digest="0" * 64)
    missing = Sanitised("2016-08-01", "r", table.with_name("missing.json"), "0" * 64)
    assert names_a_bridge(missing, table=table, digest=load_bridge_table(table).digest)


def test_a_table_that_changed(table: Path) -> None:
    with pytest.raises(BridgeTableError, match="changed"):
        names_a_bridge(Sanitised("", "r", None), table=table, digest="0" * 64)
