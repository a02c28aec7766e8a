"""``python -m tasks.fingerprints``: the fingerprint table, what it matched, whether lists can be read."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ooni_pipeline.database.matches import held_as, matched_names
from ooni_pipeline.errors import ConfigurationError, DatabaseError
from ooni_pipeline.fingerprints import FingerprintTable
from ooni_pipeline.report.json_lines import loads
from tasks import config
from tasks.command import command


def check(table: FingerprintTable) -> Iterator[str]:
    """What the table holds, in numbers."""
    yield f"version {table.version}"
    yield f"{len(table.blockpages)} block pages and {len(table.vendors)} vendors of the pipeline's own"
    for path in config.fingerprint_lists():
        yield f"list {path}"
    for what, values in (
        ("kind", (rule.kind for rule in table.listed)),
        ("scope", (rule.scope or "(none)" for rule in table.listed)),
        ("location", (rule.location for rule in table.listed)),
        ("pattern_type", (rule.pattern_type for rule in table.listed)),
        ("for", ("some countries" if rule.countries else "the whole world" for rule in table.listed)),
    ):
        numbers = Counter(values)
        if numbers:
            yield f"  {what}: {', '.join(f'{name} {number}' for name, number in sorted(numbers.items()))}"
    yield f"{len(table.listed)} of lists"


def unmatched(table: FingerprintTable) -> Iterator[str]:
    """What never matched anything that is loaded."""
    matched = matched_names(config.database_url(start=True))
    held = sorted({(row["kind"], row["name"]) for row in table.explained()})
    never = [(kind, name) for kind, name in held if (kind, name) not in matched]
    for kind, name in never:
        yield f"{kind} {name}"
    yield f"{len(never)} of {len(held)} never matched a measurement that is loaded"


def show(table: FingerprintTable, name: str) -> Iterator[str]:
    """What is known of one fingerprint or vendor: today's rule, what it matched, what it once was."""
    today = [row for row in table.explained() if row["name"] == name]
    for row in today:
        yield f"{row['kind']} {name}, in today's table {table.version}"
        yield from _rule(row["rule"])
    try:
        url = config.database_url(start=True)
        then = [held for held in held_as(url, name) if held.version != table.version]
        matched = {kind: counts for (kind, other), counts in matched_names(url).items() if other == name}
    except DatabaseError as error:
        print(f"warning: {error}", file=sys.stderr)
        then, matched = [], {}
    if not today and not then:
        names = {row["name"] for row in table.explained()}
        near = difflib.get_close_matches(name, names, 3)
        raise ConfigurationError(
            f"there is no fingerprint {name}{f'; is it {chr(32).join(near)}?' if near else ''}"
        )
    for kind, counts in sorted(matched.items()):
        yield f"matched {counts.matches} measurements as {kind}, buckets {counts.first} to {counts.last}"
    if not matched:
        yield "matched no measurement that is loaded"
    for held in then:
        yield f"{held.kind} {name}, in table {held.version}, first used {held.first_used:%Y-%m-%d}"
        yield from _rule(loads(held.rule))


def _rule(rule: dict[str, Any]) -> Iterator[str]:
    for key, value in rule.items():
        yield f"  {key}: {', '.join(value) if isinstance(value, (list, tuple)) else value}"


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.fingerprints",
        description="check: read the table and the lists of [fingerprints] lists, say what they hold, or "
        "what is wrong with them (exit status 1). unmatched: what never matched anything that is loaded. "
        "show: one fingerprint, as it is and as it was, and what it matched.",
        epilog="Examples: python -m tasks.fingerprints check; "
        "python -m tasks.fingerprints show ir_iframe_10_10",
    )
    parser.add_argument("action", choices=["check", "unmatched", "show"])
    parser.add_argument("name", nargs="?", help="of the fingerprint or vendor to show")
    arguments = parser.parse_args()
    if (arguments.action == "show") != bool(arguments.name):
        parser.error("show takes a name, check and unmatched take none")
    table = config.fingerprint_table()
    lines = {"check": check, "unmatched": unmatched}
    told = show(table, arguments.name) if arguments.name else lines[arguments.action](table)
    for line in told:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
