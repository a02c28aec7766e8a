"""probe_ip: the volunteer's own address, which older probes sent; 127.0.0.1 says that it is withheld."""

from __future__ import annotations

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
