"""JSON reports: one entry a line. The only module that knows ujson.

What ujson takes and JSON does not have is decided here, at the door: NaN, Infinity and numbers that
overflow a double (``1e400``) become null and are counted. Lone surrogates are kept as they are.
"""

from __future__ import annotations

import io
import marshal
import math
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import ujson

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import (
    MAX_DEPTH,
    MAX_ENTRY_BYTES,
    MAX_NODES,
    MAX_WRITTEN_BYTES,
    BadEntry,
    EntryRejected,
    RawEntry,
)
from ooni_pipeline.report.pieces import BYTE_ORDER_MARK, Piece, bad_entry

#: ujson refuses to read deeper than this (JSON_MAX_OBJECT_DEPTH in its C source).
_UJSON_DEPTH = 1024
_LEVELS_AROUND = _UJSON_DEPTH - MAX_DEPTH
_OPENING, _CLOSING = b"[" * _LEVELS_AROUND, b"]" * _LEVELS_AROUND
#: The last two bytes of a marshalled +inf, -inf, nan and -nan; six of zero are before them.
_NONFINITE = (b"\xf0\x7f", b"\xf0\xff", b"\xf8\x7f", b"\xf8\xff")
_READ = 1024 * 1024
_CONTROLS = bytes(range(32))
#: An entry of ``MAX_ENTRY_BYTES`` and its end, CR LF.
_LONGEST_LINE = MAX_ENTRY_BYTES + 2
_KINDS = {list: "list", str: "string", int: "number", float: "number", bool: "truth value"}


def loads(text: bytes | str) -> Any:
    """The value of a JSON text; ValueError when it is none. NaN and Infinity are not looked for."""
    return ujson.loads(text)


def dumps(value: Any, ensure_ascii: bool = True) -> str:
    """``value`` as compact JSON in one line, with ``/`` as it is; NaN and Infinity as null."""
    try:
        return ujson.dumps(value, ensure_ascii=ensure_ascii, escape_forward_slashes=False, allow_nan=False)
    except OverflowError:  # a double that is no number; or too deep, then the next line says so again
        copy = [ujson.loads(ujson.dumps(value, escape_forward_slashes=False, allow_nan=True))]
        _nonfinite_to_null(copy)
        return ujson.dumps(copy[0], ensure_ascii=ensure_ascii, escape_forward_slashes=False, allow_nan=False)


def dump_entry(value: dict[str, Any]) -> bytes:
    """One line of a JSON report, in ASCII, without its end."""
    return dumps(value).encode("ascii")


def parse_entry(line: bytes) -> tuple[dict[str, Any], int]:
    """The entry that ``line`` holds, and how many NaN and Infinity in it became null.

    Raises EntryRejected: BLANK_LINE, TOO_LARGE, TOO_MANY_NODES, TOO_DEEP, NOT_JSON, NULL_ENTRY (null or
    an object of nothing) or NOT_A_MAPPING.
    """
    if len(line) > MAX_ENTRY_BYTES:
        raise EntryRejected(RejectReason.TOO_LARGE, f"over {MAX_ENTRY_BYTES} bytes")
    if len(line) > MAX_ENTRY_BYTES // 2 and len(line) + 5 * _controls(line) > MAX_WRITTEN_BYTES:
        raise EntryRejected(RejectReason.TOO_LARGE, f"over {MAX_WRITTEN_BYTES} bytes when written")
    if len(line) > MAX_NODES and _nodes(line) > MAX_NODES:
        raise EntryRejected(RejectReason.TOO_MANY_NODES, f"over {MAX_NODES} nodes")
    value = _parse(line)
    nonfinite = _nonfinite_to_null([value]) if _may_hold_nonfinite(value, len(line)) else 0
    if value is None or value == {}:
        raise EntryRejected(RejectReason.NULL_ENTRY)
    if not isinstance(value, dict):
        raise EntryRejected(RejectReason.NOT_A_MAPPING, f"a JSON {_KINDS[type(value)]}")
    return value, nonfinite


def _parse(line: bytes) -> Any:
    try:
        # ujson's own bound on the depth, moved to ours: counting brackets would cost as much as parsing.
        value = ujson.loads(b"".join((_OPENING, line, _CLOSING)))
    except ujson.JSONDecodeError as error:
        if str(error).startswith("Reached object decoding depth"):
            raise EntryRejected(RejectReason.TOO_DEEP, f"over {MAX_DEPTH} levels") from None
        raise EntryRejected(RejectReason.NOT_JSON, "JSONDecodeError") from None
    except ValueError:  # Python's bound on reading integers, 4,300 digits
        raise EntryRejected(RejectReason.NOT_JSON, "an integer of too many digits") from None
    try:
        for _ in range(_LEVELS_AROUND):
            (value,) = value
    except ValueError:  # no value; or several, or brackets that close ours
        if not line.strip():
            raise EntryRejected(RejectReason.BLANK_LINE) from None
        raise EntryRejected(RejectReason.NOT_JSON, "not one value") from None
    return value


def _controls(line: bytes) -> int:
    """How many raw control characters a line holds, which ujson takes and writes as six bytes each."""
    return len(line) - len(line.translate(None, _CONTROLS))


def _nodes(line: bytes) -> int:
    """About how many keys and values a line holds: the marks outside of its strings that go with one.

    In pieces and without a regular expression, whose memory grows with every escape that it meets.
    """
    count, begin, inside = 0, 0, False
    while begin < len(line):
        end = begin + _READ
        while line[end - 1 : end] == b"\\":  # no piece ends in the middle of an escape
            end += 1
        parts = line[begin:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[inside::2])
        count += sum(map(outside.count, (b",", b":", b"[", b"{")))
        inside ^= len(parts) % 2 == 0
        begin = end
    return count


def _may_hold_nonfinite(value: Any, size: int) -> bool:
    """Whether a value, read from ``size`` bytes, holds NaN or an infinity.

    Looking for them in the bytes, where 1e400 is one too and any body may hold an "e", would cost as
    much as parsing. An entry of few long strings is walked. One of many small values is marshalled, in
    C, and its doubles are looked for there.
    """
    left = size // 128
    todo = [value] if isinstance(value, (dict, list)) else []
    for container in todo:
        left -= len(container)
        if left < 0:
            marshalled = marshal.dumps(value)
            return any(end in marshalled and b"\0\0\0\0\0\0" + end in marshalled for end in _NONFINITE)
        for part in container.values() if type(container) is dict else container:
            kind = type(part)
            if kind is dict or kind is list:
                todo.append(part)
            elif kind is float and part - part != 0:
                return True
    return False


def _nonfinite_to_null(root: list[Any]) -> int:
    """Replace, in place and at any depth, what is no finite number; how many there were."""
    count = 0
    todo: list[Any] = [root]
    while todo:
        container = todo.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in items:
            if isinstance(value, float):
                if not math.isfinite(value):
                    container[key] = None
                    count += 1
            elif isinstance(value, (dict, list)):
                todo.append(value)
    return count


def read_entries(
    stream: BinaryIO, fault: Callable[[], EntryRejected | None]
) -> Iterator[RawEntry | BadEntry]:
    """Every line of a JSON report, also a last one without an end, which is kept when it parses.

    A report that is one object over many lines (pretty-printed, at most ``MAX_ENTRY_BYTES``) is one
    entry. Of a run of blank lines the first is a BadEntry, the others are framing: one byte of gzip
    holds a thousand of them. ``fault()`` tells, once the bytes have ended, why they ended too early, or
    None: the reason of a last line that is not whole.
    """
    readline: Callable[[int], bytes] = stream.readline
    offset = 0
    may_be_pretty = True  # until there was a line that is an entry or can be no beginning of one
    after_blank = False
    while line := readline(_LONGEST_LINE):
        if not offset and line.startswith(BYTE_ORDER_MARK):
            line = line[len(BYTE_ORDER_MARK) :]
            offset += len(BYTE_ORDER_MARK)
        if len(line) == _LONGEST_LINE and line[-1:] != b"\n":
            piece = _rest_of_line(Piece(offset), line, readline)
            yield piece.rejected(RejectReason.TOO_LARGE, f"over {MAX_ENTRY_BYTES} bytes")
            offset += piece.size
            may_be_pretty = after_blank = False
            continue
        raw = _without_end(line)
        end = line[len(raw) :]
        del line  # a second copy of what may be 64 MB
        is_blank = not raw or raw.isspace()
        if is_blank and after_blank:
            offset += len(raw) + len(end)
            continue
        after_blank = is_blank
        entry = _read(raw, offset)
        if isinstance(entry, BadEntry):
            if may_be_pretty and entry.reason is RejectReason.NOT_JSON and raw.lstrip()[:1] == b"{":
                room = MAX_ENTRY_BYTES - len(raw)
                rest = stream.read(room + 1)
                whole = (raw + end + rest).rstrip(b" \t\r\n")
                if 0 < len(rest) <= room and isinstance(pretty := _read(whole, offset), RawEntry):
                    yield pretty
                    return
                readline = _readline_of(rest, stream)
            if not end and entry.reason is RejectReason.NOT_JSON:
                broken = fault() or EntryRejected(RejectReason.TRUNCATED, "the last line has no end")
                yield bad_entry(broken.reason, offset, raw, broken.detail)
                return
        yield entry
        may_be_pretty = may_be_pretty and is_blank
        offset += len(raw) + len(end)


def _read(raw: bytes, offset: int) -> RawEntry | BadEntry:
    try:
        value, nonfinite = parse_entry(raw)
    except EntryRejected as rejected:
        return bad_entry(rejected.reason, offset, raw, rejected.detail)
    return RawEntry(value, raw, offset, nonfinite)


def _without_end(line: bytes) -> bytes:
    if line[-2:] == b"\r\n":
        return line[:-2]
    return line[:-1] if line[-1:] == b"\n" else line


def _rest_of_line(piece: Piece, line: bytes, readline: Callable[[int], bytes]) -> Piece:
    while line:
        piece.add(line)
        line = b"" if line[-1:] == b"\n" else readline(_READ)
    return piece


def _readline_of(head: bytes, stream: BinaryIO) -> Callable[[int], bytes]:
    """``readline`` of a stream from which ``head`` has been read already."""
    before = io.BytesIO(head)

    def readline(limit: int) -> bytes:
        line = before.readline(limit)
        if line[-1:] == b"\n" or len(line) == limit:
            return line
        return line + stream.readline(limit - len(line))

    return readline
