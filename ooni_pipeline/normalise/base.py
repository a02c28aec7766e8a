"""The base schema: its 22 keys, the name of the nettest, who measured, and where the rest goes."""

from __future__ import annotations

import re
from typing import Any

from ooni_pipeline.normalise.source import Source
from ooni_pipeline.report.entry import BASE_KEYS
from ooni_pipeline.report.nettests import canonical_test_name

#: What legacy entries become; newer ones keep the version that they say.
CURRENT_FORMAT = "0.2.0"
#: Top-level keys that newer formats have beside the base schema, and those that we add.
NEWER_KEYS = frozenset(
    (
        "annotations",
        "client_id",
        "extensions",
        "measurement_uid",
        "probe_id",
        "probe_network_name",
        "resolver_asn",
        "resolver_ip",
        "resolver_network_name",
        "time_source",
    )
)

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})\Z")
_COUNTRY = re.compile(r"[A-Za-z]{2}\Z")
_NETWORK = re.compile(r"(?:AS)?(\d{1,10})\Z", re.IGNORECASE)


def is_legacy(entry: dict[str, Any]) -> bool:
    """Whether the entry's format is older than 0.2.0, or not said (then it is from before formats)."""
    match = _VERSION.match(str(entry.get("data_format_version") or ""))
    return not match or tuple(int(part) for part in match.groups()) < (0, 2, 0)


def lift_report(entry: dict[str, Any], source: Source) -> None:
    """Entries of 2012 and 2013 hold everything one level down, under ``report``: lift it."""
    nested = entry.get("report")
    if isinstance(nested, dict):
        del entry["report"]
        header = source.report.header.value
        for key, value in nested.items():
            if header.get(key) is None:
                entry[key] = value


def name_the_nettest(entry: dict[str, Any], source: Source) -> None:
    entry["test_name"] = canonical_test_name(entry.get("test_name"))


def describe_the_probe(entry: dict[str, Any], source: Source) -> None:
    """Country as two capitals (ZZ: unknown), network as AS and a number (AS0: unknown)."""
    country = entry.get("probe_cc")
    if country in (None, "", "??"):
        entry["probe_cc"] = "ZZ"
    elif isinstance(country, str) and _COUNTRY.match(country):
        entry["probe_cc"] = country.upper()
    network = entry.get("probe_asn")
    if network in (None, ""):
        entry["probe_asn"] = "AS0"
    elif isinstance(network, (str, int)) and (match := _NETWORK.match(str(network))):
        entry["probe_asn"] = f"AS{int(match[1])}"


def flatten_options(entry: dict[str, Any], source: Source) -> None:
    """Options were a mapping once, with the command line under ``subargs``: the list stays in its place,
    the mapping goes to test_keys, whole."""
    options = entry.get("options")
    if isinstance(options, dict):
        subargs = options.get("subargs")
        entry["options"] = subargs if isinstance(subargs, list) else []
        entry["legacy_options"] = options
    for key in ("test_version", "software_version", "probe_city", "backend_version"):
        if isinstance(entry.get(key), (int, float)):
            entry[key] = str(entry[key])  # YAML reads an unquoted 0.1 as a number
    if isinstance(entry.get("input"), str):
        entry["input"] = entry["input"].strip()  # old probes kept the line end of their input file


def nest_test_keys(entry: dict[str, Any], source: Source) -> None:
    """Everything that is not in the base schema belongs to the test."""
    test_keys = entry.get("test_keys")
    nested = dict(test_keys) if isinstance(test_keys, dict) else {}
    if test_keys is not None and not isinstance(test_keys, dict):
        nested["test_keys"] = test_keys
    for key in [key for key in entry if key not in BASE_KEYS and key not in NEWER_KEYS]:
        nested[key] = entry.pop(key)
    entry["test_keys"] = nested


def nest_where_test_keys_are_missing(entry: dict[str, Any], source: Source) -> None:
    """A current entry without test_keys has its results at the top, as legacy ones do."""
    if entry.get("test_keys") is None:
        nest_test_keys(entry, source)


def declare_current(entry: dict[str, Any], source: Source) -> None:
    entry["data_format_version"] = CURRENT_FORMAT


def arranged(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its base keys first, in their order, all present."""
    result = {key: entry.pop(key, None) for key in BASE_KEYS}
    result.update(entry)
    return result
