"""What a withdrawal concerns: the reports and entries that are meant, and every other copy of them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.bucket.pool import run_all
from ooni_pipeline.bucket.withdraw_queue import Target
from ooni_pipeline.bucket.withdrawn import Marks, Withdrawal
from ooni_pipeline.database.markers import loaded_buckets
from ooni_pipeline.database.withdrawing import Row, rows_of_report, rows_with_ids
from ooni_pipeline.errors import BucketError
from ooni_pipeline.normalise.holding import holding
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.sanitise.wanted import Wanted
from ooni_pipeline.transfer.collectors import REMOVED
from ooni_pipeline.transfer.withdraw_search import Found, Look, look_into
from tasks import config

_ENDING = re.compile(r"(?:\.(?:json|jsonl|yaml))?(?:\.gz)?\Z")
#: What stands behind the report id of a file whose name clashed.
_CLASH = re.compile(r"_[0-9a-f]{8}\Z")
Place = tuple[dt.date, str]


@dataclass
class Selection:
    """What is to go: for each report its record in the raw manifest and what of it. ``absent`` are buckets
    with reports that could not be looked into, because their raw files are not here, and those reports."""

    layout: Layout
    key: bytes
    found: dict[Place, tuple[ReportRecord, Found]] = field(default_factory=dict)
    absent: dict[dt.date, set[str]] = field(default_factory=dict)
    _proofs: dict[dt.date, Manifest] = field(default_factory=dict)
    _records: dict[dt.date, dict[str, ReportRecord]] = field(default_factory=dict)
    _gone: dict[dt.date, frozenset[str]] = field(default_factory=dict)

    def add_report(self, bucket_date: dt.date, name: str) -> None:
        """A report by its file's name in the bucket, or its own. Raises BucketError where it is not there."""
        wanted = _ENDING.sub("", name)
        records = [r for r in self._proof(bucket_date).reports if wanted == r.report or name == r.name]
        if not records:
            manifest = self.layout.manifest(Stage.RAW, bucket_date)
            raise BucketError(f"bucket {bucket_date} has no report of that name; see {manifest}")
        self._look([self._of(bucket_date, record, whole=True) for record in records])

    def add_report_id(self, report_id: str) -> None:
        """Every report with this id in its name, and every measurement that has it."""
        plain = report_id.replace("-", "")
        looks = [
            self._of(bucket_date, record, whole=True)
            for bucket_date, record in self._records_with(plain)
            if _id_in_name(record.report) == plain or _CLASH.sub("", _id_in_name(record.report)) == plain
        ]
        self._look(looks)
        self._add_rows(rows_of_report(config.database_url(start=True), report_id))

    def add_ids(self, ids: Iterable[str], buckets: Iterable[dt.date]) -> None:
        """Measurements by their ids: where they are loaded, and in all reports of these buckets."""
        ids = frozenset(ids)
        self._add_rows(rows_with_ids(config.database_url(start=True), ids))
        self._look([look for date in buckets for look in self._all_of(date)], ids)

    def add_sought(self, sought: Wanted, buckets: Iterable[dt.date]) -> None:
        """Everything in these buckets that holds an address or another text."""
        self._look([look for date in buckets for look in self._all_of(date)], sought=sought)

    def add_copies(self) -> None:
        """The same reports and entries wherever else they lie: in other buckets, and as duplicates."""
        known = -1
        while known != len(self.found):
            known = len(self.found)
            contents = {record.content: what for record, what in self.found.values() if record.content}
            for bucket_date, record in list(self._records_with(*contents)):
                if record.content in contents and (bucket_date, record.report) not in self.found:
                    what = contents[record.content]
                    self._look([self._of(bucket_date, record, whole=what.whole)], frozenset(what.ids))
            ids = frozenset(one for _, what in self.found.values() for one in what.ids)
            self._add_rows(rows_with_ids(config.database_url(start=True), ids))
            self._look([*self._duplicates(), *self._not_loaded(ids)], ids)

    def act(self, name: str, when: str, by: str, why: str) -> Withdrawal:
        """The record of the act."""
        marks = Marks(self.key)
        gone: dict[dt.date, tuple[int, set[str]]] = {}
        whole: set[str] = set()
        former: set[str] = set()
        entries: set[str] = set()
        for (bucket_date, _), (record, what) in self.found.items():
            reports, ids = gone.get(bucket_date, (0, set()))
            gone[bucket_date] = reports + what.whole, ids.union(what.ids)  # a duplicate counts once
            entries.update(what.marks)
            if record.content and record.size:  # an empty file is like every other
                (whole if what.whole else former).add(marks.report(record.content))
        counts = {bucket_date: (reports, len(ids)) for bucket_date, (reports, ids) in gone.items()}
        return Withdrawal(
            name, when, by, why, counts, frozenset(whole), frozenset(former - whole), frozenset(entries)
        )

    def targets(self) -> tuple[Target, ...]:
        """The list of what is to be done."""
        return tuple(
            Target(
                bucket_date.isoformat(), record.report, what.whole, record.name or "", record.digest,
                record.content, *self._on_collector(bucket_date, record),
            )
            for (bucket_date, _), (record, what) in sorted(self.found.items(), key=lambda item: item[0])
        )  # fmt: skip

    def _on_collector(self, bucket_date: dt.date, record: ReportRecord) -> tuple[str, str]:
        """Where the report still lies, unless it was removed there."""
        if bucket_date not in self._gone:
            path = self.layout.manifest(Stage.REMOVED, bucket_date)
            removed = Manifest.read(path).reports if path.exists() else []
            self._gone[bucket_date] = frozenset(one.report for one in removed if one.detail == REMOVED)
        return ("", "") if record.report in self._gone[bucket_date] else (record.collector, record.path)

    def _add_rows(self, rows: Iterable[Row]) -> None:
        places: dict[Place, set[str]] = {}
        for row in rows:
            if (row.bucket_date, row.report) not in self.found:
                places.setdefault((row.bucket_date, row.report), set()).add(row.id)
        for (bucket_date, report), ids in places.items():
            if record := self._by_report(bucket_date).get(report):
                self._look([self._of(bucket_date, record)], frozenset(ids))

    def _duplicates(self) -> Iterator[Look]:
        """Reports of the buckets concerned that held entries which another report of the bucket has too."""
        for bucket_date in {bucket_date for bucket_date, _ in self.found}:
            path = self.layout.manifest(Stage.NORMALISED, bucket_date)
            again = (
                {r.report for r in Manifest.read(path).reports if r.counts.duplicate} if path.exists() else ()
            )
            for record in self._proof(bucket_date).reports:
                if record.report in again and (bucket_date, record.report) not in self.found:
                    yield self._of(bucket_date, record)

    def _not_loaded(self, ids: frozenset[str]) -> Iterator[Look]:
        """Reports with these entries in buckets that are normalised, and perhaps published, and not loaded:
        no row tells of them."""
        dates = self.layout.manifest_dates(Stage.NORMALISED)
        loaded = loaded_buckets(config.database_url(start=True), dates[0], dates[-1]) if dates else set()
        for bucket_date in dates:
            if bucket_date in loaded or not self.layout.manifest(Stage.RAW, bucket_date).exists():
                continue  # a fetch that was forgotten: sanitising looks before anything of it is published
            directory = self.layout.bucket(Stage.NORMALISED, bucket_date)
            named = {
                directory / record.name: record.report
                for record in Manifest.read(self.layout.manifest(Stage.NORMALISED, bucket_date)).reports
                if record.name and (bucket_date, record.report) not in self.found
            }
            again = {named[path] for path in holding(named, ids.__contains__)}
            for record in self._proof(bucket_date).reports if again else ():
                if record.report in again:
                    yield self._of(bucket_date, record)

    def _all_of(self, bucket_date: dt.date) -> list[Look]:
        if not self.layout.manifest(Stage.RAW, bucket_date).exists():
            return []
        return [self._of(bucket_date, record) for record in self._proof(bucket_date).reports]

    def _of(self, bucket_date: dt.date, record: ReportRecord, *, whole: bool = False) -> Look:
        path = self.layout.bucket(Stage.RAW, bucket_date) / (record.name or "")
        return Look(bucket_date, record.report, path, whole, (record.report, record.path))

    def _look(
        self, looks: list[Look], ids: frozenset[str] = frozenset(), sought: Wanted | None = None
    ) -> None:
        here = []
        for look in looks:
            record = self._by_report(look.bucket_date)[look.report]
            if record.name and not look.path.is_file():
                self.absent.setdefault(look.bucket_date, set()).add(look.report)
            elif record.name or look.whole or (sought and any(map(sought.in_text, look.names))):
                here.append(look)
        work = partial(look_into, key=self.key, ids=ids, sought=sought)
        for look, found in run_all(here, work, config.process_count()):
            if found is not None:
                record = self._by_report(look.bucket_date)[look.report]
                self.found[look.bucket_date, look.report] = record, found

    def _by_report(self, bucket_date: dt.date) -> dict[str, ReportRecord]:
        """The raw records of a bucket, which has each report once."""
        if bucket_date not in self._records:
            records = self._proof(bucket_date).reports
            self._records[bucket_date] = {record.report: record for record in records}
        return self._records[bucket_date]

    def _records_with(self, *texts: str) -> Iterator[tuple[dt.date, ReportRecord]]:
        """The records of all buckets whose manifest holds one of these texts somewhere."""
        sought = [text.encode() for text in texts]
        for bucket_date in self.layout.manifest_dates(Stage.RAW) if sought else ():
            data = self.layout.manifest(Stage.RAW, bucket_date).read_bytes()
            if any(text in data for text in sought):
                for record in self._proof(bucket_date).reports:
                    yield bucket_date, record

    def _proof(self, bucket_date: dt.date) -> Manifest:
        if bucket_date not in self._proofs:
            path = self.layout.manifest(Stage.RAW, bucket_date)
            if not path.exists() and self.layout.forgotten(Stage.RAW, bucket_date).exists():
                raise BucketError(
                    f"the fetch of bucket {bucket_date} was forgotten and is not done again: luigi --module "
                    f"tasks.fetch FetchReports --bucket-date {bucket_date} first"
                )
            self._proofs[bucket_date] = Manifest.read(path)
        return self._proofs[bucket_date]


def _id_in_name(report: str) -> str:
    try:
        return (parse_report_name(f"{report}.json").report_id or "").replace("-", "")
    except BadReport:
        return ""
