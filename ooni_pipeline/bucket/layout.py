"""Every path of the pipeline, spelled once."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Stage(str, Enum):
    """The stages that prove a bucket by a manifest. (The database's proof is a row: see database/.)"""

    RAW = "raw"
    BACKUP = "backup"
    REMOVED = "removed"
    NORMALISED = "normalised"
    SANITISED = "sanitised"
    PUBLISHED = "published"


@dataclass(frozen=True)
class Layout:
    """The two trees: ``private`` holds everything, ``public`` what the leak check has passed."""

    private: Path
    public: Path

    def bucket(self, stage: Stage, bucket_date: dt.date) -> Path:
        """The directory that holds a stage's files of one bucket."""
        roots = {
            Stage.RAW: self.private / "reports-raw" / "yaml",
            Stage.NORMALISED: self.private / "normalised",
            Stage.SANITISED: self.private / "sanitised",
            Stage.PUBLISHED: self.public,
        }
        return roots[stage] / bucket_date.isoformat()

    def manifest(self, stage: Stage, bucket_date: dt.date) -> Path:
        """The proof that a stage is done with a bucket."""
        return self.manifests(stage) / f"{bucket_date.isoformat()}.json"

    def manifests(self, stage: Stage) -> Path:
        return self.private / "manifests" / stage.value

    def forgotten(self, stage: Stage, bucket_date: dt.date) -> Path:
        """The manifest that ``tasks.forget`` put aside: what the stage may carry over when it runs again."""
        return self.manifests(stage) / f"{bucket_date.isoformat()}.forgotten.json"

    def plan(self, bucket_date: dt.date) -> Path:
        """What fetch decided to take from the collectors, written before the first copy."""
        return self.private / "manifests" / "plans" / f"{bucket_date.isoformat()}.json"

    def spool(self, collector: str) -> Path:
        """Where files of a collector arrive before they have a place: on the disk of the raw buckets, hidden,
        and kept when a connection breaks, so that the next run goes on."""
        mark = hashlib.sha256(collector.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self.private / "reports-raw" / f".fetch-{mark}"

    def sent(self, bucket_date: dt.date) -> Path:
        """What a backup that is under way has put, a line each: gone once its manifest is there."""
        return self.manifests(Stage.BACKUP) / f"{bucket_date.isoformat()}.sent.jsonl"

    def cleaned(self, bucket_date: dt.date) -> Path:
        """Says that raw files of a bucket may be in the backup alone, since when, and how many were freed."""
        return self.private / "manifests" / "cleaned" / f"{bucket_date.isoformat()}.json"

    def sealing(self) -> Path:
        """Where files are encrypted before they go into the backup: none stays there."""
        return self.private / "sealing"

    def report_index(self) -> Path:
        """Which bucket had a report first: derived from the raw manifests, made anew when it is missing."""
        return self.private / "manifests" / "reports.sqlite"

    def known_bridges(self) -> Path:
        """Keyed digests of the bridges that buckets were sanitised with."""
        return self.private / "manifests" / "known_bridges.json"

    def site(self) -> Path:
        """What the public site shows, noted when it was made."""
        return self.private / "manifests" / "site.json"

    def rejected(self, stage: Stage, bucket_date: dt.date) -> Path:
        return self.private / "rejected" / stage.value / bucket_date.isoformat()

    def rejected_rows(self, bucket_date: dt.date) -> Path:
        """What PostgreSQL would not take, with its SQLSTATE."""
        return self.private / "rejected" / "load" / bucket_date.isoformat()

    def held(self, bucket_date: dt.date) -> Path:
        return self.private / "held" / bucket_date.isoformat()

    def decisions(self, bucket_date: dt.date) -> Path:
        """Since when reports of a bucket are held, and what a person decided about them."""
        return self.private / "decisions" / f"{bucket_date.isoformat()}.json"

    def held_dates(self) -> list[dt.date]:
        """The dates of which reports are held or were decided on, in order."""
        return sorted({*dates_of(self.private / "decisions", ".json"), *dates_of(self.private / "held", "")})

    def withdrawn(self) -> Path:
        """The records of what was withdrawn, with its tombstones: kept for ever, and in the backup."""
        return self.private / "withdrawn"

    def withdrawing(self) -> Path:
        """What is left to do of withdrawals. Unlike the records it has names; it goes when that is done."""
        return self.private / "withdrawing"

    def id_key(self) -> Path:
        """The secret behind measurement ids: without it nobody can test a guess of what was removed."""
        return self.private / "keys" / "id.key"

    def scratch(self) -> Layout:
        """Trees of no account, in which a stage can be tried: see bucket.scratch."""
        return Layout(self.private / "scratch", self.private / "scratch" / "public")

    def lock(self, name: str, bucket_date: dt.date | None = None) -> Path:
        """The lock of one stage and bucket, or of something that there is once."""
        return self.private / "locks" / (f"{name}-{bucket_date}.lock" if bucket_date else f"{name}.lock")

    def database(self) -> Path:
        """The data directory of the embedded PostgreSQL."""
        return self.private / "database"

    def manifest_dates(self, stage: Stage) -> list[dt.date]:
        """The dates for which a stage has a manifest, in order."""
        return dates_of(self.manifests(stage), ".json")

    def forgotten_dates(self, stage: Stage) -> list[dt.date]:
        """The dates for which a manifest of a stage was put aside, in order."""
        return dates_of(self.manifests(stage), ".forgotten.json")


def dates_of(directory: Path, suffix: str = "") -> list[dt.date]:
    """The dates that name files, or directories, there with this suffix, in order."""
    if not directory.is_dir():
        return []
    dates = []
    for path in directory.iterdir():
        name = path.name.removesuffix(suffix)
        try:
            date = dt.date.fromisoformat(name)
        except ValueError:
            continue
        if path.name == f"{date.isoformat()}{suffix}":
            dates.append(date)
    return sorted(dates)
