"""Putting a bucket's proofs aside, so that its stages are done again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.stage import still_good
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.nettests import canonical_test_name

#: The file stages that are made from each stage, itself included, the lowest first: a run that dies
#: between two of them leaves a stage to be done whose upstream is done, which the next run does.
BELOW: dict[Stage, tuple[Stage, ...]] = {
    Stage.RAW: (
        Stage.REMOVED, Stage.PUBLISHED, Stage.SANITISED, Stage.NORMALISED, Stage.BACKUP, Stage.RAW
    ),
    Stage.BACKUP: (Stage.REMOVED, Stage.BACKUP),
    Stage.REMOVED: (Stage.REMOVED,),
    Stage.NORMALISED: (Stage.PUBLISHED, Stage.SANITISED, Stage.NORMALISED),
    Stage.SANITISED: (Stage.PUBLISHED, Stage.SANITISED),
    Stage.PUBLISHED: (Stage.PUBLISHED,),
}  # fmt: skip
#: What lies in the backup, and as what, is known from here alone where it is encrypted: so its record is put
#: aside whatever is forgotten, and each object that is still as it says is not put again.
_KEPT = frozenset((Stage.BACKUP,))
#: The stages that can carry over what has not changed instead of doing it again.
CARRYING = frozenset((Stage.RAW, Stage.NORMALISED, Stage.SANITISED, Stage.REMOVED))
#: Whether a report, given by its name, is meant.
Matching = Callable[[str], bool]


def forget_bucket(
    layout: Layout,
    stage: Stage,
    bucket_date: dt.date,
    matching: Matching | None = None,
    *,
    searched: Manifest | None = None,
    version: str = "",
) -> list[Stage]:
    """Put aside the proofs of a stage and of those below it. Returns the stages that had one.

    After the raw stage (which fetches what else the collectors have that day) the stages below carry
    over every report that is still the same; after any other they do all of them again. With ``matching``
    the stage does those reports again and carries over the others, and so do the stages below where its
    result is another one. ``searched`` and ``version`` come together: in the proof ``searched`` somebody has
    looked at the others, and found that they would come out as they are with that version too.

    Raises BucketError for a stage that does not work report by report, and where the proof is no longer
    the one that was searched.
    """
    if matching is not None and stage not in (Stage.NORMALISED, Stage.SANITISED):
        raise BucketError(f"stage {stage.value} does not work report by report: forget it for all of them")
    carrying = stage is Stage.RAW or matching is not None
    forgotten = []
    for below in BELOW[stage]:
        path, aside = layout.manifest(below, bucket_date), layout.forgotten(below, bucket_date)
        if path.exists():
            forgotten.append(below)
        if below not in _KEPT and (not carrying or below not in CARRYING):
            aside.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            continue
        source = path if path.exists() else aside
        if matching is not None and below is stage and source.exists():
            manifest = Manifest.read(source)
            if searched is not None:
                _still(source, manifest, searched)
                manifest.version = version
            manifest.reports = [record for record in manifest.reports if not matching(record.report)]
            manifest.write(aside)
            path.unlink(missing_ok=True)
        elif path.exists():
            path.replace(aside)
    return forgotten


@dataclass(frozen=True)
class Forgetting:
    """What :func:`forget_bucket` would do to a bucket: the stages that lose their proof, in its order, and
    how many reports of the first of them (the stage that is named) are done again or carried over.

    ``as_a_whole`` are stages below whose proof is of another version: they do all reports again, whatever
    the filter says.
    """

    stages: list[Stage]
    again: int = 0
    carried: int = 0
    as_a_whole: tuple[Stage, ...] = ()


def would_forget(
    layout: Layout,
    stage: Stage,
    bucket_date: dt.date,
    matching: Matching | None = None,
    *,
    versions: Mapping[Stage, str] | None = None,
    decisions: Mapping[str, str] | None = None,
) -> Forgetting:
    """Look at what :func:`forget_bucket` would do; changes nothing and waits for nobody.

    ``versions`` are those with which stages would be done today, ``decisions`` what persons decided on held
    reports. Raises BucketError where a proof cannot be read.
    """
    versions = versions or {}
    stages = [below for below in BELOW[stage] if layout.manifest(below, bucket_date).exists()]
    paths = (layout.manifest(stage, bucket_date), layout.forgotten(stage, bucket_date))
    proof = next((Manifest.read(path) for path in paths if path.exists()), None)
    if proof is None:
        return Forgetting(stages)
    total = len(proof.reports)
    if matching is None:
        return Forgetting(stages, 0, total) if stage is Stage.RAW else Forgetting(stages, total, 0)
    if proof.version == versions.get(stage, proof.version):
        named = decisions if stage is Stage.SANITISED and decisions else {}
        kept = still_good(proof, layout.bucket(stage, bucket_date), named)
        carried = sum(1 for report in kept if not matching(report))
    else:
        carried = 0
    older = tuple(
        below
        for below in stages
        if below in CARRYING
        and below is not stage
        and below in versions
        and Manifest.read(layout.manifest(below, bucket_date)).version != versions[below]
    )
    return Forgetting(stages, total - carried, carried, older)


def renew_proof(layout: Layout, searched: Manifest, version: str, facts: dict[str, str]) -> None:
    """Somebody has looked at all that the proof ``searched`` of the sanitised stage says, and found that it
    would come out as it is with another ``version`` too: say so. No file, no row changes.

    Raises BucketError where the proof is no longer the one that was searched.
    """
    for stage in (Stage.PUBLISHED, Stage.SANITISED):  # a run that dies between the two is done again
        path = layout.manifest(stage, searched.bucket_date)
        if stage is Stage.PUBLISHED and not path.exists():
            continue
        manifest = Manifest.read(path)
        if stage is Stage.SANITISED:
            _still(path, manifest, searched)
            manifest.facts = {**manifest.facts, **facts}
        manifest.version = version
        manifest.write(path)


def _still(path: Path, found: Manifest, searched: Manifest) -> None:
    if found != searched:
        raise BucketError(f"{path} was made anew meanwhile; run the command again")


def has_matching(layout: Layout, stage: Stage, bucket_date: dt.date, matching: Matching) -> bool:
    """Whether the stage's proof, or the one that was put aside, names a report that is meant."""
    for path in (layout.manifest(stage, bucket_date), layout.forgotten(stage, bucket_date)):
        if path.exists():
            return any(matching(record.report) for record in Manifest.read(path).reports)
    return False


def reports_of(
    *, test_name: str | None = None, country: str | None = None, asn: str | None = None
) -> Matching:
    """Matches the reports whose name says all that is given: nettest, country (``GR``), network (``AS1``)."""

    def matches(report: str) -> bool:
        try:
            name = parse_report_name(f"{report}.json")
        except BadReport:
            return False
        return (
            (test_name is None or canonical_test_name(name.test_name) == canonical_test_name(test_name))
            and (country is None or name.probe_cc == country.upper())
            and (asn is None or name.probe_asn == f"AS{asn.upper().removeprefix('AS')}")
        )

    return matches


def needs_loading_again(stage: Stage) -> bool:
    """Whether the rows of a bucket are made from what this stage makes."""
    return Stage.SANITISED in BELOW[stage]
