"""The plan of a fetch: which files a bucket takes from which collectors, and what each is called here."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ooni_pipeline.bucket.manifest import whole_file
from ooni_pipeline.errors import BucketError, RejectReason
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import format_report_name, parse_report_name
from ooni_pipeline.transfer.collectors import Collector, Listed

_EXTENSIONS = re.compile(r"(?:\.(?:json|yaml))?(?:\.gz)?\Z")


@dataclass(frozen=True)
class Planned:
    """One file to take: where it is, what it must be (bytes, SHA-256), and its name in the bucket.

    ``problem`` is a reason for which it cannot be taken, or cannot be read as a report.
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


@dataclass
class Plan:
    """What a bucket takes, in the order in which it was listed; collectors that could not be reached."""

    bucket_date: dt.date
    files: list[Planned] = field(default_factory=list)
    unreachable: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        lines = ",\n".join(json.dumps(dataclasses.asdict(planned)) for planned in self.files)
        head = json.dumps({"bucket_date": self.bucket_date.isoformat(), "unreachable": self.unreachable})
        with whole_file(path) as part:
            part.write_text(f'{head[:-1]}, "files": [\n{lines}\n]}}\n', encoding="ascii")

    @classmethod
    def read(cls, path: Path) -> Plan:
        try:
            data = json.loads(path.read_bytes())
            return cls(
                dt.date.fromisoformat(data["bucket_date"]),
                [Planned(**planned) for planned in data["files"]],
                data["unreachable"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BucketError(f"{path} is not a plan of a fetch ({type(error).__name__})") from None


def extend_plan(plan: Plan, listings: Iterable[tuple[Collector, Iterable[Listed]]], key: bytes) -> Plan:
    """The plan with every listed file added that it does not hold yet.

    A file that is known by collector, path and digest is not taken twice; one that has changed since is a
    new file. Names never clash: see :func:`free_name`.
    """
    known = {(planned.collector, planned.path, planned.digest) for planned in plan.files}
    taken = {planned.report for planned in plan.files}
    files = list(plan.files)
    for collector, listing in listings:
        for listed in listing:
            digest = "" if listed.problem else collector.digest(listed.path)
            problem = listed.problem if digest is not None else RejectReason.UNREADABLE.value
            if (collector.name, listed.path, digest or "") in known:
                continue
            name, misnamed = free_name(listed.path, digest or "", key, taken.__contains__)
            taken.add(report_of(name))
            files.append(
                Planned(
                    collector.name, listed.path, listed.size, listed.modified, digest or "", name,
                    problem or misnamed,
                )
            )  # fmt: skip
    return Plan(plan.bucket_date, files, plan.unreachable)


def free_name(path: str, digest: str, key: bytes, taken: Callable[[str], bool]) -> tuple[str, str]:
    """The name of a file in its bucket, and the reason why it is no report's name (empty when it is).

    A report's name is written in the seed's form. Where the bucket has that name already, the report_id
    field gets ``_`` and 8 hexadecimal digits of a keyed digest of the file, so nothing is overwritten. A
    name that nobody understands is kept behind ``unnamed_`` and such digits, made harmless.
    """
    mark = hmac.new(key, digest.encode() + b"\0" + path.encode("utf-8", "surrogateescape"), hashlib.sha256)
    try:
        parsed = parse_report_name(path)
    except BadReport as bad:
        plain = re.sub(r"[^A-Za-z0-9._]+", "_", PurePosixPath(path).name)[-100:]
        return f"unnamed_{mark.hexdigest()[:16]}_{plain}", bad.reason.value
    name = format_report_name(parsed)
    if taken(report_of(name)):
        marked = f"{parsed.report_id or 'no_report_id'}_{mark.hexdigest()[:8]}"
        name = format_report_name(dataclasses.replace(parsed, report_id=marked))
    return name, ""


def report_of(name: str) -> str:
    """The report's name: that of its file in the bucket without extension."""
    return name[: _EXTENSIONS.search(name).start()]  # type: ignore[union-attr]  # it matches the empty end
