"""One row of each fingerprint file, the rules that a row must keep, and what a row means to the matcher."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date

from ooni_pipeline.fingerprints.like import compile_like

#: Where a block page fingerprint looks.
BLOCKPAGE_LOCATIONS = ("body", "header", "failure")
#: What a vendor rule looks at: ``header_name_diff`` are the items of that list in
#: ``test_keys.tampering``, ``received`` the first items of ``test_keys.received`` if ``tampering`` is true.
VENDOR_LOCATIONS = ("header_name_diff", "received")
#: The words that may stand as the pattern of a ``failure`` row. ``experiment_only``: the measurement
#: itself failed while its control did not.
FAILURE_WORDS = ("experiment_only",)
#: Two letters that look like a country but that no probe reports, and what to write instead.
NOT_A_COUNTRY = {"UK": "GB", "EL": "GR", "ZZ": "a country"}

_SLUG = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
COUNTRY = re.compile(r"[A-Z]{2}")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110
_ADDED = re.compile(r"(\d{4}-\d{2})(-\d{2})?")


@dataclass(frozen=True)
class Rule:
    """What the matcher needs of a fingerprint, wherever it comes from.

    ``kind`` is what a match means: ``blockpage``, ``false_positive`` or ``vague``. ``countries`` limits it
    to measurements from there; none is the whole world. ``header`` is a name in lower case. ``pattern_type``
    is ``like`` (SQL's), ``full``, ``prefix``, ``contains``, ``regexp`` or, for ``failure``, ``word``. What
    stands below ``pattern`` decides nothing.
    """

    name: str
    kind: str
    countries: tuple[str, ...]
    location: str
    header: str
    pattern_type: str
    pattern: str
    scope: str = ""
    confidence: int | None = None
    source: str = ""

    def decides(self) -> list[object]:
        """What decides a match: for the version of the table."""
        return [
            *(self.name, self.kind, self.countries),
            *(self.location, self.header, self.pattern_type, self.pattern),
        ]

    def explained(self) -> dict[str, object]:
        """The same for somebody who asks years later, without name, kind and what is empty."""
        return {key: value for key, value in asdict(self).items() if value and key not in ("name", "kind")}


@dataclass(frozen=True)
class Fingerprint:
    """A pattern that identifies a block page, for the measurements of one country.

    ``pattern`` is a LIKE pattern for the locations ``body`` and ``header``, one of ``FAILURE_WORDS``
    for ``failure``. ``added`` is when the pattern came into use (ISO date or month, empty if nobody
    knows) and does not limit what it applies to. ValueError, with the column's name, for a bad row.
    """

    name: str
    probe_cc: str
    location: str
    header: str
    pattern: str
    added: str
    source: str
    note: str

    def __post_init__(self) -> None:
        _check(_SLUG, "name", self.name, "lower-case letters, digits and single underscores")
        if self.probe_cc in NOT_A_COUNTRY:
            raise ValueError(
                f"probe_cc: no probe reports {self.probe_cc}, write {NOT_A_COUNTRY[self.probe_cc]}"
            )
        _check(COUNTRY, "probe_cc", self.probe_cc, "two upper-case letters (ISO 3166-1)")
        _check_word("location", self.location, BLOCKPAGE_LOCATIONS)
        if self.location == "header":
            _check(HEADER_NAME, "header", self.header, "the name of an HTTP header")
        elif self.header:
            raise ValueError(f"header: must be empty for a {self.location} fingerprint")
        if self.location == "failure":
            _check_word("pattern", self.pattern, FAILURE_WORDS)
        else:
            _check_pattern(self.pattern)
        if self.added:
            _check(_ADDED, "added", self.added, "YYYY-MM-DD, YYYY-MM or nothing")
            date.fromisoformat(self.added if len(self.added) == 10 else f"{self.added}-01")
        if not self.source:
            raise ValueError("source: is empty; say where the pattern comes from")

    def rule(self) -> Rule:
        """What it means."""
        kind = "word" if self.location == "failure" else "like"
        where = ((self.probe_cc,), self.location, self.header.lower())
        return Rule(self.name, "blockpage", *where, kind, self.pattern, source=self.source)


@dataclass(frozen=True)
class VendorRule:
    """A pattern that identifies a vendor's middlebox in the measurements of one nettest.

    ``location`` is one of ``VENDOR_LOCATIONS``, ``pattern`` a LIKE pattern. ValueError for a bad row.
    """

    vendor: str
    test_name: str
    location: str
    pattern: str
    source: str
    note: str

    def __post_init__(self) -> None:
        _check(_SLUG, "vendor", self.vendor, "lower-case letters, digits and single underscores")
        _check(_SLUG, "test_name", self.test_name, "lower-case letters, digits and single underscores")
        _check_word("location", self.location, VENDOR_LOCATIONS)
        _check_pattern(self.pattern)
        if not self.source:
            raise ValueError("source: is empty; say where the pattern comes from")


def _check(shape: re.Pattern[str], column: str, value: str, expected: str) -> None:
    if not value:
        raise ValueError(f"{column}: is empty; expected {expected}")
    if not shape.fullmatch(value):
        raise ValueError(f"{column}: {value!r} is not {expected}")


def _check_word(column: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        raise ValueError(f"{column}: {value!r} is not one of {', '.join(words)}")


def check_text(pattern: str) -> None:
    """ValueError for what no text in the database holds: a row could not show what its entry did."""
    if re.search("[\0\ud800-\udfff\ufffd]", pattern):
        raise ValueError("pattern: has U+0000, U+FFFD or half a character, which no loaded text has")


def _check_pattern(pattern: str) -> None:
    check_text(pattern)
    if not pattern:
        raise ValueError("pattern: is empty")
    compile_like(pattern)
    if not pattern.strip("%_"):
        raise ValueError(f"pattern: {pattern!r} has wildcards only, it would match every page")
