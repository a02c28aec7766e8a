"""Getting surrogates past libyaml, which refuses a document that escapes one (``"\\ud83d\\ude00"``).

Probes on narrow builds of Python 2 wrote every character beyond U+FFFF as such a pair, and lone ones
for bytes that were no text. For a second attempt the escapes are turned into characters of a range for
private use that the document does not use itself, and turned back in the strings that come out.
"""

from __future__ import annotations

import re
from typing import Any

_ESCAPE = re.compile(rb"\\u([dD])([89a-fA-F])([0-9a-fA-F]{2})")
_FIRST_SURROGATE = 0xD800
_HOW_MANY = 0x800
#: First characters of two ranges of 0x800, with the hexadecimal digit that begins all of a range, and
#: what shows that the document uses it.
_RANGES = (
    (0xE000, "e", re.compile(rb"\xee[\x80-\x9f]|\\u[eE][0-7]|\\U0000[eE][0-7]")),
    (0xF000, "f", re.compile(rb"\xef[\x80-\x9f]|\\u[fF][0-7]|\\U0000[fF][0-7]")),
)


class Surrogates:
    """The way back from the range that one document's surrogates are hidden in."""

    def __init__(self, first: int, digit: str) -> None:
        self._characters = {first + n: _FIRST_SURROGATE + n for n in range(_HOW_MANY)}
        self._hidden = re.compile(f"[{chr(first)}-{chr(first + _HOW_MANY - 1)}]")
        # The same six characters outside double quotes are no escape, but text.
        self._text = re.compile(rf"\\u([{digit}{digit.upper()}])([0-7])([0-9a-fA-F]{{2}})")

    def restore(self, value: Any) -> Any:
        """``value``, whose containers are changed in place, with every surrogate back."""
        root = [value]
        todo: list[Any] = [root]
        for container in todo:
            if isinstance(container, dict):
                parts = [(self._string(key), part) for key, part in container.items()]
                container.clear()
                container.update(parts)
            for key, part in container.items() if isinstance(container, dict) else enumerate(container):
                if isinstance(part, str):
                    container[key] = self._string(part)
                elif isinstance(part, (dict, list)):
                    todo.append(part)
        return root[0]

    def _string(self, text: str) -> str:
        if "\\u" in text:
            text = self._text.sub(_as_written, text)
        if not self._hidden.search(text):
            return text
        units = text.translate(self._characters).encode("utf-16-le", "surrogatepass")
        return units.decode("utf-16-le", "surrogatepass")  # which joins pairs


def hide_surrogates(raw: bytes) -> tuple[bytes, Surrogates] | None:
    """The document without escaped surrogates and the way back; None when it has none, or no way."""
    if not _ESCAPE.search(raw):
        return None
    for first, digit, used in _RANGES:
        if not used.search(raw):
            letters = {b"d": digit.encode(), b"D": digit.upper().encode()}
            hidden = _ESCAPE.sub(
                lambda match, letters=letters: (
                    b"\\u%b%d%b"  # type: ignore[misc]
                    % (letters[match[1]], int(match[2], 16) - 8, match[3])
                ),
                raw,
            )
            return hidden, Surrogates(first, digit)
    return None


def _as_written(match: re.Match[str]) -> str:
    upper = match[1].isupper()
    second = f"{int(match[2]) + 8:x}"
    return f"\\u{'D' if upper else 'd'}{second.upper() if upper else second}{match[3]}"
