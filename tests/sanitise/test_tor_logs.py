"""Logs of tor and obfsproxy: who is in them goes, what happened stays."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.tor_logs import clean_log, without_addresses

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("at 203.0.113.7:443", "at #"),
        ("at 203.0.113.7", "at #"),
        ("at 203.0.113.7.", "at #."),
        ("at 203.0.113.7:443.", "at #."),
        ("net 203.0.113.0/24 ", "net # "),
        ("x=203.0.113.7,y", "x=#,y"),
        ("obfs3:203.0.113.7:1", "obfs3:#"),
        ("443:203.0.113.7:1", "443:#"),
        ("=:203.0.113.7", "=:#"),
        ("\\n203.0.113.7\\n", "\\n#\\n"),
        ("ip203.0.113.7", "ip#"),
        ("203.000.113.007", "#"),
        ("[2001:db8::7]:443 ", "# "),
        ("2001:db8::7", "#"),
        ("2001:db8::7.", "#."),
        ("2001:db8::7: refused", "#: refused"),
        ("\\n2001:DB8::7\\n", "\\n#\\n"),
        ("[fe80::1%eth0]:443", "#"),
        ("::ffff:203.0.113.7", "#"),
        (FINGERPRINT, "#"),
        (f"host {FINGERPRINT.lower()} at", "host # at"),
        (f"${FINGERPRINT}~Nick at", "# at"),
        (f"${FINGERPRINT}=Nick at", "# at"),
        ("fingerprint 0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567.", "fingerprint #."),
        ("127.0.0.1:9050", "#"),
    ],
)
def test_what_goes(log: str, expected: str) -> None:
    cleaned, count = without_addresses(log, BridgeTable.of([]))
    assert cleaned.replace("[REDACTED]", "#") == expected
    assert count == expected.count("#")


@pytest.mark.parametrize(
    "log",
    [
        "Jan 01 00:00:00.000 [notice] Tor 0.2.4.20 (git-0d50b03673670de6) opening log file.",
        "12:30:45 2016-08-01T12:30:45Z", "Bootstrapped 10%: Finishing handshake", "version 1.2.3",
        "999.1.1.1 256.0.0.1 0.0.0.0", "key=:value tor::be", "deadbeef " * 5, FINGERPRINT + "0", "",
        "de:ad:be:ef", "::", "[::]",
    ],
)  # fmt: skip
def test_what_stays(log: str) -> None:
    assert without_addresses(log, BridgeTable.of([])) == (log, 0)


@pytest.mark.parametrize(
    ("log", "expected", "count"),
    [
        (None, None, 0),
        ("", "", 0),
        (5, 5, 0),
        (["at 203.0.113.7", None, {"203.0.113.7": ["203.0.113.8"]}], ["at #", None, {"#": ["#"]}], 3),
        ({"203.0.113.7": 1, "203.0.113.8": 2}, {"#": 1, "# 2": 2}, 2),
        ({"format": "base64", "data": base64.b64encode(b"\xff 203.0.113.7").decode()}, "\ufffd #", 1),
        ({"format": "base64", "data": "?"}, "#", 1),
        ({"format": "base64", "data": "é"}, "#", 1),
    ],
)
def test_logs_of_every_form(log: Any, expected: Any, count: int) -> None:
    cleaned, cuts = clean_log(log, BridgeTable.of([]))
    assert (repr(cleaned).replace("[REDACTED]", "#"), cuts) == (repr(expected), count)


@pytest.mark.parametrize(
    "piece", [":", "1:", "1.", "0123456789abcdef", "ABCD ", "$", "[", "1.1.1.", "::1.", "a:b:c:"]
)
def test_no_log_takes_for_ever(piece: str) -> None:
    begin = time.perf_counter()
    without_addresses(piece * (200_000 // len(piece)), BridgeTable.of([]))
    assert time.perf_counter() - begin < 5
