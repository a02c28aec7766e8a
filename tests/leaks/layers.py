"""What a text says when its encodings are taken off: JSON in strings, percent signs, base64.

They are taken off in any order and number, as far as :data:`DEEPEST`. Text is handled as ISO-8859-1, one
character a byte, so that any bytes are text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

#: So many encodings may lie over each other; one backslash level each.
DEEPEST = 8
#: Base64 within base64.
DEEPEST_BASE64 = 2

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([\"\\/'nrtbf]))")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_WRAPPED = re.compile(r"(?<=[A-Za-z0-9+/])\r?\n[ \t]*(?=[A-Za-z0-9+/=])")
#: Seven characters, the shortest address, are ten of base64.
_SHORTEST = 10
_BETWEEN = "\0\0"


def layers(text: str) -> Iterator[tuple[str, str]]:
    """The text and everything in it: (text, how it was got, such as ``JSON > base64``; empty for itself)."""
    waiting, seen = [(text, "", 0, 0)], {text}
    while waiting:
        view, name, depth, in_base64 = waiting.pop(0)
        yield view, name
        if depth == DEEPEST:
            continue
        children = [("JSON", _without_backslashes(view), 0), ("percent", _without_percents(view), 0)]
        if in_base64 < DEEPEST_BASE64:
            children.append(("base64", _from_base64(view), 1))
        for step, child, more in children:
            if child and child != view and child not in seen:
                seen.add(child)
                name_of_child = f"{name} > {step}" if name else step
                waiting.append((child, name_of_child, depth + 1, in_base64 + more))


def base64_runs(text: str, shortest: int = _SHORTEST) -> list[str]:
    """Every run of base64 in the common alphabet, with the lines of wrapped ones joined."""
    if "\n" in text:
        text = _WRAPPED.sub("", text)
    return re.findall(rf"[A-Za-z0-9+/]{{{shortest},}}", text.replace("-", "+").replace("_", "/"))


def _without_backslashes(text: str) -> str:
    if "\\" not in text:
        return text

    def character(match: re.Match[str]) -> str:
        if match[3]:
            return _LETTERS.get(match[3], match[3])
        return chr(int(match[1] or match[2], 16))

    return _ESCAPE.sub(character, text)


def _without_percents(text: str) -> str:
    return _PERCENT.sub(lambda match: chr(int(match[1], 16)), text) if "%" in text else text


def _from_base64(text: str) -> str:
    """What every run says, read from each of its first four characters on: one of them is the beginning
    of four that belong together."""
    decoded, seen = [], set()
    for run in base64_runs(text):
        if len(run) < 100:  # keys and words come again and again
            if run in seen:
                continue
            seen.add(run)
        for start in range(4):
            part = run[start:]
            rest = len(part) % 4
            padded = part[:-1] if rest == 1 else part + "=" * (-len(part) % 4)
            decoded.append(base64.b64decode(padded).decode("latin-1"))
    return _BETWEEN.join(decoded)
