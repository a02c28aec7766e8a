"""One level up or down: results of all ages end in ``test_keys``, and nothing is lost on the way."""

from __future__ import annotations

from typing import Any

from ooni_pipeline.normalise.aside import free_key, same
from ooni_pipeline.normalise.claims import is_client_key
from ooni_pipeline.normalise.source import Source
from ooni_pipeline.report.entry import BASE_KEYS

#: Top-level keys that newer formats have beside the base schema. Source: df-000-base, 0.2.0 to 0.3.4,
#: and what probes of 2020 and later write.
NEWER_KEYS = frozenset(
    (
        "annotations",
        "extensions",
        "measurement_uid",
        "probe_id",
        "probe_network_name",
        "resolver_asn",
        "resolver_ip",
        "resolver_network_name",
    )
)


def lift_report(entry: dict[str, Any], source: Source) -> None:
    """Entries of 2012 and 2013 hold everything one level down, under ``report``: lift it.

    What stands above already, and says another thing, stays there; then the one below stays in
    ``report``.
    """
    below = entry.get("report")
    if isinstance(below, dict):
        del entry["report"]
        left = _fill(entry, below)
        if left:
            entry[free_key(entry, "report")] = left


def flatten_options(entry: dict[str, Any], source: Source) -> None:
    """Options were a mapping once, with the command line under ``subargs``: the list takes its place, the
    whole mapping goes to ``test_keys.legacy_options``."""
    options = entry.get("options")
    if isinstance(options, dict):
        subargs = options.get("subargs")
        entry["options"] = subargs if isinstance(subargs, list) else []
        entry[free_key(entry, "legacy_options")] = options  # a client may call something so


def nest_test_keys(entry: dict[str, Any], source: Source) -> None:
    """Everything that is not in the base schema belongs to the test."""
    _nest(entry, kept=frozenset())


def nest_where_test_keys_are_missing(entry: dict[str, Any], source: Source) -> None:
    """A current entry without test_keys has its results at the top, as legacy ones do."""
    if entry.get("test_keys") is None:
        _nest(entry, kept=NEWER_KEYS)


def _nest(entry: dict[str, Any], kept: frozenset[str]) -> None:
    """Move what is no base key, not of ours and not ``kept`` into test_keys, which becomes a mapping.

    What test_keys held, and cannot stay beside what comes in, is left in ``test_keys.test_keys``.
    """
    inner = entry.get("test_keys")
    outside = [
        key
        for key in entry
        if key not in BASE_KEYS and key not in kept and key != "time_source" and not is_client_key(key)
    ]
    nested = {key: entry.pop(key) for key in outside}
    left = _fill(nested, inner) if isinstance(inner, dict) else inner
    if left not in (None, {}):
        nested[free_key(nested, "test_keys")] = left
    entry["test_keys"] = nested


def _fill(above: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Take what ``below`` says and ``above`` does not; what is left is what they contradict each other in."""
    left = {}
    for key, value in below.items():
        if above.get(key) is None:
            above[key] = value
        elif value is not None and not same(value, above[key]):
            left[key] = value
    return left
