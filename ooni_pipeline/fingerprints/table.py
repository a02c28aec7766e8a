"""Loading the fingerprint table: two CSV files that people edit, read strictly.

A row that is silently passed over is a country whose blocking nobody sees, so every doubt is an error
that names the file and the line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.fingerprints.matcher import FingerprintTable
from ooni_pipeline.fingerprints.rows import Fingerprint, VendorRule

if TYPE_CHECKING:  # Python 3.14 has it elsewhere, and 3.10 not there yet
    from importlib.abc import Traversable

BLOCKPAGES_FILE = "blockpages.csv"
VENDORS_FILE = "vendors.csv"
#: Spaces at the ends of these cells may be meant; anywhere else they are a slip of the editor.
_SPACES_ALLOWED = frozenset({"pattern", "note"})


def load_fingerprints(directory: Path | None = None) -> FingerprintTable:
    """The table of the shipped data, or of ``blockpages.csv`` and ``vendors.csv`` in ``directory``.

    Both files are UTF-8 (a byte order mark is forgiven) with a first line of column names, which are
    the fields of ``Fingerprint`` and ``VendorRule`` in any order. ConfigurationError, naming file and
    line, for an unknown, missing or repeated column, a row that its class refuses, a name given twice,
    or one rule under two names.
    """
    place: Traversable = files("ooni_pipeline.fingerprints") / "data" if directory is None else directory
    return FingerprintTable(_blockpages(place / BLOCKPAGES_FILE), _vendors(place / VENDORS_FILE))


def _blockpages(file: Traversable) -> list[Fingerprint]:
    rows: list[Fingerprint] = []
    names: dict[object, int] = {}
    rules: dict[object, int] = {}
    for line, cells in _read(file, [column.name for column in fields(Fingerprint)]):
        try:
            row = Fingerprint(**cells)
            _once(names, row.name, line, f"name: {row.name} is given twice, first")
            rule = (row.probe_cc, row.location, row.header.lower(), row.pattern)
            _once(rules, rule, line, f"the rule of {row.name} is given twice, first")
        except ValueError as error:
            raise ConfigurationError(f"{file} line {line}: {error}") from None
        rows.append(row)
    return rows


def _vendors(file: Traversable) -> list[VendorRule]:
    rows: list[VendorRule] = []
    rules: dict[object, int] = {}
    for line, cells in _read(file, [column.name for column in fields(VendorRule)]):
        try:
            row = VendorRule(**cells)
            rule = (row.test_name, row.location, row.pattern)
            _once(rules, rule, line, f"the rule of {row.vendor} is given twice, first")
        except ValueError as error:
            raise ConfigurationError(f"{file} line {line}: {error}") from None
        rows.append(row)
    return rows


def _once(seen: dict[object, int], key: object, line: int, what: str) -> None:
    if key in seen:
        raise ValueError(f"{what} on line {seen[key]}")
    seen[key] = line


def _read(file: Traversable, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """``(line, cells by column)`` of each row; lines without any cell are passed over."""
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = 1 + file.read_bytes().count(b"\n", 0, error.start)
        raise ConfigurationError(f"{file} line {line}: is not UTF-8") from None
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        found = next(reader, [])
        if sorted(found) != sorted(columns):
            raise ConfigurationError(f"{file} line 1: {_what_differs(found, columns)}")
        line = reader.line_num + 1  # a row's first line: a quoted cell may go over several
        for cells in reader:
            if cells:
                yield line, _cells(file, line, found, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigurationError(f"{file} line {reader.line_num}: {error}") from None


def _cells(file: Traversable, line: int, columns: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(columns):
        raise ConfigurationError(f"{file} line {line}: has {len(cells)} cells, expected {len(columns)}")
    row = dict(zip(columns, cells, strict=True))
    for column, cell in row.items():
        if column not in _SPACES_ALLOWED and cell != cell.strip():
            raise ConfigurationError(f"{file} line {line}: {column}: has spaces around it")
    return row


def _what_differs(found: list[str], columns: list[str]) -> str:
    unknown = [column for column in found if column not in columns]
    missing = [column for column in columns if column not in found]
    if unknown:
        return f"unknown column {unknown[0]!r}, the columns are {', '.join(columns)}"
    if missing:
        return f"column {missing[0]!r} is missing, the columns are {', '.join(columns)}"
    return "a column is given twice"
