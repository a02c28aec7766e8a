from __future__ import annotations

import datetime as dt
import multiprocessing
import stat
from pathlib import Path

import pytest

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BucketError


def ask(path: Path, ready: object, answers: multiprocessing.SimpleQueue[bytes]) -> None:
    ready.wait()  # type: ignore[attr-defined]
    answers.put(id_key(path))


def test_eight_processes_make_one_key(layout: Layout) -> None:
    fork = multiprocessing.get_context("fork")
    ready, answers = fork.Barrier(8), fork.SimpleQueue()
    processes = [fork.Process(target=ask, args=(layout.id_key(), ready, answers)) for _ in range(8)]
    for process in processes:
        process.start()
    keys = {answers.get() for _ in processes}
    for process in processes:
        process.join()
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    visible = [path for path in layout.id_key().parent.iterdir() if path.suffix != ".lock"]
    assert visible == [layout.id_key()]
    assert stat.S_IMODE(layout.id_key().stat().st_mode) == 0o400
    assert stat.S_IMODE(layout.id_key().parent.stat().st_mode) == 0o700


def test_it_stays_the_same(layout: Layout) -> None:
    key = id_key(layout.id_key())
    Manifest("raw", dt.date(2016, 8, 1), "").write(layout.manifest(Stage.RAW, dt.date(2016, 8, 1)))
    assert id_key(layout.id_key()) == key


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64, b"\0" * 32])
def test_what_is_no_key_is_refused_and_stays(layout: Layout, content: bytes) -> None:
    path = layout.id_key()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(BucketError, match=f"{path} is not a key of this pipeline"):
        id_key(path)
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_is_named(layout: Layout) -> None:
    layout.id_key().mkdir(parents=True)
    with pytest.raises(BucketError, match=f"{layout.id_key()}, the key of ids, cannot be read"):
        id_key(layout.id_key())


def test_a_lost_key_is_not_made_anew(layout: Layout) -> None:
    Manifest("raw", dt.date(2016, 8, 1), "").write(layout.manifest(Stage.RAW, dt.date(2016, 8, 1)))
    with pytest.raises(BucketError, match="is gone, but buckets were proven with it"):
        id_key(layout.id_key())
    assert not layout.id_key().exists()
