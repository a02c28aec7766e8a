"""Giving an archived report its new place: in one step, never over what is there, ready to be fetched."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from ooni_pipeline.bucket.files import open_plain, rename_at_once, settle_flushed
from ooni_pipeline.collector.layout import ERRORED, CollectorLayout
from ooni_pipeline.report.names import MAX_NAME_BYTES, ReportName, format_report_name, marked

#: The directory that is fetched: the group of the pipeline's account removes files there, and what is made
#: there is the group's. Its files: read by that group.
OUTGOING_MODE, REPORT_MODE = 0o2770, 0o640
_ENDING = re.compile(r"(?:\.[A-Za-z]{1,10}){0,2}\Z")


def make_directories(layout: CollectorLayout) -> None:
    """Make what is not there yet. Raises OSError; ConfigurationError where it is on another file system."""
    layout.renamed.mkdir(parents=True, exist_ok=True)
    private = (layout.errored, *map(layout.errored_for, ERRORED), layout.renames)
    for place in private:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.check_one_file_system()
    for place in (layout.renamed, *private):  # else each report would seem to be one that we may not touch
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"{place}/")
    if stat.S_IMODE(layout.renamed.stat().st_mode) != OUTGOING_MODE:
        with contextlib.suppress(PermissionError):  # another's: it is as its owner wants it
            layout.renamed.chmod(OUTGOING_MODE)


def outgoing_names(name: ReportName) -> Iterator[str]:
    """The file names that a report may get, the first that is free counts; without end."""
    ending = ".gz" if name.compressed else ""
    yield format_report_name(name) + ending
    while True:
        yield format_report_name(marked(name, secrets.token_hex(4))) + ending


def set_aside_names(base_name: str) -> Iterator[str]:
    """The file names that an errored report may get: its old one, else with a mark before its ending."""
    yield base_name
    while True:
        ending = _ENDING.search(base_name)[0]  # type: ignore[index]  # it matches the empty end
        stem, mark = base_name[: len(base_name) - len(ending)], f"_{secrets.token_hex(4)}{ending}"
        yield os.fsdecode(os.fsencode(stem)[: MAX_NAME_BYTES - len(mark)]) + mark


def make_readable(path: Path, outgoing: Path) -> None:
    """Let the group of the outgoing directory read a report, nobody else; its modification time stays.

    Raises OSError, also for what is no regular file.
    """
    group = outgoing.stat().st_gid
    with open_plain(path) as file:
        status = os.fstat(file.fileno())
        if status.st_gid != group:
            os.fchown(file.fileno(), -1, group)
        if stat.S_IMODE(status.st_mode) != REPORT_MODE:
            os.fchmod(file.fileno(), REPORT_MODE)


def move(source: Path, destination: Path) -> None:
    """Rename a file, or a link itself; raises FileExistsError where something is there, and OSError."""
    if not rename_at_once(source, destination):
        settle_flushed(source, destination)


def is_half_moved(source: Path, destination: Path) -> bool:
    """Whether a file has both names: it was linked, where no better can be had, and the run died."""
    try:
        return os.path.samestat(source.lstat(), destination.lstat())
    except FileNotFoundError:
        return False
