"""What a plain YAML scalar means: null, true, 12, 1.5 or a string, by the rules of YAML 1.1.

These are the rules of ``yaml.SafeLoader``, which is what probes wrote for, without two: what looks like
a date stays a string, and ``=`` and ``<<`` are strings like others.
"""

from __future__ import annotations

import math
import re

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import EntryRejected

_TRUTH = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
#: Every plain scalar that is a word of YAML's own.
WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{form: truth for word, truth in _TRUTH.items() for form in (word, word.title(), word.upper())},
}
#: A plain scalar that begins otherwise is a word or a string.
NUMBERS_BEGIN_WITH = frozenset("0123456789+-.")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]*(?:[eE][-+][0-9]+)?)?")
_INTEGER = re.compile(
    r"([-+]?)(?:0b(?P<two>[01_]+)|0x(?P<sixteen>[0-9a-fA-F_]+)|(?P<sixty>[1-9][0-9_]*(?::[0-5]?[0-9])+)"
    r"|0(?P<eight>[0-7_]+)|(?P<ten>0|[1-9][0-9_]*))"
)
_FLOAT = re.compile(
    r"([-+]?)(?:(?P<ten>[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)"
    r"|(?P<sixty>[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)|(?P<none>\.(?:inf|Inf|INF|nan|NaN|NAN)))"
)
_BASES = {"two": 2, "sixteen": 16, "eight": 8, "ten": 10}
#: Python writes and reads integers of up to this many digits.
MAX_DIGITS = 4300
_MAX_BITS = 14_000


def number(text: str) -> str | int | float:
    """The number that a plain scalar means, NaN and infinities included, or ``text`` when it is none.

    Raises EntryRejected for an integer that Python could not write again.
    """
    if match := _DECIMAL.fullmatch(text):
        return float(text) if match[1] else _integer(text, 10)
    match = _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)
    if not match:
        return text
    kind = match.lastgroup or ""
    digits = match[kind].replace("_", "")
    if not digits:  # 0x_
        return text
    value = _value(digits, kind, whole=match.re is _INTEGER)
    return -value if match[1] == "-" else value


def _value(digits: str, kind: str, whole: bool) -> int | float:
    if kind == "none":
        return math.nan if digits.lower() == ".nan" else math.inf
    if kind != "sixty":
        return _integer(digits, _BASES[kind]) if whole else float(digits)
    if len(digits) > MAX_DIGITS:
        raise _too_long()
    value: int | float = 0
    for part in digits.split(":"):  # 190:20:30, hours or degrees
        value = value * 60 + (int(part) if whole else float(part))
    return value


def _integer(digits: str, base: int) -> int:
    if len(digits) > MAX_DIGITS:
        raise _too_long()
    value = int(digits, base)
    if value.bit_length() > _MAX_BITS:
        raise _too_long()
    return value


def _too_long() -> EntryRejected:
    return EntryRejected(RejectReason.NOT_YAML, f"an integer of over {MAX_DIGITS} digits")
