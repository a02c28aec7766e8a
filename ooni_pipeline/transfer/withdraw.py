"""Taking what was withdrawn out of a raw bucket, out of what was made of it, and out of the backup.

Tombstones decide what goes, so they must be there before. Every step can be done again, from the beginning,
whatever an earlier run of it did before it died.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

from ooni_pipeline.bucket.decisions import drop_cases
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof
from ooni_pipeline.bucket.report_index import report_index
from ooni_pipeline.bucket.withdraw_queue import Target
from ooni_pipeline.bucket.withdrawn import Tombstones
from ooni_pipeline.transfer.cut_out import cut_out
from ooni_pipeline.transfer.plan import Plan
from ooni_pipeline.transfer.raw_bucket import prove_bucket
from ooni_pipeline.transfer.refuse import without_name
from ooni_pipeline.transfer.sent import BESIDE
from ooni_pipeline.transfer.stored import key_of
from ooni_pipeline.transfer.stores import Erased, Store


def take_out_of_raw(
    layout: Layout,
    bucket_date: dt.date,
    targets: Iterable[Target],
    stones: Tombstones,
    *,
    counted: bool = True,
) -> None:
    """Delete the whole reports of a raw bucket that are meant, cut the entries that have tombstones out of
    the others, and prove the bucket anew. Nobody else may work on the bucket meanwhile. A whole report that
    no record of a withdrawal has ``counted`` leaves a record without a name.

    Raises BucketError where a file is not what the raw manifest says, or comes out otherwise than it should:
    then it stays as it is.
    """
    meant = {target.report: target for target in targets if target.bucket_date == bucket_date}
    directory = layout.bucket(Stage.RAW, bucket_date)
    proof = read_proof(layout, Stage.RAW, bucket_date)
    instead: dict[str, ReportRecord | None] = {}
    for record in proof.reports:
        target = meant.get(record.report)
        if target is None:
            continue
        if target.whole:
            instead[record.report] = None if counted else without_name(record, stones)
        elif record.name is not None:
            instead[record.report] = cut_out(directory, record, stones)
    kept = [instead.get(record.report, record) for record in proof.reports]
    proof.reports = [record for record in kept if record is not None]
    _take_out_of_plan(layout.plan(bucket_date), instead)
    prove_bucket(layout, proof)
    named = {record.name for record in proof.reports}
    for target in meant.values():
        if target.whole and target.name and target.name not in named:
            (directory / target.name).unlink(missing_ok=True)
    with report_index(layout, bucket_date) as index:
        index.first("")  # it forgets what the manifest no longer says


def _take_out_of_plan(path: Path, instead: Mapping[str, ReportRecord | None]) -> None:
    """A fetch that goes on from its plan must not ask for what was withdrawn, and knows a report that was cut
    by its new digest."""
    if path.exists():
        plan = Plan.read(path)
        files = []
        for planned in plan.files:
            if planned.report not in instead:
                files.append(planned)
            elif (record := instead[planned.report]) is not None:
                files.append(planned.replaced_by(record))
        plan.files = files
        plan.write(path)


def delete_derived(layout: Layout, bucket_date: dt.date, reports: Iterable[str]) -> None:
    """Delete what the stages made of these reports; they are off the mirror already. Their proofs must be
    forgotten: the stages make again what of it is to stay."""
    directories = [
        layout.bucket(Stage.SANITISED, bucket_date),
        layout.bucket(Stage.NORMALISED, bucket_date),
        layout.held(bucket_date),
        layout.rejected_rows(bucket_date),
        *(layout.rejected(stage, bucket_date) for stage in (Stage.RAW, Stage.NORMALISED, Stage.SANITISED)),
    ]
    names = set(reports)
    for directory in directories:
        for path in directory.iterdir() if directory.is_dir() else ():
            if any(path.name.removesuffix(ending) in names for ending in _ENDINGS):
                path.unlink()
    drop_cases(layout, bucket_date, names)


#: What stands behind a report's name in the files that stages make of it or keep of it.
_ENDINGS = ("", ".json", ".jsonl", ".json.gz", ".jsonl.gz", ".yaml", ".yaml.gz", ".njson", ".yamloo")


def erase_from_backup(
    layout: Layout, bucket_date: dt.date, targets: Iterable[Target], store: Store
) -> list[Erased]:
    """Delete the objects of these reports, and the bucket's manifest, which names them, in all versions. The
    bucket's proof of the backup is put aside first, without them: the backup is to be made again of what is
    here now."""
    directory, manifest = layout.bucket(Stage.RAW, bucket_date), layout.manifest(Stage.RAW, bucket_date)
    names = [target.name for target in targets if target.bucket_date == bucket_date and target.name]
    keys = [key_of(layout, path) for path in [*(directory / name for name in names), manifest]]
    forget_objects(layout, bucket_date, keys)
    return [store.erase(key) for key in dict.fromkeys(keys)]


def forget_objects(layout: Layout, bucket_date: dt.date, keys: Iterable[str]) -> None:
    """What this machine knows of the bucket's objects in the backup, without those under these keys: they
    are gone, and what is under them is to be put again. The others need not be."""
    gone = set(keys)
    proof, aside = layout.manifest(Stage.BACKUP, bucket_date), layout.forgotten(Stage.BACKUP, bucket_date)
    known = proof if proof.exists() else aside
    if known.exists():
        manifest = Manifest.read(known)
        manifest.reports = [record for record in manifest.reports if record.name not in gone]
        beside = manifest.facts.get(BESIDE, {})
        manifest.facts = {**manifest.facts, BESIDE: {key: beside[key] for key in beside.keys() - gone}}
        manifest.write(aside)
        proof.unlink(missing_ok=True)
    layout.sent(bucket_date).unlink(missing_ok=True)


def take_out_of_cleaned(layout: Layout, bucket_date: dt.date, reports: Iterable[str]) -> None:
    """The mark that raw files were freed no longer names these."""
    _take_out_of(layout.cleaned(bucket_date), set(reports))


def take_out_of_removed(layout: Layout, bucket_date: dt.date, reports: Iterable[str]) -> None:
    """The proof that reports were removed on their collectors no longer names these."""
    names = set(reports)
    _take_out_of(layout.manifest(Stage.REMOVED, bucket_date), names)
    _take_out_of(layout.forgotten(Stage.REMOVED, bucket_date), names)


def _take_out_of(path: Path, reports: set[str]) -> None:
    if path.exists():
        proof = Manifest.read(path)
        proof.reports = [record for record in proof.reports if record.report not in reports]
        proof.write(path)
