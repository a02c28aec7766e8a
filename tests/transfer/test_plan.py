from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import MAX_NAME_BYTES, parse_report_name
from ooni_pipeline.transfer.collectors import Listed
from ooni_pipeline.transfer.plan import BATCH, Plan, Planned, extend_plan, free_name, report_of
from tests.transfer.conftest import DATE, KEY, report_name, written


class Fake:
    """A collector of files that are only names and digests."""

    def __init__(self, files: dict[str, str | None], name: str = "athens") -> None:
        self.name = name
        self.files = files
        self.asked: list[str] = []

    def list(self) -> Iterator[Listed]:
        for path in self.files:
            yield Listed(path, 1, "2016-07-31T00:00:00Z")

    def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
        asked = list(paths)
        self.asked += asked
        return {path: self.files[path] for path in asked}

    def copy(self, files: Mapping[str, Path]) -> None:
        raise AssertionError

    def remove(self, files: Mapping[str, str]) -> dict[str, str]:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


def plan(*collectors: Fake, before: Plan | None = None) -> Plan:
    result = before or Plan(DATE)
    for collector in collectors:
        result = extend_plan(result, collector, collector.list(), KEY)
    return result


def names(result: Plan) -> list[str]:
    return [planned.name for planned in result.files]


def test_a_plan_says_what_to_take_from_where_and_how_it_is_called_here() -> None:
    result = plan(Fake({report_name(1): "d1", f"sub/{report_name(2, 'yaml')}": "d2"}))
    assert result.files == [
        Planned("athens", report_name(1), 1, "2016-07-31T00:00:00Z", "d1", written(1)),
        Planned(
            "athens", f"sub/{report_name(2, 'yaml')}", 1, "2016-07-31T00:00:00Z", "d2", written(2, "yaml")
        ),
    ]


def test_only_new_files_are_added_and_a_changed_one_is_new() -> None:
    collector = Fake({report_name(1): "d1", report_name(2): "d2"})
    first = plan(collector)
    assert plan(collector, before=first).files == first.files
    collector.files.update({report_name(1): "changed", report_name(3): "d3"})
    second = plan(collector, before=first)
    assert second.files[:2] == first.files
    assert [planned.digest for planned in second.files[2:]] == ["changed", "d3"]
    assert re.fullmatch(written(1, mark="_[0-9a-f]{8}"), second.files[2].name)
    assert len(set(names(second))) == 4


def test_a_collector_named_twice_gives_its_files_once() -> None:
    collector = Fake({report_name(1): "d1"})
    assert len(plan(collector, collector).files) == 1


CLASHES = [
    [Fake({report_name(1): "d"}), Fake({report_name(1): "e"}, "berlin")],
    [
        Fake({report_name(1): "d"}, name) for name in ("athens", "berlin", "cairo", "delhi")
    ],  # one report, all have
    [Fake({report_name(1, "yaml"): "d", report_name(1, "json"): "e"})],
    [Fake({report_name(1): "d", report_name(1) + ".gz": "e"})],
    [Fake({f"{place}/{report_name(1)}": "d" for place in "abcd"})],
    [Fake({report_name(1).replace("-id1-", f"-{'i' * 150}{end}-"): end for end in "abc"})],  # cut to one name
    [Fake({"rubbish": "d"}, name) for name in ("athens", "berlin", "cairo")],
]


@pytest.mark.parametrize("collectors", CLASHES)
def test_names_never_clash(collectors: list[Fake]) -> None:
    result = plan(*collectors)
    reports = [planned.report for planned in result.files]
    assert len(reports) == sum(len(collector.files) for collector in collectors) == len(set(reports))
    assert plan(*collectors) == result
    assert len({report_of(f"{report}.json") for report in reports}) == len(reports)
    for name in names(result)[1:]:
        if not name.startswith("unnamed_"):
            assert re.search(r"_[0-9a-f]{8}$", parse_report_name(name).report_id or "")


def test_a_name_that_an_earlier_proof_gave_is_taken() -> None:
    collector = Fake({report_name(1): "d"})
    result = extend_plan(Plan(DATE), collector, collector.list(), KEY, [report_of(written(1))])
    assert re.fullmatch(written(1, mark="_[0-9a-f]{8}"), result.files[0].name)


def test_marks_cannot_be_guessed_without_the_key() -> None:
    def taken(report: str) -> bool:
        return report == report_of(written(1))

    marks = {free_name(report_name(1), "d", key, taken)[0] for key in (KEY, b"other")}
    assert len(marks) == 2


HOSTILE = {
    "../../../etc/cron.d/x": "",
    "/etc/passwd": "",
    f"../{report_name(1)}": "",
    "": "",
    "a\0b.json": "",
    "line\nbreak.json": "d1",
    os.fsdecode(b"\xff\xfe.json"): "d2",
    "\ud83d.json": "d3",
    "x" * 255: "d4",
    "<script>alert(1)</script>.json": "d5",
    "-rf *": "d6",
    "\u202egnp.exe": "d7",
    ".json": "d8",
}


def test_hostile_names_are_kept_and_made_harmless(tmp_path: Path) -> None:
    collector = Fake(dict(HOSTILE))
    result = plan(collector)
    assert [planned.path for planned in result.files] == list(HOSTILE)
    assert {planned.problem for planned in result.files} == {"name_not_understood"}
    assert [planned.digest for planned in result.files] == list(HOSTILE.values())
    assert collector.asked == [
        path for path, digest in HOSTILE.items() if digest
    ]  # no path out of the archive
    for name in names(result):
        assert re.fullmatch(r"unnamed_[0-9a-f]{16}_[A-Za-z0-9._]{0,100}", name)
    path = tmp_path / "plan.json"
    result.write(path)
    assert path.read_bytes().isascii()
    assert Plan.read(path) == result
    assert plan(collector, before=Plan.read(path)).files == result.files


@pytest.mark.parametrize("number", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH])
def test_digests_are_asked_for_in_batches(number: int) -> None:
    class Counting(Fake):
        asks = 0

        def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
            self.asks += 1
            return super().digests(paths)

    collector = Counting({f"rubbish{n}": str(n) for n in range(number)})
    assert [planned.digest for planned in plan(collector).files] == [str(n) for n in range(number)]
    assert collector.asks == -(-number // BATCH)


def test_what_is_not_final_is_left_for_later_and_counted() -> None:
    class Busy(Fake):
        def list(self) -> Iterator[Listed]:
            ages = {"fresh": 59.9, "settled": 60.0, "ahead": -1.0, "growing": 900.0, "odd": 0.0}
            for path, age in ages.items():
                problem = "not_a_regular_file" if path == "odd" else ""
                yield Listed(path, 1, "2016-07-31T00:00:00Z", problem, age)

        def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
            return {path: "d" for path in paths if path != "growing"}

    busy = Busy({})
    result = extend_plan(Plan(DATE), busy, busy.list(), KEY, settle_seconds=60)
    assert [(one.path, one.problem) for one in result.files] == [
        ("settled", "name_not_understood"),
        ("odd", "not_a_regular_file"),
    ]
    assert result.unsettled == {"athens": 3}
    later = extend_plan(result, busy, busy.list(), KEY, settle_seconds=0)
    assert [one.path for one in later.files] == ["settled", "odd", "fresh", "ahead"]
    assert later.unsettled == {"athens": 1}


def test_what_cannot_be_read_is_planned_as_a_problem() -> None:
    result = plan(Fake({report_name(1): None}))
    assert [(planned.digest, planned.problem) for planned in result.files] == [("", "unreadable")]
    assert plan(Fake({report_name(1): None}), before=result).files == result.files
    assert len(plan(Fake({report_name(1): "readable now"}), before=result).files) == 2


def test_a_collector_that_dies_while_it_is_asked_leaves_the_plan_as_it_was() -> None:
    class Dying(Fake):
        def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
            if report_name(2) in paths:
                raise TransferError("no route to host")
            return super().digests(paths)

    before = plan(Fake({report_name(1): "d"}, "berlin"))
    files = list(before.files)
    with pytest.raises(TransferError):
        plan(Dying({report_name(1): "d1", report_name(2): "d2"}), before=before)
    assert before.files == files


@given(st.text(st.characters(codec=None), max_size=300), st.sets(st.integers(0, 3)))
def test_any_name_gives_a_name_that_a_file_system_takes(path: str, taken: set[int]) -> None:
    tried: list[str] = []

    def is_taken(report: str) -> bool:
        tried.append(report)
        return len(tried) - 1 in taken

    name, problem = free_name(path, "d" * 64, KEY, is_taken)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert not name.startswith(".")
    assert len(name) <= MAX_NAME_BYTES - len(".gz")
    assert len(set(tried)) == len(tried)
    try:
        parse_report_name(name)
    except BadReport:
        assert problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rubbish", "is not a plan of a fetch"),
        (b"[]", "is not a plan of a fetch"),
        (
            b'{"bucket_date": "2016-08-01", "files": [{"a": 1}], "unreachable": {}}',
            "is not a plan of a fetch",
        ),
        (None, "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_plan_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "2016-08-01.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(BucketError, match=f"{path} {message}|plan {path} {message}"):
        Plan.read(path)


def test_a_plan_is_one_file_a_line(tmp_path: Path) -> None:
    result = plan(Fake({report_name(number): str(number) for number in range(3)}))
    result.unreachable = {"berlin": "no route"}
    result.unsettled = {"athens": 2}
    result.write(tmp_path / "plan.json")
    assert len((tmp_path / "plan.json").read_text().splitlines()) == 5
    data = json.loads((tmp_path / "plan.json").read_bytes())
    assert data["bucket_date"] == dt.date(2016, 8, 1).isoformat()
    assert Plan.read(tmp_path / "plan.json") == result
