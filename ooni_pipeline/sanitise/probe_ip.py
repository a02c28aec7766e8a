"""probe_ip: the volunteer's own address, which older probes sent; 127.0.0.1 says that it is withheld."""

from __future__ import annotations

import re
from typing import Any

from ooni_pipeline.sanitise.cuts import Cuts
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import mappings_in, plain_key

WITHHELD = "127.0.0.1"


def withhold(entry: dict[str, Any], cuts: Cuts) -> None:
    """Put 127.0.0.1 in the place of any other probe_ip, also of one that was overruled by another."""
    for mapping in mappings_in(entry):
        for key, value in mapping.items():
            if plain_key(key) == "probe_ip" and value not in (None, WITHHELD):
                mapping[key] = WITHHELD
                cuts.count("probe_ip")


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


_ADDRESS = re.compile(rb'"probe_ip":"(?!127\.0\.0\.1")[0-9A-Fa-f.:]{2,45}"')
_WITHHELD = f'"probe_ip":"{WITHHELD}"'.encode()
_ONCE = b',"sanitised":{"probe_ip":1}}\n'


def withhold_in_lines(chunk: bytes) -> bytes:
    """Whole lines in which :func:`withhold` has done its work where there is one such probe_ip, an address.

    Most old reports say it in every line and hold nothing else to cut: so they need not be parsed. (A
    quote inside a string has a backslash before it, so this is never part of one.)
    """
    pieces, done = [], 0
    while found := _ADDRESS.search(chunk, done):
        end = chunk.index(b"\n", found.end())
        again = _ADDRESS.search(chunk, found.end(), end)
        if again or chunk[end - 1 : end] != b"}":
            pieces.append(chunk[done : end + 1])  # for the step
        else:
            pieces += [chunk[done : found.start()], _WITHHELD, chunk[found.end() : end - 1], _ONCE]
        done = end + 1
    return b"".join([*pieces, chunk[done:]]) if pieces else chunk


def count_in_lines(chunk: bytes) -> int:
    """In how many of these lines :func:`withhold_in_lines` has withheld it."""
    return chunk.count(_ONCE)
