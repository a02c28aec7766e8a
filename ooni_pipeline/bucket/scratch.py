"""Trees in which the stages of a bucket are tried: the pipeline's own files stay as they are.

What is tried is what a run would do after :func:`ooni_pipeline.bucket.forget.forget_bucket`: the same
functions, over links to the same files. Every stage writes a new file and gives it its name, never into
one that is there, so a link is as good as a copy.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Iterator

from ooni_pipeline.bucket.files import link_or_copy
from ooni_pipeline.bucket.forget import Matching, forget_bucket
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest


@contextlib.contextmanager
def scratch_trees(layout: Layout) -> Iterator[Layout]:
    """Scratch trees for one block, below the private one, for their owner alone, gone when it ends.

    What a run that was killed left goes first. One at a time: who comes second waits.
    """
    scratch = layout.scratch()
    with one_writer(layout.lock("scratch")):
        remove(scratch)
        scratch.private.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            remove(scratch)


def remove(scratch: Layout) -> None:
    """Remove scratch trees, and nothing that they link to."""
    if scratch.private.exists():
        shutil.rmtree(scratch.private)


def furnish(layout: Layout, scratch: Layout, bucket_date: dt.date, matching: Matching | None) -> None:
    """Make a bucket in the scratch trees as it is once its normalised stage is forgotten, for all reports or
    for the matching ones. Raises BucketError where a proof cannot be read, OSError as files do."""
    raw = scratch.bucket(Stage.RAW, bucket_date)
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.symlink_to(layout.bucket(Stage.RAW, bucket_date), target_is_directory=True)
    _copy_proofs(layout, scratch, Stage.RAW, bucket_date)
    if matching is None:
        return
    for stage in (Stage.NORMALISED, Stage.SANITISED):
        _copy_proofs(layout, scratch, stage, bucket_date)
        ours, theirs = layout.bucket(stage, bucket_date), scratch.bucket(stage, bucket_date)
        theirs.mkdir(parents=True, exist_ok=True)
        for path in (scratch.manifest(stage, bucket_date), scratch.forgotten(stage, bucket_date)):
            for record in Manifest.read(path).reports if path.exists() else ():
                if record.name and (ours / record.name).is_file():
                    link_or_copy(ours / record.name, theirs / record.name)
    forget_bucket(scratch, Stage.NORMALISED, bucket_date, matching)


def _copy_proofs(layout: Layout, scratch: Layout, stage: Stage, bucket_date: dt.date) -> None:
    for path, copy in (
        (layout.manifest(stage, bucket_date), scratch.manifest(stage, bucket_date)),
        (layout.forgotten(stage, bucket_date), scratch.forgotten(stage, bucket_date)),
    ):
        if path.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
