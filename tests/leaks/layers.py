"""What a text says when its encodings are taken off: JSON in strings, percent signs, base64.

Each as often as the list of spellings (see :mod:`tests.leaks`) says, and no more: what stands below two
kinds of them nobody promises to find. Text is handled as ISO-8859-1, one character a byte, so that any
bytes are text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

#: JSON may lie in strings of JSON so often; one level of backslashes each.
DEEPEST = 8

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([\"\\/'nrtbf]))")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
#: One character in code: percent-encoded once or more often, or as JSON, at any depth, may escape it.
_CHARACTER = re.compile(r"(?:%(?:25)*|\\+u00)([0-9A-Fa-f]{2})")
#: Seven characters, the shortest address, are ten of base64.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{10,}")
_FROM_URL = str.maketrans("-_", "+/")
_BETWEEN = "\0\0"


def layers(text: str) -> Iterator[tuple[str, str]]:
    """The text, and of what is in it the lines that are not the same: (text, how it was got: ``JSON``,
    ``characters``, ``base64``; empty for itself)."""
    yield text, ""
    view = text
    for _ in range(DEEPEST):
        view = _without_backslashes("\n".join(line for line in view.split("\n") if "\\" in line))
        if not view:
            break
        yield view, "JSON"
    in_code = "\n".join(line for line in text.split("\n") if _CHARACTER.search(line))
    if in_code:
        yield _CHARACTER.sub(lambda match: chr(int(match[1], 16)), in_code), "characters"
    yield _from_base64(text), "base64"


def _without_backslashes(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[2]:
            return _LETTERS.get(match[2], match[2])
        return chr(int(match[1], 16))

    return _ESCAPE.sub(character, text)


def _from_base64(text: str) -> str:
    """What every run of it, in either alphabet, says, read from each of its first four characters on: one of
    them is the beginning of four that belong together."""
    decoded, seen = [], set()
    for run in _BASE64.findall(text):
        if len(run) < 100:  # keys and words come again and again
            if run in seen:
                continue
            seen.add(run)
        letters = run.translate(_FROM_URL)
        for start in range(4):
            part = letters[start:]
            rest = len(part) % 4
            padded = part[:-1] if rest == 1 else part + "=" * (-len(part) % 4)
            decoded.append(base64.b64decode(padded).decode("latin-1"))
    return _BETWEEN.join(decoded)
