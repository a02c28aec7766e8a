"""Nights that fetch over ssh: two collectors, one of them out of reach, and what the exit status says."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from tests.parts.sshd import Sshd, can_sshd, running_sshd
from tests.tasks.conftest import DEMO, Pipeline

Answer = TypeVar("Answer")

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.skipif(not can_sshd(), reason="no sshd, rsync or rrsync here"),
]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def two(pipeline: Pipeline, sshd: Sshd) -> Pipeline:
    """A pipeline with one collector behind ssh (athens), and one that is a directory (berlin)."""
    athens, berlin = pipeline.root / "athens", pipeline.root / "berlin"
    for directory, part in ((athens, "-GR-"), (berlin, "-BE-")):
        directory.mkdir()
        (report,) = (DEMO / "collector" / "archive").glob(f"*{part}*")
        shutil.copyfile(report, directory / report.name)
    pipeline.configure(
        fetch__collectors=f"{sshd.url(athens)} {berlin}",
        fetch__ssh_key=str(sshd.gate(athens)),
        fetch__known_hosts=str(sshd.known_hosts),
        fetch__ssh_timeout="20",
    )
    return pipeline


def whence(pipeline: Pipeline) -> list[str]:
    """The collectors of which today's bucket has a report, by their last name."""
    return sorted(Path(record.collector).name for record in pipeline.manifest(Stage.RAW).usable().values())


def test_a_night_over_ssh(two: Pipeline, sshd: Sshd) -> None:
    two.nightly(None, "--log-level", "WARNING")
    assert whence(two) == ["athens", "berlin"]
    assert not list((two.root / "athens").iterdir()), "it is backed up, so the collector need not keep it"
    assert [record.detail for record in two.manifest(Stage.REMOVED).reports] == ["removed", "removed"]
    (name,) = {record.collector for record in two.manifest(Stage.RAW).reports} - {str(two.root / "berlin")}
    assert name == f"ssh://127.0.0.1:{sshd.port}{two.root}/athens", "no user in it"
    assert not list((two.layout.private / "reports-raw").glob(".fetch-*")), "nothing is left of the way"
    two.verb("ledger", "--quiet", two.today)
    assert "Did not run any tasks" in two.nightly()


def test_a_collector_out_of_reach_costs_the_exit_status_alone(two: Pipeline, sshd: Sshd) -> None:
    """All else of the night is done; the next run of the day takes what it missed."""
    sshd.stop()
    output = two.nightly(None, "--log-level", "WARNING", expect=30)
    assert "EveryCollectorReached" in output
    assert "cannot be reached: Connection refused" in output
    assert "Traceback" not in output
    assert whence(two) == ["berlin"]
    for stage in (Stage.PUBLISHED, Stage.REMOVED, Stage.BACKUP):
        assert two.layout.manifest(stage, two.today).exists()
    loaded = two.query("SELECT count(*) FROM metrics")
    assert two.query("SELECT count(*) FROM views_contain") == [(1,)]
    assert "was not reached" in two.verb("ledger", two.today)
    again = two.nightly(None, "--log-level", "WARNING", expect=30)
    assert "NormaliseReports" not in again and "cannot be reached: Connection refused" in again

    sshd.start()
    tomorrow = two.today + dt.timedelta(days=1)
    two.luigi(
        "--module", "tasks.nightly", "RangeDaily", "--of", "Nightly",
        "--start", str(two.today), "--stop", str(tomorrow), "--log-level", "WARNING",
    )  # fmt: skip
    assert whence(two) == ["athens", "berlin"]
    assert two.query("SELECT count(*) FROM metrics") > loaded
    assert [record.detail for record in two.manifest(Stage.REMOVED).reports] == ["removed", "removed"]
    assert two.manifest(Stage.RAW).facts.keys() == {"since_boot"}
    two.verb("ledger", "--quiet", two.today)


def test_the_bucket_of_a_past_day_is_not_tried_for_ever(two: Pipeline, sshd: Sshd) -> None:
    sshd.stop()
    two.nightly(None, "--log-level", "WARNING", expect=30)
    yesterday = two.today - dt.timedelta(days=1)
    for stage in (Stage.RAW, Stage.BACKUP):
        manifest = two.manifest(stage)
        manifest.bucket_date = yesterday
        manifest.made = f"{yesterday}T04:00:00Z"
        manifest.write(two.layout.manifest(stage, yesterday))
    reached = ("--module", "tasks.reached", "EveryCollectorReached", "--bucket-date")
    assert "Did not run any tasks" in two.luigi(*reached, str(yesterday))
    assert "goes without" in two.luigi(*reached, str(two.today), expect=30)
    fresh = Manifest.read(two.layout.manifest(Stage.RAW, yesterday))
    fresh.made = two.manifest(Stage.RAW).made
    fresh.write(two.layout.manifest(Stage.RAW, yesterday))
    assert "goes without" in two.luigi(*reached, str(yesterday), expect=30), "it was fetched just now"


def test_a_host_key_that_changed_stops_that_collector_with_what_to_do(two: Pipeline, sshd: Sshd) -> None:
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    output = two.nightly(None, "--log-level", "WARNING", expect=30)
    assert f"the host key of [127.0.0.1]:{sshd.port} has CHANGED: it showed ssh-ed25519 SHA256:" in output
    assert whence(two) == ["berlin"]
    assert len(list((two.root / "athens").iterdir())) == 1


def test_a_run_that_is_killed_takes_rsync_with_it(two: Pipeline, sshd: Sshd) -> None:
    """kill -9 of luigi in the middle of the copy: rsync ends too, and the next night goes on."""
    big = two.root / "athens" / "20160731T000001Z-http_host-id1-AS1-GR-probe-0.2.0.json"
    with big.open("wb") as file:
        file.truncate(400 * 2**20)
    run = two.start_night("--log-level", "WARNING")
    spool = two.layout.private / "reports-raw"
    copying = _wait_for(lambda: [path for path in spool.glob(".fetch-*/.*") if path.stat().st_size > 2**20])
    rsyncs = _rsyncs(spool)
    assert copying and rsyncs
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert _wait_for(lambda: not _rsyncs(spool))
    big.unlink()
    two.nightly(None, "--log-level", "WARNING")
    assert whence(two) == ["athens", "berlin"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("ssh://sync:hunter2@c1.example/data", "[fetch] collectors: ssh://… has a password in it"),
        ("ssh://c1.example/data", "[fetch] collectors: ssh://… does not name a user and a host"),
        ("ssh://sync@-oProxyCommand=x/data", "[fetch] collectors: ssh://… does not name a user and a host"),
        ("ssh://sync@c1.example", "[fetch] collectors: ssh://… does not name an absolute directory"),
        ("ssh://sync@c1.example/data/../etc", "[fetch] collectors: ssh://… does not name an absolute"),
        ("ssh://sync@c1.example:port/data", "[fetch] collectors: ssh://… is no URL"),
        ("https://c1.example/data", "[fetch] collectors: https://… is no absolute directory and no ssh://"),
    ],
)
def test_a_place_that_is_none_is_named_without_its_secrets(pipeline: Pipeline, place: str, says: str) -> None:
    pipeline.configure(fetch__collectors=place)
    fetch = ("--module", "tasks.fetch", "FetchReports", "--bucket-date", str(pipeline.today))
    output = pipeline.luigi(*fetch, expect=30)
    assert says in output
    assert "hunter2" not in output


def _rsyncs(spool: Path) -> list[str]:
    """The rsync processes that write below a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if words.startswith("rsync") and str(spool) in words:
            found.append(path.parent.name)
    return found


def _wait_for(what: Callable[[], Answer]) -> Answer:
    """What it says as soon as it is true, at the latest after half a minute."""
    deadline = time.monotonic() + 30
    while not (answer := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer
