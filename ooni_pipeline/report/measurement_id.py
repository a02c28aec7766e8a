"""The id of an entry, made of the bytes that were submitted."""

from __future__ import annotations

import hmac


def measurement_id(key: bytes, header: bytes, entry: bytes) -> str:
    """The id of the entry with these raw bytes, as a UUID: the same bytes give the same id for ever.

    The first 16 bytes of HMAC-SHA-256 over the JSON line without its end, or over the header document
    and the entry document of a YAML report, without their framing lines and ``\\n...\\n---\\n`` between
    them (which stands in no document, so no two pairs give one message). Keyed, because a plain digest
    of what was submitted lets anybody test guesses of what was removed from it.
    """
    if header:
        mac = hmac.new(key, header + b"\n...\n---\n", "sha256")
        mac.update(entry)  # entries are large: no copy of them behind the header
        text = mac.digest()[:16].hex()
    else:
        text = hmac.digest(key, entry, "sha256")[:16].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
