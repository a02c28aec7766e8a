"""probe_ip: the volunteer's own address, which older probes sent; 127.0.0.1 says that it is withheld."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ooni_pipeline.sanitise.cuts import Cuts
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import mappings_in, plain_key

WITHHELD = "127.0.0.1"
#: The rule, by another name than the key: the search for the key must not find the count.
RULE = "probe_ip_withheld"


def withhold(entry: dict[str, Any], cuts: Cuts) -> None:
    """Put 127.0.0.1 in the place of any other probe_ip, also of one that was overruled by another."""
    for mapping in mappings_in(entry):
        for key, value in mapping.items():
            if plain_key(key) == "probe_ip" and value not in (None, WITHHELD):
                mapping[key] = WITHHELD
                cuts.count(RULE)


def _other_than_withheld() -> bytes:
    text = WITHHELD.encode() + b'"'
    others = [
        text[:place].replace(b".", rb"\.") + b"[^" + text[place : place + 1] + b"]"
        for place in range(len(text))
    ]
    return b'(?:[^"n]|"(?:' + b"|".join(others) + b"))"


#: A regular expression for a value that is neither null nor the one that says withheld. (re2 knows no
#: look-ahead, so it says: the same up to some place, and there another character.)
OTHER_THAN_WITHHELD = _other_than_withheld().decode()
#: One for a probe_ip with such a value.
TO_WITHHOLD = b'probe_ip":' + _other_than_withheld()


def lines(settings: Settings) -> bytes:
    """A regular expression for the lines that need this step."""
    return TO_WITHHOLD


_WITHHELD = f'"probe_ip":"{WITHHELD}"'.encode()
_ONCE = f',"sanitised":{{"{RULE}":1}}}}\n'.encode()


def withhold_in_lines(chunk: bytes, own: Collection[str]) -> bytes:
    """Whole lines in which :func:`withhold` has done its work where one such probe_ip stands, one of ``own``.

    Most old reports say it in every line and hold nothing else to cut: so they need not be parsed. (A
    quote inside a string has a backslash before it, so this is never part of one.)
    """
    if not own:
        return chunk
    address = re.compile(f'"probe_ip":"(?:{"|".join(map(re.escape, sorted(own)))})"'.encode())
    pieces, done = [], 0
    while found := address.search(chunk, done):
        end = chunk.index(b"\n", found.end())
        if address.search(chunk, found.end(), end) or chunk[end - 1 : end] != b"}":
            pieces.append(chunk[done : end + 1])  # for the step
        else:
            pieces += [chunk[done : found.start()], _WITHHELD, chunk[found.end() : end - 1], _ONCE]
        done = end + 1
    return b"".join([*pieces, chunk[done:]]) if pieces else chunk


def count_in_lines(chunk: bytes) -> int:
    """In how many of these lines :func:`withhold_in_lines` has withheld it."""
    return chunk.count(_ONCE)
