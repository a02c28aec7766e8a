"""tls_handshake: which certificate does a server show?"""

from __future__ import annotations

from typing import Any

from ooni_pipeline.normalise.scapy import bytes_as_base64
from ooni_pipeline.normalise.source import Source


def normalise(entry: dict[str, Any], source: Source) -> None:
    """The serial number as hexadecimal text (it is longer than many readers' integers), the session key as
    base64. Subject and issuer, the chain and the ciphers stay as the probe wrote them."""
    test_keys = entry["test_keys"]
    serial = test_keys.get("cert_serial_no")
    if isinstance(serial, int) and not isinstance(serial, bool):
        test_keys["cert_serial_no"] = hex(serial)
    if "session_key" in test_keys:
        test_keys["session_key"] = bytes_as_base64(test_keys["session_key"])
