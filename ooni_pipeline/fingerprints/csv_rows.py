"""CSV files that people edit, read strictly: every doubt is an error that names file and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ooni_pipeline.errors import ConfigurationError

if TYPE_CHECKING:  # Python 3.14 has it elsewhere, and 3.10 not there yet
    from importlib.abc import Traversable

#: Spaces at the ends of these cells may be meant; anywhere else they are a slip of the editor.
_SPACES_ALLOWED = frozenset({"pattern", "note", "notes", "source", "exp_url", "other_names"})


def read_rows(
    file: Traversable, check_columns: Callable[[list[str]], None]
) -> Iterator[tuple[int, dict[str, str]]]:
    """``(line, cells by column)`` of each row; lines without any cell are passed over.

    The file is UTF-8 (a byte order mark is forgiven), its first line has the names of the columns.
    ``check_columns`` raises ValueError when they are not as they should be. ConfigurationError, naming file
    and line, for that and for all that is no CSV.
    """
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
        try:
            check_columns(found)
        except ValueError as error:
            raise ConfigurationError(f"{file} line 1: {error}") from None
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


def once(seen: dict[object, str], key: object, place: str, what: str) -> None:
    """Note that ``key`` stands at ``place``; ValueError where it did before."""
    if key in seen:
        raise ValueError(f"{what} {seen[key]}")
    seen[key] = place
