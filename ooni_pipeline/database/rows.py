"""A sanitised entry becomes a row of ``metrics``, as one line of CSV for COPY."""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from ooni_pipeline.report.json_lines import dumps

TEXT, JSON, TIME, REAL, UUID, DATE = "text", "jsonb", "timestamp", "real", "uuid", "date"

#: The columns of metrics that come from the entry's key of the same name, in the order of the table.
COLUMNS = {
    "id": UUID,
    "input": TEXT,
    "report_id": TEXT,
    "report_filename": TEXT,
    "options": JSON,
    "probe_cc": TEXT,
    "probe_asn": TEXT,
    "probe_ip": TEXT,
    "data_format_version": TEXT,
    "test_name": TEXT,
    "test_start_time": TIME,
    "measurement_start_time": TIME,
    "test_runtime": REAL,
    "software_name": TEXT,
    "software_version": TEXT,
    "test_version": TEXT,
    "bucket_date": DATE,
    "test_helpers": JSON,
    "test_keys": JSON,
}

#: An entry of a btree ends at 2.7 kB: longer text is cut in its column and kept whole in extra.
MAX_TEXT_BYTES = 2000
#: The same for a column that stands behind input in an index.
MAX_BESIDE_INPUT = {"probe_cc": 200}

_REAL_MAX, _REAL_MIN = 3.4e38, 1.2e-38
_NUL_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def metrics_row(entry: dict[str, Any], notes: Counter[str]) -> bytes:
    """The row as a CSV line in UTF-8, with its line end: 19 columns and extra; NULL is an empty field.

    ``notes`` counts what PostgreSQL cannot hold and was changed: U+0000 (``nul``) and lone surrogates
    (``lone_surrogate``) become U+FFFD; of two keys that are the same then, the last one stays. What does
    not fit its column (a time that is none, text that is long or no text) goes whole into extra
    (``in_extra``). Evidence is never refused for its form; only ``id`` and ``bucket_date``, which
    normalising made, must be what they are.
    """
    extra = {key: value for key, value in entry.items() if key not in COLUMNS and value is not None}
    pieces = []  # joined once: a field may have 64 MB
    for column, kind in COLUMNS.items():
        value = entry.get(column)
        field: bytes | None
        if value is None:
            pieces.append(b",")
            continue
        if kind is JSON:
            field, fits = _json(value, notes), True
        elif kind is TEXT:
            text = _text(value, notes)
            field = _cut(text, MAX_BESIDE_INPUT.get(column, MAX_TEXT_BYTES))
            fits = field is text and isinstance(value, str)
        else:
            field = _FITTING[kind](value)
            fits = field is not None
        if not fits:
            extra[column] = value
            notes["in_extra"] += 1
        pieces += (b'"', _doubled(field), b'",') if field is not None else (b",",)
    pieces += (b'"', _doubled(_json(extra, notes)), b'"\n') if extra else (b"\n",)
    return b"".join(pieces)


def csv_line(*fields: str) -> bytes:
    """A CSV line of text fields."""
    return b",".join(b'"%b"' % _doubled(field.encode("utf-8", "replace")) for field in fields) + b"\n"


def _doubled(text: bytes) -> bytes:
    """What stands between quotes."""
    return text.replace(b'"', b'""')


def _json(value: Any, notes: Counter[str]) -> bytes:
    text = dumps(value, ensure_ascii=False)
    if "u0000" in text:  # twice as fast as with the backslash, of which HTML in JSON has many
        text, count = _NUL_IN_JSON.subn(r"\1" + _REPLACEMENT, text)
        notes["nul"] += count
    return _utf8(text, notes)


def _text(value: Any, notes: Counter[str]) -> bytes:
    if not isinstance(value, str):
        return _json(value, notes)
    if "\0" in value:
        notes["nul"] += value.count("\0")
        value = value.replace("\0", _REPLACEMENT)
    return _utf8(value, notes)


def _utf8(text: str, notes: Counter[str]) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        text, count = _SURROGATES.subn(_REPLACEMENT, text)
        notes["lone_surrogate"] += count
        return text.encode()


def _cut(text: bytes, most: int) -> bytes:
    """The text itself, or as many whole letters of it as ``most`` bytes hold."""
    if len(text) <= most:
        return text
    end = most
    while text[end] & 0xC0 == 0x80:  # in the middle of a letter
        end -= 1
    return text[:end]


@functools.lru_cache(maxsize=4096)
def _time_of(text: str) -> bytes | None:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").isoformat(" ").encode()
    except ValueError:
        return None


def _time(value: Any) -> bytes | None:
    return _time_of(value) if isinstance(value, str) and len(value) == 19 else None


def _real(value: Any) -> bytes | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number) or abs(number) > _REAL_MAX:
        return None
    return repr(number).encode() if abs(number) > _REAL_MIN else b"0"


def _ours(value: Any) -> bytes:
    return str(value).encode("utf-8", "replace")


_FITTING: dict[str, Callable[[Any], bytes | None]] = {TIME: _time, REAL: _real, UUID: _ours, DATE: _ours}
