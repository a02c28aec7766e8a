"""Reports for a reception, and what is in an archive afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar

from ooni_pipeline.collector.header import ReportHeader
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.reception import Reception
from ooni_pipeline.report.entry import RawEntry
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.reader import open_report

_T = TypeVar("_T")
KINDS: tuple[Literal["json", "yaml"], ...] = ("json", "yaml")
HOUR = 3600.0


def header(kind: Literal["json", "yaml"], **fields: Any) -> ReportHeader:
    values: dict[str, Any] = {
        "software_name": "ooniprobe",
        "software_version": "2.3.0",
        "test_name": "web_connectivity",
        "test_version": "0.1.0",
        "probe_asn": "AS64496",
        "probe_cc": "FR",
        "test_start_time": "2016-08-01 12:00:00",
        "data_format_version": "0.2.0" if kind == "json" else "0.1.0",
        "format": kind,
    }
    return ReportHeader(**values | fields)


def entry(kind: Literal["json", "yaml"], number: int, size: int = 40) -> bytes:
    """An entry that :func:`archived` knows again."""
    text = json.dumps({"number": number, "body": "é" + "x" * size}, ensure_ascii=False)
    return (f"---\n{text}\n...\n" if kind == "yaml" else text).encode()


def run(work: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(work)


async def opened(layout: CollectorLayout, **options: Any) -> Reception:
    """A reception as the service opens it."""
    values: dict[str, Any] = {
        "clock": time.time,
        "steady": time.monotonic,
        "stale_seconds": HOUR,
        "keep_free_bytes": 0,
    }
    return await Reception.open(layout, **values | options)


def archived(layout: CollectorLayout) -> dict[str, list[int]]:
    """The numbers of the entries of each archived report, by report id, as the pipeline reads them.

    Fails for a name or an entry that the pipeline does not take.
    """
    found: dict[str, list[int]] = {}
    for path in sorted(layout.archive.iterdir()):
        report_id = parse_report_name(path.name).report_id
        assert report_id is not None
        assert report_id not in found
        assert path.read_bytes().endswith(b"\n")
        with open_report(path) as report:
            if path.suffix == ".yaml":
                assert report.header.value["report_id"] == report_id
            entries = list(report)
        for one in entries:
            assert isinstance(one, RawEntry), one
        found[report_id] = [one.value["number"] for one in entries if isinstance(one, RawEntry)]
    return found


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Clock:
    """A clock that a test turns."""

    def __init__(self, now: float = 1_470_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
