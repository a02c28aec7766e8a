"""A manifest: a stage's proof for one bucket, written last, read instead of a listing."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ooni_pipeline.bucket.files import whole_file
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.tally import Tally

FORMAT = 1
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class ReportRecord:
    """What a stage did with one report. Fields that do not apply stay at their default and are not written.

    ``report`` is the report's name in the seed's form without extension: unique in the bucket, the same
    in every stage. ``name`` is the file in the stage's directory (None: the stage made no file), ``size``
    its bytes, ``digest`` the hexadecimal SHA-256 of its bytes (normalised files: see normalise.duplicates).
    ``source`` is the digest of what it was made from. A raw record adds where the file came from and
    ``content``, the digest of its uncompressed bytes, by which the same report is known again. A record of
    the backup has the object's key for its name, and adds the ``mark`` by which the store's listing tells
    that nobody has changed the object.
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
    mark: str = ""

    @property
    def usable(self) -> bool:
        """Whether the next stage has anything to do with it."""
        return self.name is not None and not self.rejected and not self.duplicate_of

    def as_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for name, value in vars(self).items():  # in the order of the fields
            if isinstance(value, Tally):
                value = value.as_dict() if value.taken or value.notes else None
            if value not in (None, "") and (name != "size" or self.name is not None):
                record[name] = value
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> ReportRecord:
        """The record that :meth:`as_dict` wrote. Raises ValueError, KeyError or TypeError for any other."""
        for name, value in record.items():
            kind = _KINDS.get(name, str)
            if not isinstance(value, kind) and (name != "name" or value is not None):
                raise TypeError(name)
        made = cls(**record)
        if isinstance(counts := record.get("counts"), dict):
            made.counts = Tally.from_dict(counts)
        if made.name is not None and not _stays_below(made.name):
            raise ValueError("name")
        return made


#: What the fields of a record are in a manifest; those that are not here are text.
_KINDS: dict[str, type] = {"size": int, "counts": dict}


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
        """The reports that the next stage works on, by report. Raises BucketError where two are one."""
        usable = [record for record in self.reports if record.usable]
        by_report = {record.report: record for record in usable}
        if len(by_report) != len(usable):
            raise BucketError(f"the {self.stage} manifest of bucket {self.bucket_date} names a report twice")
        return by_report

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
        """Read a manifest. Raises BucketError, which names the file, where it is missing or is none."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise BucketError(f"there is no manifest {path}") from None
        except OSError as error:
            raise BucketError(f"the manifest {path} cannot be read: {error.strerror}") from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, where: str) -> Manifest:
        """The manifest in these bytes. Raises BucketError, which says ``where`` they are from."""
        try:
            value = json.loads(data)
            if value["format"] != FORMAT:
                raise BucketError(f"{where} has format {value['format']!r}; this code reads format {FORMAT}")
            return cls(
                stage=str(value["stage"]),
                bucket_date=dt.date.fromisoformat(value["bucket_date"]),
                made=str(value["made"]),
                version=str(value["version"]),
                facts=dict(value["facts"]),
                reports=[ReportRecord.from_dict(record) for record in value["reports"]],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BucketError(f"{where} is not a manifest ({type(error).__name__})") from None


def read_proof(layout: Layout, stage: Stage, bucket_date: dt.date) -> Manifest:
    """The manifest of a stage for a bucket. Raises BucketError also where it is that of another one."""
    path = layout.manifest(stage, bucket_date)
    manifest = Manifest.read(path)
    if (manifest.stage, manifest.bucket_date) != (stage.value, bucket_date):
        raise BucketError(f"{path} is the manifest of {manifest.stage} {manifest.bucket_date}")
    return manifest


def timestamp(moment: dt.datetime) -> str:
    """A UTC time as manifests write it."""
    return moment.strftime(_TIME)


def moment(text: str) -> dt.datetime:
    """The UTC time, naive, that :func:`timestamp` wrote. Raises BucketError for any other text."""
    try:
        return dt.datetime.strptime(text, _TIME)
    except ValueError:
        raise BucketError("a manifest has a time that is none") from None


def _stays_below(name: str) -> bool:
    if "/" not in name and "\0" not in name:
        return name not in ("", ".", "..")
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
