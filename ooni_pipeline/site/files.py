"""Files of the site, which keep their times while they stay the same: who mirrors takes the others alone."""

from __future__ import annotations

import contextlib
import filecmp
import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from ooni_pipeline.bucket.files import flush_file_system, whole_file
from ooni_pipeline.bucket.replace import open_to_everybody, put_in_place


def write_if_changed(path: Path, text: str) -> None:
    """The file has this text; one that has it already is not touched."""
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return
    with whole_file(path) as part:
        part.write_bytes(data)
        part.chmod(0o644)


@contextlib.contextmanager
def packed(path: Path) -> Iterator[BinaryIO]:
    """A gzip file to be written; the same bytes go in, the same come out."""
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as plain,
    ):
        yield cast(BinaryIO, plain)


def replace_directory(directory: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a fresh directory, which then takes the place of this one in one step. Its files
    that are as before are the former files."""
    fresh, former = (directory.with_name(f".{directory.name}.{what}") for what in ("new", "old"))
    for left in (fresh, former):  # by a run that died
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        write(fresh)
        open_to_everybody(fresh)
        _keep_the_same(fresh, directory)
        flush_file_system(fresh)
        put_in_place(fresh, directory, former)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _keep_the_same(fresh: Path, directory: Path) -> None:
    for path in fresh.rglob("*"):
        old = directory / path.relative_to(fresh)
        if path.is_file() and old.is_file() and filecmp.cmp(path, old, shallow=False):
            path.unlink()
            with contextlib.suppress(OSError):
                os.link(old, path)
                continue
            shutil.copy2(old, path)  # a file system without links
