"""Cutting a YAML report into its documents by bytes, in bounded memory; no document is parsed here.

Probes frame every document with a line ``---`` and a line ``...``. A document also ends where the next
``---`` begins, and CR LF ends a line as LF does. Cutting by lines is right: neither line can stand
inside a document, in block scalars because they are indented, elsewhere because YAML forbids it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from ooni_pipeline.report.pieces import BYTE_ORDER_MARK, Piece

_MARKER = re.compile(rb"\n(?:---|\.\.\.)(?=[ \t\r\n])")
#: The longest part of a marker, with the line end before and the byte after it, that may not be whole.
_HELD = 4
_REST_OF_FRAMING_LINE = re.compile(rb"(?:[ \t]+#[^\n]*|[ \t]*)\r?(?:\n|\Z)")
_SPACE = re.compile(rb"[ \t]")
_FRAMING_LINE = re.compile(rb"[ \t\r]*(?:#[^\n]*|%YAML [0-9.]+[ \t\r]*)?(?:\n|\Z)")
_READ = 1024 * 1024


class Section(Piece):
    """A document, or what stands between two documents and is neither blank nor a comment.

    ``finished`` tells whether a framing line ended it rather than the end of the bytes. It lies, with the
    framing line before it, from ``begin`` to ``end`` in the uncompressed report.
    """

    def __init__(self, offset: int, is_document: bool, begin: int = 0) -> None:
        super().__init__(offset)
        self.is_document = is_document
        self.finished = True
        self.begin = self.end = begin


def split_documents(stream: BinaryIO) -> Iterator[Section]:
    """Every document of a report, and every stray section, in their order; framing is left out."""
    section = Section(0, is_document=False)
    text = b"\n"  # as if a line ended before the report: its first bytes may be a framing line
    position = -len(text)  # where ``text`` begins in the report
    begin = len(text)  # where in ``text`` the section goes on
    chunk = stream.read(len(BYTE_ORDER_MARK) + _READ)
    if chunk.startswith(BYTE_ORDER_MARK):
        chunk = chunk[len(BYTE_ORDER_MARK) :]
        position, section.offset = position + len(BYTE_ORDER_MARK), len(BYTE_ORDER_MARK)
    while True:
        text += chunk or b"\n"  # the end of the report ends a framing line too
        keep = 0
        for marker in _MARKER.finditer(text):
            section.add(text[begin : marker.start() + 1])
            section.end = position + marker.start() + 1
            if _without_framing(section):
                yield section
            keep = begin = marker.end()
            is_document = text.startswith(b"\n---", marker.start())
            section = Section(position + begin, is_document, section.end)
        if not chunk:
            section.add(text[begin:-1])
            section.finished = False
            section.end = position + len(text) - 1
            if _without_framing(section):
                yield section
            return
        keep = max(keep, len(text) - _HELD)
        section.add(text[begin:keep])
        text, begin, position = text[keep:], max(0, begin - keep), position + keep
        chunk = stream.read(_READ)


def _without_framing(section: Section) -> bool:
    """Drop the framing at the beginning of a section; whether anything is left that must be told."""
    if section.too_large:
        return True
    raw = section.raw()
    if section.is_document:
        framing = _REST_OF_FRAMING_LINE.match(raw) or _SPACE.match(raw)
        section.drop(framing.end() if framing else 0)
        return True
    if not raw.strip():
        return False
    end = 0
    while end < len(raw) and (line := _FRAMING_LINE.match(raw, end)):
        end = line.end()
    section.drop(end)
    return section.size > 0
