"""Whether a report holds what somebody wants withdrawn: an address of the Internet, or any other text.

An address is found in every spelling in which the volunteer's own are (:mod:`.spellings`), as a number and
in packets too; a text (an address of mail, a URL) in any case, as it is and as JSON writes it. Both in the
bytes of an entry, and in what it says once it is read: YAML and JSON can write every letter as a code.
"""

from __future__ import annotations

import base64
import binascii
import functools
import ipaddress
import re
from typing import Any

from ooni_pipeline.patterns import Search, pattern, quoted
from ooni_pipeline.report.json_lines import dumps
from ooni_pipeline.sanitise.search import OwnAddresses

#: A shorter text stands everywhere.
SHORTEST = 6
#: What stands at the end of a chunk may go on in the next: no spelling of an address is longer.
_OVERLAP = 4096
#: A string that may be the base64 of a packet: the header of one has 20 bytes.
_PACKET = re.compile(r"[A-Za-z0-9+/]{27,}={0,2}\Z")


class Wanted:
    """What is looked for. It can be pickled; no error and no text of it says what it is.

    Raises ValueError, in words, for a text that would be found everywhere.
    """

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        try:
            self._address = str(ipaddress.ip_address(self._text.strip("[]")))
        except ValueError:
            self._address = ""
        if not self._address and (len(self._text) < SHORTEST or "\n" in self._text):
            raise ValueError(f"it is no IP address, and no line of {SHORTEST} characters or more")

    def __reduce__(self) -> tuple[type[Wanted], tuple[str]]:
        return Wanted, (self._text,)

    def __repr__(self) -> str:
        return "Wanted(…)"

    @functools.cached_property
    def _own(self) -> OwnAddresses | None:
        return OwnAddresses([self._address]) if self._address else None

    @functools.cached_property
    def _search(self) -> Search:
        forms = {self._text, dumps(self._text)[1:-1], dumps(self._text, ensure_ascii=False)[1:-1]}
        return pattern(quoted(form).encode("utf-8", "surrogateescape") for form in sorted(forms))

    def in_bytes(self, data: bytes) -> bool:
        """Whether it stands in bytes, as they are."""
        if self._own is not None:
            return self._own.stand_in(data)
        return self._search(data, 0) is not None

    def before_the_end_of(self, data: bytes) -> bool:
        """Whether it stands in bytes that go on: what ends where they end may be part of a longer one."""
        if self._own is not None:
            return any(found.end < len(data) for found in self._own.find(data))
        return self.in_bytes(data)

    def in_text(self, text: str) -> bool:
        """Whether it stands in a text, such as the name of a report or the reason for a withdrawal."""
        return self.in_bytes(text.encode("utf-8", "surrogatepass")) or self.in_bytes(dumps(text).encode())

    def in_value(self, value: Any) -> bool:
        """Whether it stands in what an entry or a header says, keys and bytes included."""
        texts, raw = _texts_and_bytes(value)
        if self.in_bytes(dumps(texts).encode()):
            return True
        packed = self._own.packed if self._own is not None else ()
        return any(one in data for data in raw for one in packed)

    def sink(self) -> Sink:
        """Something to write bytes to, which tells whether it stood in them."""
        return Sink(self)


class Sink:
    """Takes the bytes of a report in chunks; ``found`` tells at the end whether it stood there."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found = False
        self._last = b""

    @property
    def found(self) -> bool:
        return self._found or self._wanted.in_bytes(self._last)

    def write(self, data: bytes) -> int:
        self._last += data
        self._found = self._found or self._wanted.before_the_end_of(self._last)
        self._last = self._last[-_OVERLAP:]
        return len(data)


def _texts_and_bytes(value: Any) -> tuple[list[str], list[bytes]]:
    """All that is said in a value, without recursion: keys, strings and numbers; and bytes, those in base64
    too, which are texts as well."""
    texts: list[str] = []
    raw: list[bytes] = []
    waiting: list[Any] = [[value]]
    for container in waiting:
        if isinstance(container, dict):
            texts += container
        for one in container.values() if isinstance(container, dict) else container:
            if isinstance(one, (dict, list)):
                waiting.append(one)
            elif isinstance(one, str):
                texts.append(one)
                if _PACKET.match(one):
                    raw.append(_unpacked(one))
            elif isinstance(one, bytes):
                raw.append(one)
            elif one is not None:
                texts.append(str(one))
    return texts + [data.decode("latin-1") for data in raw], raw


def _unpacked(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
