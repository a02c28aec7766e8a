"""The plan of a fetch: which files a bucket takes from which collectors, and what each is called here."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ooni_pipeline.bucket.files import whole_file
from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.errors import BucketError, RejectReason, TransferError
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import format_report_name, marked, parse_report_name
from ooni_pipeline.transfer.collectors import Collector, Listed, inside

#: So many files are asked for at once: few requests over a wire, and yet progress.
BATCH = 5000

Item = TypeVar("Item")

_EXTENSIONS = re.compile(r"(?:\.(?:json|yaml))?(?:\.gz)?\Z")


@dataclass(frozen=True)
class Planned:
    """One file to take: where it is, what it must be (bytes, SHA-256), and its name in the bucket.

    ``problem`` is a reason for which it cannot be taken, or cannot be read as a report. A file that
    cannot be taken has no digest.
    """

    collector: str
    path: str
    size: int
    modified: str
    digest: str
    name: str
    problem: str = ""

    @property
    def report(self) -> str:
        return report_of(self.name)

    def replaced_by(self, record: ReportRecord) -> Planned:
        """What the plan says once the report was cut, or was withdrawn and has no name any more."""
        if record.name is None:
            return Planned(self.collector, "", 0, "", "", record.report, record.rejected)
        return dataclasses.replace(self, size=record.size, digest=record.digest, name=record.name)


@dataclass
class Plan:
    """What a bucket takes, in the order in which it was listed; by collector, why it did not give all that
    it has (``unreachable``), and how many files were left there because somebody still wrote them."""

    bucket_date: dt.date
    files: list[Planned] = field(default_factory=list)
    unreachable: dict[str, str] = field(default_factory=dict)
    unsettled: dict[str, int] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        lines = ",\n".join(json.dumps(vars(planned)) for planned in self.files)
        head = json.dumps(
            {
                "bucket_date": self.bucket_date.isoformat(),
                "unreachable": self.unreachable,
                "unsettled": self.unsettled,
            }
        )
        with whole_file(path) as part:
            part.write_text(f'{head[:-1]}, "files": [\n{lines}\n]}}\n', encoding="ascii")

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan. Raises BucketError, which names the file, where it cannot be read or is none."""
        try:
            data = json.loads(path.read_bytes())
            return cls(
                dt.date.fromisoformat(data["bucket_date"]),
                [Planned(**planned) for planned in data["files"]],
                dict(data["unreachable"]),
                dict(data.get("unsettled", {})),  # plans of old have none
            )
        except OSError as error:
            raise BucketError(f"the plan {path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BucketError(f"{path} is not a plan of a fetch ({type(error).__name__})") from None


def is_settled(listed: Listed, settle_seconds: float) -> bool:
    """Whether a file is final as far as a listing can tell: it has not changed for so long, by the clock of
    the machine where it lies. (That it is the same when its digest is computed is seen to there.)"""
    return bool(listed.problem) or settle_seconds <= 0 or listed.age >= settle_seconds


def extend_plan(
    plan: Plan,
    collector: Collector,
    listing: Iterable[Listed],
    key: bytes,
    taken: Iterable[str] = (),
    settle_seconds: float = 0,
) -> Plan:
    """The plan with every listed file of a collector added that it does not hold yet and that is final.

    A file that is known by collector, path and digest is not taken twice; one that has changed since is a
    new file. Names never clash, neither with each other nor with the reports ``taken``. Raises
    TransferError when the collector cannot be reached any more; the plan given stays as it is.
    """
    known = {(planned.collector, planned.path, planned.digest) for planned in plan.files}
    names = {planned.report for planned in plan.files}.union(taken)
    files = list(plan.files)
    unsettled = 0
    for batch in batches(listing, BATCH):
        final = [listed for listed in batch if is_settled(listed, settle_seconds)]
        problems = [listed.problem or _refused(listed.path) for listed in final]
        ask = [listed.path for listed, problem in zip(final, problems, strict=True) if not problem]
        digests = collector.digests(ask) if ask else {}
        unsettled += len(batch) - len(final)
        for listed, problem in zip(final, problems, strict=True):
            if not problem and listed.path not in digests:
                unsettled += 1
                continue
            digest = None if problem else digests[listed.path]
            if digest is None:
                problem = problem or RejectReason.UNREADABLE.value
            identity = (collector.name, listed.path, digest or "")
            if identity in known:
                continue
            name, misnamed = free_name(listed.path, digest or "", key, names.__contains__)
            names.add(report_of(name))
            known.add(identity)
            files.append(
                Planned(
                    collector.name, listed.path, listed.size, listed.modified, digest or "", name,
                    problem or misnamed,
                )
            )  # fmt: skip
    left = {**plan.unsettled, collector.name: unsettled}
    return Plan(
        plan.bucket_date, files, plan.unreachable, {name: number for name, number in left.items() if number}
    )


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items, so many at a time."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _refused(path: str) -> str:
    try:
        inside(path)
    except TransferError:
        return RejectReason.NAME_NOT_UNDERSTOOD.value
    return ""


def free_name(path: str, digest: str, key: bytes, taken: Callable[[str], bool]) -> tuple[str, str]:
    """The name of a file in its bucket, and the reason why it is no report's name (empty when it is).

    A report's name is written in the seed's form. Where the bucket has that report already, the report_id
    field gets ``_`` and 8 hexadecimal digits of a keyed digest of the file, so nothing is overwritten. A
    name that nobody understands is kept behind ``unnamed_`` and such digits, made harmless.
    """
    names, problem = names_of(path, digest, key)
    return next(name for name in names if not taken(report_of(name))), problem


def names_of(path: str, digest: str, key: bytes) -> tuple[Iterator[str], str]:
    """The names that a file may get, the first that is free counts; and why it is no report's name."""
    marks = (_mark(path, digest, key, number) for number in itertools.count())
    try:
        parsed = parse_report_name(path)
    except BadReport as bad:
        plain = re.sub(r"[^A-Za-z0-9._]+", "_", PurePosixPath(path).name)[-100:]
        return (f"unnamed_{mark[:16]}_{plain}" for mark in marks), bad.reason.value
    others = (format_report_name(marked(parsed, mark)) for mark in marks)
    return itertools.chain([format_report_name(parsed)], others), ""


def _mark(path: str, digest: str, key: bytes, number: int) -> str:
    # The same file of another collector has the same path and digest: the number tells them apart.
    told = [digest.encode(), path.encode("utf-8", "surrogatepass"), str(number).encode()]
    return hmac.new(key, b"\0".join(told), hashlib.sha256).hexdigest()


def report_of(name: str) -> str:
    """The report's name: that of its file in the bucket without extension."""
    return name[: _EXTENSIONS.search(name).start()]  # type: ignore[union-attr]  # it matches the empty end
