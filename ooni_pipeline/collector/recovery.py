"""Going on with what another process left in staging, wherever it died."""

from __future__ import annotations

import logging
import re
from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

from ooni_pipeline.bucket.files import flush, flush_file_system
from ooni_pipeline.collector import journal
from ooni_pipeline.collector.header import is_report_id
from ooni_pipeline.collector.refusals import DamagedError
from ooni_pipeline.collector.staging import DONE, ENTRIES, PART, SIDE, Staging, free_place
from ooni_pipeline.errors import told

_log = logging.getLogger("ooni_pipeline.collector")
_NAME = re.compile(rf"(?P<id>[^.]+)(?P<suffix>\{SIDE}|\{ENTRIES}|\{DONE})?(?P<part>\{PART})?")


@dataclass
class Left:
    """An open report that was found: its journal is whole lines, ``length`` bytes.

    ``silent`` are the seconds since its last update. ``last`` are the hashes of lines of which nobody can
    know whether their clients were told.
    """

    format: Literal["json", "yaml"]
    length: int
    silent: float
    last: array[int]


@dataclass
class Recovered:
    """What was found: open reports by id, how many went to quarantine, were archived, or dropped."""

    reports: dict[str, Left] = field(default_factory=dict)
    quarantined: int = 0
    archived: int = 0


def recover(staging: Staging, now: float) -> Recovered:
    """Bring staging into order: afterwards it holds open reports and nothing else. Blocks.

    Nothing is deleted but what is known to be no entry: half files of ours, what follows the last line end
    of a journal, side files of finished reports, empty journals that nobody was told of.
    """
    recovered = Recovered()
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(staging.layout.staging.iterdir(), key=lambda path: path.name):
        name = _NAME.fullmatch(path.name)
        is_ours = name is not None and is_report_id(name["id"]) and (name["suffix"] or name["part"])
        if name is None or not is_ours or (name["part"] and path.is_dir()):
            staging.set_aside(path)
            recovered.quarantined += 1
            _log.error("a file in staging that is not ours is in quarantine now")
        elif name["part"]:
            path.unlink()
        else:
            found[name["id"]].add(name["suffix"])
    # What died may have moved reports without having flushed it.
    flush(staging.layout.archive)
    for report_id, suffixes in found.items():
        try:
            _recover_one(staging, report_id, suffixes, now, recovered)
        except (DamagedError, OSError) as error:
            staging.quarantine(report_id)
            recovered.quarantined += 1
            why = error.strerror if isinstance(error, OSError) else told(error)
            _log.error("report %s is in quarantine: %s", report_id, why)
    # Repetitions of what was found are answered with success: so it must be on disk, whoever wrote it.
    flush_file_system(staging.layout.staging)
    return recovered


def _recover_one(
    staging: Staging, report_id: str, suffixes: set[str], now: float, recovered: Recovered
) -> None:
    entries = staging.path(report_id, ENTRIES)
    if SIDE not in suffixes:
        if suffixes == {ENTRIES} and entries.is_file() and not entries.lstat().st_size:
            entries.unlink()
            return
        raise DamagedError("its side file is gone")
    header = staging.header(report_id)
    if DONE in suffixes and header.format == "json":
        raise DamagedError("it has a file that a JSON report never has")
    if suffixes != {SIDE, ENTRIES}:
        staging.archive(report_id)
        recovered.archived += DONE in suffixes
        return
    looked = journal.look(entries, header.format)
    kept = free_place(staging.layout.quarantine, f"{report_id}.lines")
    length = journal.mend(entries, looked, kept)
    if looked.bad:
        recovered.quarantined += 1
        _log.error(
            "report %s: %d lines that are no entry are in quarantine; it goes on", report_id, len(looked.bad)
        )
    silent = max(0.0, now - looked.modified / 1e9)  # a clock that was set back: as if it had just come
    recovered.reports[report_id] = Left(header.format, length, silent, array("q", looked.last))
