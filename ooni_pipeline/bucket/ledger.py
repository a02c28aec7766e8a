"""What became of everything that a bucket received: archive to database to mirror, in numbers that add up."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ooni_pipeline.bucket.cleaned import is_cleaned
from ooni_pipeline.bucket.decisions import held_reports
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.stage import checked_file
from ooni_pipeline.bucket.withdraw_queue import waiting
from ooni_pipeline.bucket.withdrawn import WITHDRAWN, withdrawn_counts
from ooni_pipeline.errors import BucketError, RejectReason
from ooni_pipeline.report.tally import Tally


@dataclass(frozen=True)
class Loaded:
    """What the database says of a bucket: its marker, its rows, whether the views show this load, and the
    version of the fingerprint table that was matched."""

    reports: int
    measurements: int
    rows: int
    in_views: bool
    rejected: int = 0
    fingerprints: str = ""


@dataclass
class Ledger:
    """The ledger of one bucket: ``lines`` for a person, ``problems`` where it does not add up, ``warnings``
    where it does and somebody should know all the same."""

    bucket_date: dt.date
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def expect(self, what: str, found: int, expected: int) -> None:
        if found != expected:
            self.problems.append(f"{what}: {found}, expected {expected}")


def bucket_ledger(
    layout: Layout,
    bucket_date: dt.date,
    loaded: Loaded | None,
    versions: Mapping[Stage, str] | None = None,
    fingerprints: str = "",
) -> Ledger:
    """Follow a bucket from the collectors to the database and the mirror by its proofs and its files.

    ``versions`` are those with which stages would be done today, ``fingerprints`` that of today's table.
    """
    ledger = Ledger(bucket_date)
    found = {
        stage: Manifest.read(path)
        for stage in Stage
        if (path := layout.manifest(stage, bucket_date)).exists()
    }
    for stage in (Stage.RAW, Stage.BACKUP, Stage.NORMALISED, Stage.SANITISED, Stage.PUBLISHED):
        if stage not in found:
            never = "was never fetched" if stage is Stage.RAW else f"is not done with stage {stage.value}"
            ledger.problems.append(f"the bucket {never}")
        if Stage.RAW not in found:
            break  # all else follows from it
    if Stage.RAW in found:
        _reports(ledger, found)
        _withdrawn(ledger, layout, found[Stage.RAW])
        _entries(ledger, found, loaded)
        _files(ledger, layout, found)
    undecided = sum(held.waits for held in held_reports(layout, bucket_date))
    if undecided:
        command = f"python -m tasks.held list {bucket_date} {bucket_date}"
        ledger.warnings.append(f"{undecided} reports are held for a person: {command}")
    for stage, version in (versions or {}).items():
        if stage in found and found[stage].version != version:
            verb = "resanitise" if stage is Stage.SANITISED else f"forget {stage.value.removesuffix('d')}"
            ledger.warnings.append(
                f"{stage.value} with {found[stage].version}, today it is {version}: "
                f"python -m tasks.{verb} {bucket_date} {bucket_date} to do it again"
            )
    if loaded and fingerprints and loaded.fingerprints != fingerprints:
        ledger.warnings.append(
            f"matched with fingerprint table {loaded.fingerprints}, today it is {fingerprints}: "
            f"python -m tasks.refingerprint {bucket_date} {bucket_date} to match it again"
        )
    return ledger


def _files(ledger: Ledger, layout: Layout, found: Mapping[Stage, Manifest]) -> None:
    """Evidence and what the public sees must really lie there: each file by its size, and no others. What
    ``tasks.cleanup`` freed lies in the backup, which it looked at."""
    cleaned = is_cleaned(layout, ledger.bucket_date)
    for stage in (Stage.RAW, Stage.PUBLISHED):
        if stage not in found:
            continue
        directory = layout.bucket(stage, ledger.bucket_date)
        named = [record for record in found[stage].reports if record.name is not None]
        away = 0
        for record in named:
            if stage is Stage.RAW and cleaned and not os.path.lexists(directory / str(record.name)):
                away += 1
                continue
            try:
                checked_file(directory, record)
            except BucketError as error:
                ledger.problems.append(str(error))
        if away:
            ledger.lines.append(f"raw        {away} of {len(named)} files are in the backup alone")
            if Stage.BACKUP not in found:
                ledger.problems.append("raw files are in the backup alone, and nothing proves the backup")
        if stage is Stage.RAW and directory.is_dir():
            others = {path.name for path in directory.iterdir()} - {record.name for record in named}
            if others:
                again = f"python -m tasks.forget fetch {ledger.bucket_date} {ledger.bucket_date}"
                ledger.problems.append(f"{len(others)} files in {directory} that nobody counts: {again}")


def _reports(ledger: Ledger, found: Mapping[Stage, Manifest]) -> None:
    raw = found[Stage.RAW]
    rejected = Counter(record.rejected for record in raw.reports if record.rejected)
    refused = rejected.pop(RejectReason.WITHDRAWN.value, 0)
    gone = raw.facts.get(WITHDRAWN, [0, 0])[0]
    duplicates = sum(1 for record in raw.reports if record.duplicate_of)
    usable = len(raw.usable())
    ledger.lines.append(
        f"reports    {len(raw.reports) + gone} received = {usable} to process + {duplicates} duplicate"
        f" + {_named(rejected)} rejected" + f" + {gone + refused} withdrawn" * bool(gone or refused)
    )
    accounted = usable + duplicates + sum(rejected.values()) + refused
    ledger.expect("reports received", accounted, len(raw.reports))
    for collector, problem in raw.facts.get("unreachable", {}).items():
        ledger.warnings.append(f"collector {collector} was not reached: {problem}")
    for collector, number in raw.facts.get("unsettled", {}).items():
        ledger.lines.append(f"           {number} left on collector {collector}: somebody still wrote them")
    above = raw
    for stage in (Stage.NORMALISED, Stage.SANITISED, Stage.PUBLISHED):
        if stage not in found:
            return
        manifest = found[stage]
        whole = Counter(record.rejected for record in manifest.reports if record.rejected)
        if whole:
            ledger.lines.append(f"           {_named(whole)} rejected whole when {stage.value}")
        ledger.expect(f"reports {stage.value}", len(manifest.reports), len(above.usable()))
        above = manifest
    if Stage.BACKUP in found:
        held = sum(1 for record in raw.reports if record.name is not None)
        ledger.expect("reports in the backup", len(found[Stage.BACKUP].reports), held)


def _withdrawn(ledger: Ledger, layout: Layout, raw: Manifest) -> None:
    """What was withdrawn, in numbers, and what of it is still to be deleted."""
    counts = withdrawn_counts(layout, raw.bucket_date)
    if tuple(raw.facts.get(WITHDRAWN, (0, 0))) != counts:
        ledger.problems.append(
            f"{counts[0]} reports and {counts[1]} measurements are recorded as withdrawn, and the raw "
            "manifest does not say so: python -m tasks.withdraw --due"
        )
    if any(counts):
        ledger.lines.append(f"withdrawn  {counts[0]} reports, {counts[1]} measurements")
    for item in waiting(layout):
        if item.bucket == raw.bucket_date.isoformat():
            ledger.lines.append(f"           still there: {item.told}")


def _entries(ledger: Ledger, found: Mapping[Stage, Manifest], loaded: Loaded | None) -> None:
    above: Tally | None = None
    for stage in (Stage.NORMALISED, Stage.SANITISED):
        if stage not in found:
            return
        tally = found[stage].tally()
        ledger.lines.append(f"{stage.value:<10} {_sum(tally)}")
        ledger.expect(f"entries {stage.value} that nobody accounts for", tally.missing(), 0)
        if above is not None:
            ledger.expect(f"entries {stage.value}", tally.taken, above.out)
        above = tally
    sanitised = found[Stage.SANITISED].tally().out
    if Stage.PUBLISHED in found:
        published = found[Stage.PUBLISHED]
        count = published.tally().out
        ledger.lines.append(f"published  {count} measurements in {len(published.reports)} files")
        ledger.expect("measurements published", count, sanitised)
    if Stage.REMOVED in found:
        fates = Counter(record.detail for record in found[Stage.REMOVED].reports)
        ledger.lines.append(
            f"collectors {', '.join(f'{n} {fate}' for fate, n in sorted(fates.items())) or '-'}"
        )
    if loaded is None:
        ledger.problems.append("the bucket is not loaded")
        return
    refused = f" + {loaded.rejected} rejected" if loaded.rejected else ""
    shown = "in the views" if loaded.in_views else "not in the views"
    ledger.lines.append(f"loaded     {sanitised} = {loaded.rows} rows{refused}, {shown}")
    ledger.expect("measurements loaded", loaded.measurements + loaded.rejected, sanitised)
    ledger.expect("rows in the database", loaded.rows, loaded.measurements)
    if not loaded.in_views:
        ledger.problems.append("the views do not show this load")


def _sum(tally: Tally) -> str:
    parts = [f"{tally.taken} entries = {tally.out} on"]
    for name in ("duplicate", "held", "excluded", "withdrawn"):
        if getattr(tally, name):
            parts.append(f"{getattr(tally, name)} {name}")
    if tally.rejected:
        parts.append(f"{_named(tally.rejected)} rejected")
    notes = "; ".join(f"{what} {number}" for what, number in sorted(tally.notes.items()))
    return " + ".join(parts) + (f"   [{notes}]" if notes else "")


def _named(reasons: Counter[str]) -> str:
    if not reasons:
        return "0"
    each = ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items()))
    return f"{sum(reasons.values())} ({each})"
