"""YAML reports: the first document is the header, every other one an entry. The only home of yaml.

A document is built from the parser's events, one by one, with a stack of our own. libyaml's composer
and PyYAML's constructors recurse: a sequence nested 100,000 deep kills the process there. Here nothing
recurses, depth and number of nodes are exact before anything is built, no object is ever constructed,
and reading is faster than ``yaml.CSafeLoader`` because no tree of nodes stands in between.
"""

from __future__ import annotations

import binascii
import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import (
    MAX_DEPTH,
    MAX_ENTRY_BYTES,
    MAX_NODES,
    BadEntry,
    BadReport,
    EntryRejected,
    RawEntry,
    ReportHeader,
)
from ooni_pipeline.report.json_lines import dumps
from ooni_pipeline.report.yaml_documents import Section
from ooni_pipeline.report.yaml_scalars import NUMBERS_BEGIN_WITH, WORDS, number
from ooni_pipeline.report.yaml_surrogates import hide_surrogates

_STANDARD = "tag:yaml.org,2002:"
#: Tags of scalars, less "tag:yaml.org,2002:" and "python/", that leave the text as it is ...
_TEXT_TAGS = frozenset(("str", "unicode", "complex", "timestamp", "value", "merge"))
#: ... and those that give a value.
_VALUE_TAGS = frozenset(("null", "none", "bool", "int", "long", "float", "binary", "bytes"))
_SETS = (f"{_STANDARD}set", f"{_STANDARD}python/set")
_CONTAINER_TAGS = {
    MappingStartEvent: {"!", f"{_STANDARD}map", f"{_STANDARD}python/dict", *_SETS},
    SequenceStartEvent: {
        "!",
        *(_STANDARD + name for name in ("seq", "omap", "pairs", "python/list", "python/tuple")),
    },
}
_ONLY_STRINGS = frozenset((str,))
_WHITE_SPACE = dict.fromkeys(map(ord, " \t\r\n"))
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_FLOAT = re.compile(r"[-+]?[0-9]{1,400}(?:\.[0-9]{0,40})?(?:[eE][-+]?[0-9]{1,3})?")
#: What only entries hold. A header is copied into every entry, so one with a result would make results up.
_OF_ENTRIES = ("input", "report", "requests", "queries", "test_keys", "test_started", "test_runtime")
#: What the libyaml of PyYAML 6.0.4 and later says one level above MAX_DEPTH.
_LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"
#: Stands for a container that an alias names before it has ended.
_UNFINISHED = object()
_KINDS = {
    type(None): "null",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "a string",
    bytes: "bytes",
    list: "a list",
    dict: "an empty mapping",
}


class Document(NamedTuple):
    """What a document holds, how many of its numbers became null, how many keys were replaced."""

    value: Any
    nonfinite: int
    duplicate_keys: int


def parse_document(raw: bytes) -> Document:
    """The value of one YAML document, given without its framing lines; null for one without content.

    Raises EntryRejected: TOO_LARGE, NOT_YAML, UNSAFE_TAG, TOO_DEEP or TOO_MANY_NODES. Of a key that
    occurs twice the last value stays and ``duplicate_keys`` counts the others. Keys that are no strings
    become strings, as JSON writes them (``null``, ``true``, ``1``, ``["8.8.8.8",53]``). An alias gives a
    copy of its own, so that editing one in place leaves the others alone.
    """
    if len(raw) > MAX_ENTRY_BYTES:
        raise EntryRejected(RejectReason.TOO_LARGE, f"over {MAX_ENTRY_BYTES} bytes")
    try:
        return _parse(raw)
    except EntryRejected as rejected:
        hidden = hide_surrogates(raw) if rejected.reason is RejectReason.NOT_YAML else None
        if hidden is None:
            raise
    without, surrogates = hidden
    document = _parse(without)
    return document._replace(value=surrogates.restore(document.value))


def _parse(raw: bytes) -> Document:
    try:
        return _Builder(len(raw)).build(CParser(raw).get_event)
    except yaml.MarkedYAMLError as error:
        if error.problem == _LIBYAML_TOO_DEEP:
            raise EntryRejected(RejectReason.TOO_DEEP, f"over {MAX_DEPTH} levels") from None
        at = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise EntryRejected(RejectReason.NOT_YAML, f"{type(error).__name__}{at}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise EntryRejected(RejectReason.NOT_YAML, type(error).__name__) from None


class _Builder:
    """Builds the value of one document from its events."""

    def __init__(self, size: int) -> None:
        self.anchors: dict[str, Any] = {}
        self.nodes = 0
        self.size = size  # of the document and of what its aliases and keys unfold to, in bytes
        self.nonfinite = 0
        self.duplicate_keys = 0

    def build(self, get_event: Callable[[], Any]) -> Document:
        """Take events until the stream ends. A container is the list of its parts until it ends."""
        outer: list[tuple[list[Any], str | None, str | None]] = []
        parts: list[Any] = []
        while (kind := type(event := get_event())) is not StreamEndEvent:
            if kind is ScalarEvent:
                value = event.value
                if event.tag is not None:
                    value = self.tagged(event.tag, value)
                elif event.implicit[0]:
                    if value in WORDS:
                        value = WORDS[value]
                    elif value[0] in NUMBERS_BEGIN_WITH:
                        value = self.number(value)
                if event.anchor is not None:
                    self.anchors[event.anchor] = value
                parts.append(value)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                outer.append((parts, event.anchor, self.container_tag(kind, event.tag)))
                if len(outer) > MAX_DEPTH:
                    raise EntryRejected(RejectReason.TOO_DEEP, f"over {MAX_DEPTH} levels")
                if event.anchor is not None:
                    self.anchors[event.anchor] = _UNFINISHED
                parts = []
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                done = parts
                parts, anchor, tag = outer.pop()
                if kind is SequenceEndEvent:
                    value = done
                elif tag in _SETS and not any(part is not None for part in done[1::2]):
                    value = done[::2]
                else:
                    value = self.mapping(done)
                if anchor is not None:
                    self.anchors[anchor] = value
                parts.append(value)
                continue
            elif kind is AliasEvent:
                parts.append(self.alias(event.anchor, len(outer)))
            else:  # the stream or a document begins or ends
                continue
            self.nodes += 1
            if self.nodes > MAX_NODES:
                raise EntryRejected(RejectReason.TOO_MANY_NODES, f"over {MAX_NODES} nodes")
        if len(parts) > 1:  # a lone CR before ---, which libyaml takes for the end of a line
            raise EntryRejected(RejectReason.NOT_YAML, "more than one document")
        return Document(parts[0] if parts else None, self.nonfinite, self.duplicate_keys)

    def number(self, text: str) -> str | int | float | None:
        """The value of a plain scalar that begins like a number."""
        value = number(text)
        return self.finite(value) if isinstance(value, float) else value

    def finite(self, value: float) -> float | None:
        """The number; null, counted, for NaN and infinities."""
        if math.isfinite(value):
            return value
        self.nonfinite += 1
        return None

    def tagged(self, tag: str, text: str) -> str | bytes | int | float | None:
        """The value of a scalar whose tag is written out."""
        name = tag.removeprefix(_STANDARD).removeprefix("python/")
        if tag == "!" or (tag.startswith(_STANDARD) and name in _TEXT_TAGS):
            return text
        if not tag.startswith(_STANDARD) or name not in _VALUE_TAGS:
            raise EntryRejected(RejectReason.UNSAFE_TAG, "a tag outside the list")
        if name in ("binary", "bytes"):
            return _from_base64(text)
        if name in ("null", "none"):
            return None
        value = WORDS[text.lower()] if name == "bool" and text.lower() in WORDS else self.number(text or "x")
        if name == "float" and isinstance(value, (int, str)) and _FLOAT.fullmatch(str(value)):
            value = self.finite(float(value))  # 1e5 is a number only where the tag says so
        if isinstance(value, str):
            raise EntryRejected(RejectReason.NOT_YAML, "a value that its tag does not allow")
        return value

    def container_tag(self, kind: type[CollectionStartEvent], tag: str | None) -> str | None:
        """The tag of a mapping or sequence, which must be one that only says so, or that of a set."""
        if tag is None or tag in _CONTAINER_TAGS[kind]:
            return tag
        raise EntryRejected(RejectReason.UNSAFE_TAG, "a tag outside the list")

    def mapping(self, parts: list[Any]) -> dict[str, Any]:
        """The mapping whose keys and values ``parts`` holds in turn."""
        keys = parts[::2]
        if not _ONLY_STRINGS.issuperset(map(type, keys)):
            keys = [key if isinstance(key, str) else self.key(key) for key in keys]
        value = dict(zip(keys, parts[1::2], strict=True))
        self.duplicate_keys += len(keys) - len(value)
        return value

    def key(self, key: Any) -> str:
        """A key that is no string as JSON writes it; bytes as UTF-8, or as base64 when they are none."""
        if isinstance(key, bytes):
            return _bytes_as_text(key)
        text = dumps(self.copy(key, 0, _bytes_as_text) if isinstance(key, (dict, list)) else key)
        self.grow(len(text))
        return text

    def alias(self, anchor: str, depth: int) -> Any:
        """A copy of what ``anchor`` names, for a place ``depth`` levels deep."""
        if anchor not in self.anchors:
            raise EntryRejected(RejectReason.NOT_YAML, "an alias of nothing")
        value = self.anchors[anchor]
        if value is _UNFINISHED:
            raise EntryRejected(RejectReason.TOO_DEEP, "an alias within what it names")
        if isinstance(value, (dict, list)):
            return self.copy(value, depth)
        if isinstance(value, (str, bytes)):
            self.grow(len(value))
        return value

    def copy(self, value: Any, depth: int, of_bytes: Callable[[bytes], Any] = bytes) -> Any:
        """``value`` with containers of its own, level by level, within the bounds of the document."""
        root = [value]
        level: list[Any] = [root]
        depth -= 1
        while level:
            depth += 1
            if depth > MAX_DEPTH:
                raise EntryRejected(RejectReason.TOO_DEEP, f"over {MAX_DEPTH} levels")
            below: list[Any] = []
            for container in level:
                self.nodes += len(container)
                if self.nodes > MAX_NODES:
                    raise EntryRejected(RejectReason.TOO_MANY_NODES, f"over {MAX_NODES} nodes")
                is_mapping = isinstance(container, dict)
                if is_mapping:
                    self.grow(sum(map(len, container)))
                for key, part in container.items() if is_mapping else enumerate(container):
                    if isinstance(part, (dict, list)):
                        container[key] = part.copy()
                        below.append(container[key])
                    elif isinstance(part, (str, bytes)):
                        self.grow(len(part))
                        if isinstance(part, bytes):
                            container[key] = of_bytes(part)
            level = below
        return root[0]

    def grow(self, size: int) -> None:
        """Take note of ``size`` more bytes in what the document unfolds to."""
        self.size += size
        if self.size > MAX_ENTRY_BYTES:
            raise EntryRejected(RejectReason.TOO_LARGE, f"over {MAX_ENTRY_BYTES} bytes when unfolded")


def _from_base64(text: str) -> bytes:
    """The bytes of a base64 text. Raises ValueError for what is none: characters that mean nothing too."""
    packed = text.translate(_WHITE_SPACE)
    if not _BASE64.fullmatch(packed):
        raise ValueError
    return binascii.a2b_base64(packed)


def _bytes_as_text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return binascii.b2a_base64(value, newline=False).decode("ascii")


def dump_document(value: dict[str, Any]) -> str:
    """A mapping as one framed document, as the probes' own library wrote it: keys sorted, all in ASCII.

    Raises ValueError for what YAML has no plain form for, RecursionError for what is nested too deep.
    """
    try:
        return str(
            yaml.dump(
                value,
                Dumper=yaml.CSafeDumper,
                default_flow_style=None,
                explicit_start=True,
                explicit_end=True,
            )
        )
    except yaml.YAMLError as error:
        raise ValueError(type(error).__name__) from None


def read_header(sections: Iterator[Section], fault: Callable[[], EntryRejected | None]) -> ReportHeader:
    """The header, which must be the first section. Raises BadReport EMPTY_REPORT or BAD_HEADER."""
    section = next(sections, None)
    broken = fault() if section is None or not section.finished else None
    if broken:
        raise BadReport(broken.reason, f"{broken.detail}, within the header")
    if section is None:
        raise BadReport(RejectReason.EMPTY_REPORT, "no document")
    if not section.is_document:
        raise BadReport(RejectReason.BAD_HEADER, "the report does not begin with a line ---")
    if section.too_large:
        raise BadReport(RejectReason.BAD_HEADER, f"over {MAX_ENTRY_BYTES} bytes")
    raw = section.raw()
    if not section.finished and not raw.endswith(b"\n"):
        raise BadReport(RejectReason.BAD_HEADER, "the bytes end within it")
    try:
        value, nonfinite, duplicate_keys = parse_document(raw)
    except EntryRejected as rejected:
        raise BadReport(RejectReason.BAD_HEADER, str(rejected)) from None
    if not value or not isinstance(value, dict):
        raise BadReport(RejectReason.BAD_HEADER, f"not a mapping but {_KINDS[type(value)]}")
    if any(value.get(key) is not None for key in _OF_ENTRIES):
        raise BadReport(RejectReason.BAD_HEADER, "the first document is an entry: there is no header")
    return ReportHeader(value, raw, nonfinite, duplicate_keys)


def read_entries(
    sections: Iterator[Section], fault: Callable[[], EntryRejected | None]
) -> Iterator[RawEntry | BadEntry]:
    """Every document after the header.

    A last document that no line ``...`` ends is kept when it is a mapping and its last line is whole,
    because there were writers that ended no document; else it is TRUNCATED. ``fault()`` tells, once
    the bytes have ended, why they ended too early, or None: then a document without its end is never
    kept.
    """
    for section in sections:
        entry = _read(section)
        if not section.finished and section.is_document and not section.too_large:
            broken = fault()
            if broken or isinstance(entry, BadEntry) or not section.raw().endswith(b"\n"):
                broken = broken or EntryRejected(RejectReason.TRUNCATED, "the last document has no end")
                yield section.rejected(broken.reason, broken.detail)
                return
            entry = dataclasses.replace(entry, without_end=True)
        yield entry


def _read(section: Section) -> RawEntry | BadEntry:
    if not section.is_document:
        return section.rejected(RejectReason.OUTSIDE_A_DOCUMENT, "neither framing nor a comment")
    if section.too_large:
        return section.rejected(RejectReason.TOO_LARGE, f"over {MAX_ENTRY_BYTES} bytes")
    raw = section.raw()
    try:
        document = parse_document(raw)
    except EntryRejected as rejected:
        return section.rejected(rejected.reason, rejected.detail)
    if not isinstance(document.value, dict):
        reason = RejectReason.NULL_ENTRY if document.value is None else RejectReason.NOT_A_MAPPING
        return section.rejected(reason, _KINDS[type(document.value)])
    if not document.value:
        return section.rejected(RejectReason.NULL_ENTRY, "an empty mapping")
    return RawEntry(document.value, raw, section.offset, document.nonfinite, document.duplicate_keys)
