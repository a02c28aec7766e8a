"""A manifest: a stage's proof for one bucket, written last, read instead of a listing."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.tally import Tally

FORMAT = 1


@dataclass
class ReportRecord:
    """What a stage did with one report. Fields that do not apply stay at their default and are not written.

    ``report`` is the report's name in the seed's form without extension: unique in the bucket, the same
    in every stage. ``name`` is the file in the stage's directory (None: the stage made no file), ``size``
    its bytes, ``digest`` the hexadecimal SHA-256 of its bytes. ``source`` is the digest of what it was
    made from. A raw record adds where the file came from and ``content``, the digest of its uncompressed
    bytes, by which the same report is known again.
    """

    report: str
    name: str | None = None
    size: int = 0
    digest: str = ""
    source: str = ""
    counts: Tally = field(default_factory=Tally)
    rejected: str = ""
    detail: str = ""
    duplicate_of: str = ""
    collector: str = ""
    path: str = ""
    modified: str = ""
    fetched: str = ""
    content: str = ""

    @property
    def usable(self) -> bool:
        """Whether the next stage has anything to do with it."""
        return self.name is not None and not self.rejected and not self.duplicate_of

    def as_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tally):
                value = value.as_dict() if value.taken or value.notes else None
            if value not in (None, "") and (item.name != "size" or self.name is not None):
                record[item.name] = value
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> ReportRecord:
        return cls(**{**record, "counts": Tally.from_dict(record.get("counts", {}))})


@dataclass
class Manifest:
    """The proof: ``version`` says by which code and settings the stage made it, ``made`` when (UTC).

    ``facts`` hold what else a later reader must know (the bridge table's digest, collectors that could
    not be reached). Never anything that a report contains.
    """

    stage: str
    bucket_date: dt.date
    made: str
    version: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    reports: list[ReportRecord] = field(default_factory=list)

    def tally(self) -> Tally:
        """The entries of the whole bucket."""
        total = Tally()
        for record in self.reports:
            total.add(record.counts)
        return total

    def usable(self) -> dict[str, ReportRecord]:
        """The reports that the next stage works on, by report."""
        return {record.report: record for record in self.reports if record.usable}

    def write(self, path: Path) -> None:
        """Write it in one breath: whoever finds the file finds all of it, one report a line."""
        head = {
            "format": FORMAT,
            "stage": self.stage,
            "bucket_date": self.bucket_date.isoformat(),
            "made": self.made,
            "version": self.version,
            "facts": self.facts,
            "entries": self.tally().as_dict(),
        }
        lines = ",\n".join(json.dumps(record.as_dict(), ensure_ascii=True) for record in self.reports)
        text = json.dumps(head, ensure_ascii=True)[:-1] + f', "reports": [\n{lines}\n]}}\n'
        with whole_file(path) as part:
            part.write_text(text, encoding="ascii")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest. Raises BucketError where it is missing or is none."""
        try:
            data = json.loads(path.read_bytes())
            if data["format"] != FORMAT:
                raise BucketError(f"{path} has format {data['format']}; this code reads format {FORMAT}")
            return cls(
                stage=data["stage"],
                bucket_date=dt.date.fromisoformat(data["bucket_date"]),
                made=data["made"],
                version=data["version"],
                facts=data["facts"],
                reports=[ReportRecord.from_dict(record) for record in data["reports"]],
            )
        except FileNotFoundError:
            raise BucketError(f"there is no manifest {path}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BucketError(f"{path} is not a manifest ({type(error).__name__})") from None


def timestamp(moment: dt.datetime) -> str:
    """A UTC time as manifests write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write; when the block ends well the file stands at ``path``, whole and flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        flush(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    flush(path.parent)


def flush(path: Path) -> None:
    """Make a file's bytes, or a directory's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
