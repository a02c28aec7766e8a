"""Archives made by hand: what the tests of RenameReports rename."""

from __future__ import annotations

import calendar
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.rename import Renamed, rename_reports
from ooni_pipeline.collector.renames import list_path, read_list

DATE = dt.date(2016, 8, 1)
#: 03:00 of that day, and 00:29:59 and 00:30:00: when a report is renamed, in time, and too late.
NOW = float(calendar.timegm((2016, 8, 1, 3, 0, 0)))
IN_TIME, TOO_LATE = NOW - 9001, NOW - 9000

SAID: dict[str, Any] = {
    "software_name": "ooniprobe",
    "test_name": "web_connectivity",
    "test_start_time": "2016-07-31 21:01:34",
    "report_id": "20160731T210134Z_AS3352_abc",
    "probe_asn": "AS3352",
    "probe_cc": "ES",
    "data_format_version": "0.2.0",
}
NAME = "20160731T210134-web_connectivity-20160731T210134Z_AS3352_abc-AS3352-ES-probe-0.2.0.json"
ENTRY = "---\n{input: 'http://a.example/', test_start_time: 1470000000.0}\n...\n"


def json_report(**said: object) -> bytes:
    """A JSON report of one entry; what is given as ... is left out."""
    entry = {**SAID, "input": "http://a.example/", "test_keys": {}, **said}
    return json.dumps({key: value for key, value in entry.items() if value is not ...}).encode() + b"\n"


def yaml_report(entries: str = ENTRY, **said: object) -> bytes:
    """A YAML report; JSON is YAML."""
    header = {key: value for key, value in {**SAID, **said}.items() if value is not ...}
    return f"---\n{json.dumps(header)}\n...\n{entries}".encode()


def put(layout: CollectorLayout, name: str | bytes, content: bytes, at: float = IN_TIME) -> Path:
    """A file of the archive that was finalised then."""
    path = layout.archive / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


def rename(layout: CollectorLayout, date: dt.date = DATE, now: float = NOW) -> Renamed:
    return rename_reports(layout, date, now)


def there(directory: Path) -> list[str]:
    """All files below a directory, as they are called there; a link is one, whatever it leads to."""
    found = (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(directory).as_posix() for path in found)


def became(layout: CollectorLayout, date: dt.date = DATE) -> dict[str, str]:
    """What the list of a date says: from -> to."""
    lines = list(read_list(list_path(layout, date)))
    assert len({line["from"] for line in lines}) == len(lines)
    return {line["from"]: line["to"] for line in lines}
