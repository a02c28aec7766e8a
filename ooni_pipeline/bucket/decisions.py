"""Reports that are held: since when they wait for a person, and what a person decided about them.

One small file a bucket. A decision is about a report by its name, and stays whatever is done again: a
released report is published with every known bridge cut wherever it stands, a dropped one never.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.bucket.files import whole_file
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest, timestamp
from ooni_pipeline.bucket.stage import DECISIONS
from ooni_pipeline.errors import BucketError, RejectReason

RELEASE, DROP = "release", "drop"
_FORMAT = 1


@dataclass(frozen=True)
class Case:
    """A report: held since when (UTC), and what was decided when, by whom and why; ``decision`` is
    RELEASE, DROP, or empty while it waits."""

    since: str = ""
    decision: str = ""
    when: str = ""
    by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class HeldReport:
    """A report of which ``held`` of ``taken`` entries are held in the bucket's proof, for a reason.

    ``waits``: nobody has decided yet, or what was decided is not done.
    """

    report: str
    held: int
    taken: int
    why: str
    case: Case
    waits: bool


def read_cases(layout: Layout, bucket_date: dt.date) -> dict[str, Case]:
    """The cases of a bucket by report. Raises BucketError where the file is damaged."""
    path = layout.decisions(bucket_date)
    try:
        value = json.loads(path.read_bytes())
        if value["format"] != _FORMAT:
            raise ValueError("another format")
        cases = {report: Case(**case) for report, case in value["reports"].items()}
        for case in cases.values():
            if case.decision not in ("", RELEASE, DROP):
                raise ValueError("no decision")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BucketError(
            f"{path}, what was decided on held reports, cannot be read: {error.strerror}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BucketError(
            f"{path}, what was decided on the held reports of bucket {bucket_date}, is damaged: copy it back "
            "from a snapshot; without it (deleted) they wait for a person again"
        ) from None
    return cases


def decided(cases: Mapping[str, Case], decision: str) -> frozenset[str]:
    """The reports on which this was decided."""
    return frozenset(report for report, case in cases.items() if case.decision == decision)


def decide(
    layout: Layout,
    bucket_date: dt.date,
    reports: Iterable[str],
    *,
    decision: str,
    now: dt.datetime,
    by: str,
    reason: str = "",
) -> None:
    """Record a person's decision on reports; it takes the place of a former one."""
    with one_writer(layout.lock("decisions", bucket_date)):
        cases = read_cases(layout, bucket_date)
        for report in reports:
            since = cases.get(report, Case()).since
            cases[report] = Case(since, decision, timestamp(now), by, reason)
        _write(layout.decisions(bucket_date), cases)


def note_held(layout: Layout, bucket_date: dt.date, held: Iterable[str], now: dt.datetime) -> None:
    """Record which reports are held now: the others of which nobody decided anything are no cases."""
    with one_writer(layout.lock("decisions", bucket_date)):
        before = read_cases(layout, bucket_date)
        cases = {report: case for report, case in before.items() if case.decision}
        for report in held:
            cases.setdefault(report, before.get(report, Case(since=timestamp(now))))
        if cases != before:
            _write(layout.decisions(bucket_date), cases)


def drop_cases(layout: Layout, bucket_date: dt.date, reports: Iterable[str]) -> None:
    """Forget that these reports were ever held or decided on: they were withdrawn."""
    with one_writer(layout.lock("decisions", bucket_date)):
        before = read_cases(layout, bucket_date)
        gone = set(reports)
        cases = {report: case for report, case in before.items() if report not in gone}
        if cases != before:
            _write(layout.decisions(bucket_date), cases)


def held_reports(layout: Layout, bucket_date: dt.date) -> list[HeldReport]:
    """The reports of a bucket that are held, whether or not somebody has looked at them, by name."""
    cases = read_cases(layout, bucket_date)
    paths = (layout.manifest(Stage.SANITISED, bucket_date), layout.forgotten(Stage.SANITISED, bucket_date))
    proof = next((Manifest.read(path) for path in paths if path.exists()), None)
    if proof is None:
        undecided = [report for report, case in cases.items() if not case.decision]
        return [HeldReport(report, 0, 0, "not sanitised now", cases[report], True) for report in undecided]
    reports = []
    for record in proof.reports:
        case = cases.get(record.report, Case(since=proof.made))
        done = proof.facts.get(DECISIONS, {}).get(record.report, "")
        if record.counts.held or case.decision != done:
            why = record.detail or RejectReason.STILL_LEAKS.value
            waits = not case.decision or case.decision != done
            counts = record.counts
            reports.append(HeldReport(record.report, counts.held, counts.taken, why, case, waits))
    return sorted(reports, key=lambda held: held.report)


def _write(path: Path, cases: Mapping[str, Case]) -> None:
    reports = {
        report: {name: value for name, value in dataclasses.asdict(case).items() if value}
        for report, case in sorted(cases.items())
    }
    with whole_file(path) as part:
        part.write_text(json.dumps({"format": _FORMAT, "reports": reports}, indent=1) + "\n", "ascii")
