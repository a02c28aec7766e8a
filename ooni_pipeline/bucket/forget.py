"""Putting a bucket's proofs aside, so that its stages are done again."""

from __future__ import annotations

import datetime as dt

from ooni_pipeline.bucket.layout import Layout, Stage

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
#: After the raw stage is forgotten these carry over what has not changed.
CARRYING = frozenset((Stage.RAW, Stage.NORMALISED, Stage.SANITISED))


def forget_bucket(layout: Layout, stage: Stage, bucket_date: dt.date) -> list[Stage]:
    """Put aside the proofs of a stage and of those below it. Returns the stages that had one.

    After the raw stage (which fetches what else the collectors have that day) the stages below carry
    over every report that is still the same; after any other they do all of them again.
    """
    forgotten = []
    for below in BELOW[stage]:
        path = layout.manifest(below, bucket_date)
        if path.exists():
            forgotten.append(below)
        if stage is not Stage.RAW or below not in CARRYING:
            layout.forgotten(below, bucket_date).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        elif path.exists():
            path.replace(layout.forgotten(below, bucket_date))
    return forgotten


def needs_loading_again(stage: Stage) -> bool:
    """Whether the rows of a bucket are made from what this stage makes."""
    return Stage.SANITISED in BELOW[stage]
