"""Fingerprint lists that the operator has, in the column format of the public OONI lists.

Their columns: ``name, scope, other_names, location_found, pattern_type, pattern, confidence_no_fp,
expected_countries, source, exp_url, notes``. ``location`` and ``confidence`` are understood too, other
columns are passed over; ``name``, a location, ``pattern_type`` and ``pattern`` are required.
"""

from __future__ import annotations

import re
from pathlib import Path

from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.fingerprints.csv_rows import once, read_rows
from ooni_pipeline.fingerprints.rows import COUNTRY, HEADER_NAME, NOT_A_COUNTRY, Rule, check_text
from ooni_pipeline.patterns import check_expression

#: How a pattern of a list is compared with a whole text, such as the body.
PATTERN_TYPES = ("full", "prefix", "contains", "regexp")
#: What a match of a scope means; every other scope (nat, isp, prod, inst, …) means a block page.
KINDS = {"fp": "false_positive", "vbw": "vague"}
#: Older and newer lists call it differently.
_CALLED = {"location_found": "location", "confidence_no_fp": "confidence"}
_REQUIRED = ("name", "location", "pattern_type", "pattern")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SCOPE = re.compile(r"[a-z]{1,20}")
_CONFIDENCE = re.compile(r"\d{1,3}")


def read_list(file: Path, names: dict[object, str]) -> list[Rule]:
    """The rules of one file. ``names`` says where each name stands that is taken already, and learns those
    of this file. ConfigurationError, naming file and line, for every doubt."""
    rules: list[Rule] = []
    for line, cells in read_rows(file, _check_columns):
        try:
            rule = _rule({_CALLED.get(column, column): cell for column, cell in cells.items()})
            once(names, rule.name, f"in {file} line {line}", f"name: {rule.name} is taken, it stands")
        except ValueError as error:
            raise ConfigurationError(f"{file} line {line}: {error}") from None
        rules.append(rule)
    return rules


def _check_columns(found: list[str]) -> None:
    columns = [_CALLED.get(column, column) for column in found]
    for column in _REQUIRED:
        if column not in columns:
            raise ValueError(f"column {column!r} is missing, a list needs {', '.join(_REQUIRED)}")
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"column {column!r} is given twice")


def _rule(cells: dict[str, str]) -> Rule:
    name, scope, kind = cells["name"], cells.get("scope", ""), cells["pattern_type"]
    if not _NAME.fullmatch(name):
        raise ValueError("name: must be letters, digits, dots, dashes and underscores, at most 200")
    if scope and not _SCOPE.fullmatch(scope):
        raise ValueError(f"scope: {scope!r} is not a word like nat, isp, prod, inst, vbw or fp")
    if kind not in PATTERN_TYPES:
        raise ValueError(f"pattern_type: {kind!r} is not one of {', '.join(PATTERN_TYPES)}")
    location, header = _location(cells["location"])
    confidence = cells.get("confidence", "")
    if confidence and not _CONFIDENCE.fullmatch(confidence):
        raise ValueError(f"confidence: {confidence!r} is not a number")
    return Rule(
        name=name,
        kind=KINDS.get(scope, "blockpage"),
        countries=_countries(cells.get("expected_countries", "")),
        location=location,
        header=header,
        pattern_type=kind,
        pattern=_pattern(kind, cells["pattern"]),
        scope=scope,
        confidence=int(confidence) if confidence else None,
        source=cells.get("source", ""),
    )


def _location(location: str) -> tuple[str, str]:
    if location in ("body", "dns"):
        return location, ""
    where, dot, header = location.partition(".")
    if where != "header" or not dot or not HEADER_NAME.fullmatch(header):
        raise ValueError(f"location: {location!r} is not body, dns or header.NAME")
    return where, header.lower()


def _countries(cell: str) -> tuple[str, ...]:
    """Those that a rule is limited to; none where it is for the whole world, which ``ZZ`` says too."""
    found = [country.strip() for country in cell.split(",")] if cell else []
    if "ZZ" in found:
        if len(found) > 1:
            raise ValueError("expected_countries: ZZ, the whole world, stands alone")
        return ()
    for country in found:
        if country in NOT_A_COUNTRY:
            raise ValueError(
                f"expected_countries: no probe reports {country}, write {NOT_A_COUNTRY[country]}"
            )
        if not COUNTRY.fullmatch(country):
            raise ValueError(f"expected_countries: {country!r} is not two upper-case letters")
    return tuple(sorted(set(found)))


def _pattern(kind: str, pattern: str) -> str:
    check_text(pattern)
    if not pattern.strip():
        raise ValueError("pattern: is empty")
    if kind == "regexp":
        try:
            check_expression(pattern)
        except ValueError as error:
            raise ValueError(f"pattern: {error}") from None
    return pattern
