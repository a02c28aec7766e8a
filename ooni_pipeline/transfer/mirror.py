"""The mirror machine's copy of the public tree: pulled into a hidden spool, checked, put in place.

What is served is always whole: a bucket is the former one or the new one, and pages come after what they link
to. A pull that breaks off leaves all as it was, and the next one goes on from what lies in the spool.
"""

from __future__ import annotations

import datetime as dt
import filecmp
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest, flush_file_system, whole_file
from ooni_pipeline.bucket.layout import dates_of
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.replace import make_public, open_to_everybody, put_in_place
from ooni_pipeline.errors import TransferError
from ooni_pipeline.site.bucket_page import INDEX, SUMS

#: Copies what lies at a path below the public tree (``""`` for all of it, else with a ``/`` at its end) into
#: a directory, with these options of rsync. Raises TransferError.
Pull = Callable[[str, Path, Sequence[str]], None]

SPOOL = ".spool"
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
#: So many characters of a name, with an ending of ours, are a name for every file system.
_LONGEST = 60
_BUCKET = re.compile(_DATE)
_SUM = re.compile(r"([0-9a-f]{64})  ([^/\0\n.][^/\0\n]*)")
#: Files and directories alone, and what is gone there goes here.
_PLAIN = ("--recursive", "--delete")
#: Times to the nanosecond: a file that was replaced within a second may have as many bytes as before.
_TIMES = ("--times", "--modify-window=-1")
#: Contents, not times: what a bucket had before it was replaced is linked, not stored and sent once more.
_CONTENTS = ("--checksum", "--no-times")
#: Where rsync keeps half a file, for the next run to go on with.
_PARTIAL = ".rsync-partial"
#: In this order: what is linked to comes before what links to it. Others come between.
_FIRST, _LAST = ("style.css", "about.html"), ("changes.jsonl", INDEX, "index.html")
#: A bucket may be replaced over there while we copy it: so often is it tried.
_TRIES = 2


@dataclass
class Mirrored:
    """What a pull did: buckets that came or were replaced, that went, and what could not be taken."""

    taken: list[dt.date] = field(default_factory=list)
    removed: list[dt.date] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def mirror(
    directory: Path, pull: Pull, waits: Callable[[int | None], None] = lambda holder: None
) -> Mirrored:
    """Make ``directory`` what the public tree is. Raises TransferError where that cannot be reached, or has
    no index; a bucket that does not arrive as its SHA256SUMS says stays as it was, and is told."""
    spool = directory / SPOOL
    make_public(directory)
    spool.mkdir(mode=0o700, exist_ok=True)
    done = Mirrored()
    with one_writer(spool / "lock", waits):
        top, sums = spool / "top", spool / "sums"
        # The pages first: what they link to, pulled after them, is at least as new as they are.
        hidden = ("--exclude=.*", f"--exclude=/{_DATE}/", f"--link-dest={directory}")
        pull("", top, (*_PLAIN, *_TIMES, *hidden))
        listed = _listed(top)
        only = (f"--include=/{_DATE}/", f"--include=/{_DATE}/{SUMS}", "--exclude=*", "--delete-excluded")
        pull("", sums, (*_PLAIN, *_TIMES, *only))
        there = {date for date in dates_of(sums) if (sums / str(date) / SUMS).is_file()}
        for date in sorted(there):
            if _differs(sums / str(date) / SUMS, directory / str(date) / SUMS):
                try:
                    _take(directory, spool, pull, date)
                    done.taken.append(date)
                except TransferError as error:
                    done.problems.append(f"bucket {date} stays as it was: {error}")
        # Of which neither a listing nor the index knows: one of the two alone may be cut short.
        for date in set(dates_of(directory)) - there - listed:
            _drop(directory / str(date), spool)
            done.removed.append(date)
        _put_pages(top, directory, spool)
        for left in spool.iterdir():
            if (
                left.is_dir() and not left.is_symlink() and left != sums
            ):  # of runs that died, of buckets that went
                shutil.rmtree(left)
    return done


def _listed(top: Path) -> set[dt.date]:
    """The buckets that the index names. Raises TransferError where there is none: who knows what that is."""
    try:
        index = json.loads((top / INDEX).read_bytes())
        return {dt.date.fromisoformat(bucket["bucket_date"]) for bucket in index["buckets"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise TransferError(
            f"[mirror] source has no {INDEX} of ours: is it the public directory, and was a night done there?"
        ) from None


def _differs(theirs: Path, ours: Path) -> bool:
    return not ours.is_file() or not filecmp.cmp(theirs, ours, shallow=False)


def _take(directory: Path, spool: Path, pull: Pull, date: dt.date) -> None:
    """Pull one bucket, check it, put it in place. Files that are as before are the former files."""
    fresh, place = spool / f"{date}.new", directory / str(date)
    former = (f"--link-dest={place}",) if place.is_dir() else ()
    for attempt in range(_TRIES):
        try:
            pull(f"{date}/", fresh, (*_PLAIN, *_CONTENTS, *former))
            shutil.rmtree(fresh / _PARTIAL, ignore_errors=True)
            _check(fresh)
            break
        except TransferError:
            if attempt + 1 == _TRIES:
                raise
    open_to_everybody(fresh)
    flush_file_system(fresh)
    _put(fresh, place, spool)


def _check(bucket: Path) -> None:
    """A bucket is what its SHA256SUMS says, no file more or less. Raises TransferError."""
    try:
        lines = (bucket / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise TransferError(f"its {SUMS} did not arrive") from None
    wanted: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _SUM.fullmatch(line)
        if match is None:
            raise TransferError(f"line {number} of its {SUMS} is none")
        wanted[match[2]] = match[1]
    there = {path.name: path for path in bucket.iterdir()}
    # The first buckets that this project published have two files that their SHA256SUMS does not name.
    others = there.keys() - wanted.keys() - {SUMS, INDEX, "index.html"}
    wrong = [name for name, digest in wanted.items() if not _is(there.get(name), digest)]
    if wrong or others:
        raise TransferError(f"{len(wrong)} files are not as its {SUMS} says, {len(others)} are not in it")


def _is(path: Path | None, digest: str) -> bool:
    return path is not None and path.is_file() and not path.is_symlink() and file_digest(path) == digest


def _drop(directory: Path, spool: Path) -> None:
    """Away in one step, for whoever looks."""
    if not directory.is_dir() or directory.is_symlink():
        directory.unlink(missing_ok=True)
        return
    gone = spool / f"{directory.name[:_LONGEST]}.gone"
    shutil.rmtree(gone, ignore_errors=True)
    directory.rename(gone)
    shutil.rmtree(gone)


def _put_pages(top: Path, directory: Path, spool: Path) -> None:
    open_to_everybody(top)
    flush_file_system(top)
    pages = [
        path for path in top.iterdir() if not (path.name.startswith(".") or _BUCKET.fullmatch(path.name))
    ]
    names, known = {path.name for path in pages}, spool / "pages.json"
    former = _noted(known)
    _note(known, former | names)
    for path in sorted(pages, key=_turn):
        place = directory / path.name
        if os.path.lexists(place) and path.is_dir() != place.is_dir():
            _drop(place, spool)
        if path.is_dir():
            _put(path, place, spool)
        else:
            path.replace(place)
    for name in former - names:  # what is gone there; what somebody else put here stays
        _drop(directory / name, spool)
    _note(known, names)


def _noted(path: Path) -> set[str]:
    """The names that former runs put into the top directory."""
    try:
        return {
            name for name in json.loads(path.read_bytes()) if "/" not in name and name[:1] not in ("", ".")
        }
    except (OSError, ValueError, TypeError):
        return set()


def _note(path: Path, names: Iterable[str]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(sorted(names)), encoding="ascii")


def _put(fresh: Path, place: Path, spool: Path) -> None:
    former = spool / f"{place.name[:_LONGEST]}.old"
    shutil.rmtree(former, ignore_errors=True)  # left by a run that died
    put_in_place(fresh, place, former)


def _turn(path: Path) -> tuple[int, int, str]:
    """Style, directories, files, then the three that lead to all the rest."""
    places: Iterable[Sequence[str]] = (_FIRST, _LAST)
    for group, names in zip((0, 3), places, strict=True):
        if path.name in names:
            return group, names.index(path.name), path.name
    return (1 if path.is_dir() else 2), 0, path.name
