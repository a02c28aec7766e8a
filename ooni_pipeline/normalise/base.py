"""The base schema: its 22 keys in their order, the name of the nettest, who measured, which format."""

from __future__ import annotations

import re
from typing import Any

from ooni_pipeline.normalise.claims import keep_beside
from ooni_pipeline.normalise.source import Source
from ooni_pipeline.report.entry import BASE_KEYS
from ooni_pipeline.report.nettests import canonical_test_name, tells_all

#: What legacy entries become; newer ones keep the version that they say.
CURRENT_FORMAT = "0.2.0"

_VERSION = re.compile(r"([0-9]{1,4})(?:\.([0-9]{1,4}))?(?:\.([0-9]{1,4}))?(?![0-9])")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_NETWORK = re.compile(r"(?:AS)?([0-9]{1,10})", re.IGNORECASE)


def format_version(entry: dict[str, Any]) -> tuple[int, ...] | None:
    """The version of the entry's format as three numbers; None when it says none that can be read."""
    said = entry.get("data_format_version")
    match = _VERSION.match(str(said)) if isinstance(said, (str, int, float)) else None
    return tuple(int(part or 0) for part in match.groups()) if match else None


def is_legacy(entry: dict[str, Any]) -> bool:
    """Whether the entry's format is older than 0.2.0, or not said (then it is from before formats)."""
    version = format_version(entry)
    return version is None or version < (0, 2, 0)


def name_the_nettest(entry: dict[str, Any], source: Source) -> None:
    """Call the nettest by its canonical name, and keep the name that this one does not tell."""
    if not tells_all(entry.get("test_name")):
        keep_beside(entry, "test_name")
    entry["test_name"] = canonical_test_name(entry.get("test_name"))


def describe_the_probe(entry: dict[str, Any], source: Source) -> None:
    """Country as two capitals (ZZ: unknown), network as AS and a number (AS0: unknown).

    What is neither stays as it is: it is evidence of something.
    """
    country = entry.get("probe_cc")
    if country in (None, "", "??"):
        entry["probe_cc"] = "ZZ"
    elif isinstance(country, str) and _COUNTRY.fullmatch(country):
        entry["probe_cc"] = country.upper()
    network = entry.get("probe_asn")
    if network in (None, ""):
        entry["probe_asn"] = "AS0"
    elif isinstance(network, (str, int)) and (match := _NETWORK.fullmatch(str(network))):
        entry["probe_asn"] = f"AS{int(match[1])}"


def tidy_texts(entry: dict[str, Any], source: Source) -> None:
    """Versions and a city that YAML took for numbers are text; an input has no line end."""
    for key in ("test_version", "software_version", "probe_city", "backend_version"):
        if isinstance(entry.get(key), (int, float)):
            entry[key] = str(entry[key])
    if isinstance(entry.get("input"), str):
        entry["input"] = entry["input"].strip()  # old probes kept the line end of their input file


def declare_current(entry: dict[str, Any], source: Source) -> None:
    """From here on the entry has the current format."""
    if format_version(entry) is None:
        keep_beside(entry, "data_format_version")
    entry["data_format_version"] = CURRENT_FORMAT


def arranged(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its base keys first, in their order, all present."""
    result = {key: entry.pop(key, None) for key in BASE_KEYS}
    result.update(entry)
    return result
