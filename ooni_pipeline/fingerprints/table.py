"""Loading the fingerprint table: two CSV files that ship with the pipeline, and lists that the operator has.

A row that is silently passed over is a country whose blocking nobody sees, so every doubt is an error
that names the file and the line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.fingerprints.csv_rows import once, read_rows
from ooni_pipeline.fingerprints.lists import read_list
from ooni_pipeline.fingerprints.matcher import FingerprintTable
from ooni_pipeline.fingerprints.rows import Fingerprint, VendorRule

if TYPE_CHECKING:  # Python 3.14 has it elsewhere, and 3.10 not there yet
    from importlib.abc import Traversable

BLOCKPAGES_FILE = "blockpages.csv"
VENDORS_FILE = "vendors.csv"


def load_fingerprints(directory: Path | None = None, lists: Iterable[Path] = ()) -> FingerprintTable:
    """The table of the shipped data, or of ``blockpages.csv`` and ``vendors.csv`` in ``directory``, with the
    rows of ``lists`` (see :mod:`.lists`).

    Both files are UTF-8 (a byte order mark is forgiven) with a first line of column names, which are
    the fields of ``Fingerprint`` and ``VendorRule`` in any order. ConfigurationError, naming file and
    line, for an unknown, missing or repeated column, a row that its class refuses, a name given twice,
    or one rule under two names.
    """
    place: Traversable = files("ooni_pipeline.fingerprints") / "data" if directory is None else directory
    names: dict[object, str] = {}
    blockpages = _blockpages(place / BLOCKPAGES_FILE, names)
    names = {name: f"in the pipeline's own {BLOCKPAGES_FILE} {where}" for name, where in names.items()}
    listed = [row for file in lists for row in read_list(file, names)]
    return FingerprintTable(blockpages, _vendors(place / VENDORS_FILE), listed)


def _blockpages(file: Traversable, names: dict[object, str]) -> list[Fingerprint]:
    rows: list[Fingerprint] = []
    rules: dict[object, str] = {}
    for line, cells in read_rows(file, _exactly(Fingerprint)):
        try:
            row = Fingerprint(**cells)
            once(names, row.name, f"on line {line}", f"name: {row.name} is given twice, first")
            rule = (row.probe_cc, row.location, row.header.lower(), row.pattern)
            once(rules, rule, f"on line {line}", f"the rule of {row.name} is given twice, first")
        except ValueError as error:
            raise ConfigurationError(f"{file} line {line}: {error}") from None
        rows.append(row)
    return rows


def _vendors(file: Traversable) -> list[VendorRule]:
    rows: list[VendorRule] = []
    rules: dict[object, str] = {}
    for line, cells in read_rows(file, _exactly(VendorRule)):
        try:
            row = VendorRule(**cells)
            rule = (row.test_name, row.location, row.pattern)
            once(rules, rule, f"on line {line}", f"the rule of {row.vendor} is given twice, first")
        except ValueError as error:
            raise ConfigurationError(f"{file} line {line}: {error}") from None
        rows.append(row)
    return rows


class _exactly:  # noqa: N801 - reads as what it asks for
    """The columns are the fields of a class, in any order."""

    def __init__(self, row: type[Fingerprint] | type[VendorRule]) -> None:
        self.columns = [column.name for column in fields(row)]

    def __call__(self, found: list[str]) -> None:
        unknown = [column for column in found if column not in self.columns]
        missing = [column for column in self.columns if column not in found]
        if unknown:
            raise ValueError(f"unknown column {unknown[0]!r}, the columns are {', '.join(self.columns)}")
        if missing:
            raise ValueError(f"column {missing[0]!r} is missing, the columns are {', '.join(self.columns)}")
        if len(found) > len(self.columns):
            raise ValueError("a column is given twice")
