"""What the database knows of fingerprints: which versions of the table were used, and what matched."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ooni_pipeline.database.connect import Connection, connected, run
from ooni_pipeline.fingerprints import FingerprintTable
from ooni_pipeline.report.json_lines import dumps


@dataclass(frozen=True)
class Matched:
    """How often a fingerprint matched, and in which buckets first and last."""

    matches: int
    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Held:
    """What a version of the table held: ``rule`` is JSON."""

    version: str
    first_used: dt.datetime
    kind: str
    rule: str


def keep_table(database: Connection, fingerprints: FingerprintTable) -> None:
    """Write down what this version of the table holds, and commit: what a match means stays known."""
    rules = dumps(fingerprints.explained(), ensure_ascii=False)
    run(database, "matches/keep_table", {"version": fingerprints.version, "rules": rules})
    database.commit()


def matched_versions(url: str, first: dt.date, last: dt.date) -> dict[dt.date, str]:
    """The version of the table with which each loaded bucket of a range was matched."""
    with connected(url) as database:
        return dict(run(database, "matches/versions", {"first": first, "last": last}))


def matched_names(url: str) -> dict[tuple[str, str], Matched]:
    """What matched ever, in what is loaded, by kind and name."""
    with connected(url) as database:
        return {(kind, name): Matched(*counts) for kind, name, *counts in run(database, "matches/totals")}


def held_as(url: str, name: str) -> list[Held]:
    """What stood under a name in any version of the table that was used here, the latest first."""
    with connected(url) as database:
        return [Held(*row) for row in run(database, "matches/history", {"name": name})]
