"""What a server showed of itself in a TLS handshake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.normalise.entries import normalised


def handshake(**keys: Any) -> dict[str, Any]:
    found = normalised(keys, {"test_name": "tls-handshake"}, raw=b"!!binary")["test_keys"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        (255, "0xff"),
        (2**159 + 1, "0x8" + "0" * 38 + "1"),
        (0, "0x0"),
        (-1, "-0x1"),
        (None, None),
        ("0xff", "0xff"),
        ("12L", "12L"),
        (True, True),
        (1.5, 1.5),
        ([1], [1]),
    ],
)
def test_serial_numbers(serial: Any, expected: Any) -> None:
    assert handshake(cert_serial_no=serial) == {"cert_serial_no": expected}


@pytest.mark.parametrize(
    ("key", "data"), [(b"\xff\0", "/wA="), (b"text", "dGV4dA=="), ("text", "dGV4dA=="), (b"", "")]
)
def test_session_keys(key: Any, data: str) -> None:
    assert handshake(session_key=key) == {"session_key": {"data": data, "format": "base64"}}


def test_nothing_is_made_up() -> None:
    assert handshake(cipher_suites=["a"]) == {"cipher_suites": ["a"]}
    assert handshake(session_key=None) == {"session_key": None}


def test_subject_issuer_and_chain_stay() -> None:
    keys = {
        "cert_subject": [["CN", "a.example"], ["O", "A"]],
        "cert_issuer": [["CN", "CA"]],
        "server_cert": "-----BEGIN CERTIFICATE-----",
        "server_cert_chain": [["x"], None],
        "cipher_list": ["AES", "RC4"],
    }
    assert handshake(**keys) == keys
