"""From probe to view: genuine clients' requests to the real collector, RenameReports, and a whole night."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import re
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.collector.archives import there
from tests.collector.wire_log import LOGS, replay, runs
from tests.parts.collector import Collector, StartCollector
from tests.parts.collector import start_collector as start_collector
from tests.parts.sshd import can_sshd, running_sshd
from tests.tasks.conftest import DEMO, Pipeline
from tests.tasks.conftest import pipeline as pipeline

pytestmark = pytest.mark.one_server

REPORT_ID = "[0-9]{8}T[0-9]{6}Z_AS[0-9]+_[A-Za-z0-9]{50}"


def post(collector: Collector, path: str, value: object) -> dict[str, Any]:
    request = urllib.request.Request(f"{collector.url}{path}", json.dumps(value).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - of the loopback
        assert answer.status == 200
        return dict(json.loads(answer.read()))


def blocked_entry() -> dict[str, Any]:
    """A measurement of the demo that meets a block page, as a client has it that was given no report id."""
    (path,) = (DEMO / "collector" / "archive").glob("20260801T023144Z-web_connectivity-*")
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = dict(json.loads(line))
        if entry["input"] == "http://www.torrent-orchard.test/":
            return {key: value for key, value in entry.items() if key != "report_id"}
    raise AssertionError("the demo has another report now")


def submitted(collector: Collector) -> dict[str, tuple[str, str, str, str, int]]:
    """What was sent, by report: test name, version of the software, country, network, number of entries."""
    expected: dict[str, tuple[str, str, str, str, int]] = {}
    for log in LOGS:
        for run in runs(log):
            report_id, seen = replay(collector.url, run)
            assert {reply.status for _, reply in seen} == {200}
            said = run.create.said()
            # Its create request names no country; its header does.
            expected[report_id] = (
                str(said["test_name"]), str(said["software_version"]), str(said.get("probe_cc", "FR")), "AS0",
                len(run.updates),
            )  # fmt: skip

    told = post(collector, "/measurement", blocked_entry())
    expected[told["report_id"]] = ("web_connectivity", "2.3.0", "TR", "AS9121", 1)

    # Nobody closes this one; its entries do not repeat what was said when it was made.
    create = {
        "software_name": "ooniprobe-engine", "software_version": "3.20.0", "test_name": "web_connectivity",
        "test_version": "0.4.3", "probe_asn": "AS3352", "probe_cc": "ES", "data_format_version": "0.2.0",
        "format": "json", "test_start_time": "2026-11-20 10:00:00",
    }  # fmt: skip
    stale = post(collector, "/report", create)["report_id"]
    for number in range(2):
        entry = {"input": f"http://{number}.example/", "test_keys": {"blocking": False}}
        post(collector, f"/report/{stale}", {"format": "json", "content": {**entry, **create}})
    expected[stale] = ("web_connectivity", "3.20.0", "ES", "AS3352", 2)

    # And one that says nothing at all.
    post(collector, f"/report/{post(collector, '/report', create)['report_id']}/close", {})
    return expected


def archived(collector: Collector, number: int) -> None:
    """Wait until the report that nobody closed is archived too."""
    end = time.monotonic() + 60
    while len(there(collector.layout.archive)) < number and time.monotonic() < end:
        time.sleep(0.1)
    assert len(there(collector.layout.archive)) == number


def test_from_probe_to_view(pipeline: Pipeline, start_collector: StartCollector, tmp_path: Path) -> None:
    collector = start_collector(stale_seconds=3)
    layout = collector.layout
    expected = submitted(collector)
    entries = sum(facts[-1] for facts in expected.values())
    archived(collector, len(expected))
    assert not [name for name in there(layout.staging) if any(report in name for report in expected)]

    # The collector goes on meanwhile. Its day ends at 00:30, so what came just now is of tomorrow's bucket.
    changed = {"collector__directory": str(layout.directory), "fetch__collectors": str(layout.renamed)}
    pipeline.configure(**changed)
    rename = ("--module", "tasks.rename", "RenameReports", "--log-level", "WARNING", "--bucket-date")
    tomorrow = str(pipeline.today + dt.timedelta(days=1))
    assert pipeline.luigi(*rename, tomorrow) == ""
    assert not there(layout.archive) and not there(layout.errored)
    assert len(there(layout.renamed)) == len(expected)

    with contextlib.ExitStack() as running:
        if can_sshd():  # else the collector is a directory of this machine
            sshd = running.enter_context(running_sshd(tmp_path / "sshd"))
            changed |= {
                "fetch__collectors": sshd.url(layout.renamed),
                "fetch__ssh_key": str(sshd.gate(layout.renamed)),
                "fetch__known_hosts": str(sshd.known_hosts),
            }
            pipeline.configure(**changed)
        pipeline.nightly()
        assert "Did not run any tasks" in pipeline.nightly()

    rows = pipeline.query(
        f"SELECT substring(report_filename from '{REPORT_ID}'), test_name, software_version, probe_cc, "
        "probe_asn, count(*) FROM metrics GROUP BY 1, 2, 3, 4, 5"
    )
    assert {row[0]: row[1:] for row in rows} == expected
    # All of them have the id that their client was told, also where they do not say it.
    assert {row[0] for row in pipeline.query("SELECT DISTINCT report_id FROM metrics")} == set(expected)
    assert pipeline.query("SELECT count(*), count(DISTINCT id) FROM metrics") == [(entries, entries)]
    assert pipeline.query("SELECT input, probe_cc FROM blockpage_urls") == [
        ("http://www.torrent-orchard.test/", "TR")
    ]
    assert pipeline.query("SELECT sum(count) FROM country_counts") == [(entries,)]

    # Nothing is left on the collector, and every entry is on the mirror once.
    for place in (layout.archive, layout.renamed, layout.errored, layout.quarantine):
        assert not there(place)
    published = Counter[str]()
    for record in pipeline.manifest(Stage.PUBLISHED).usable().values():
        path = pipeline.layout.public / str(pipeline.today) / str(record.name)
        lines = gzip.decompress(path.read_bytes()).splitlines()
        for line in lines:
            (report_id,) = re.findall(REPORT_ID, json.loads(line)["report_filename"])
            published[report_id] += 1
    assert published == {report: facts[-1] for report, facts in expected.items()}
    pipeline.verb("ledger", "--quiet", pipeline.today)
    assert f"{len(expected)} received" in pipeline.verb("ledger", pipeline.today)

    assert pipeline.luigi(*rename, tomorrow) == ""
    assert collector.stop() == 0
