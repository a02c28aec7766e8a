"""Fetch over a real ssh, and its faults: after each no report exists nowhere, and the next run heals it."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote import rsync
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.collectors import Collector
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan
from ooni_pipeline.transfer.gated import GatedCollector
from ooni_pipeline.transfer.remove import remove_fetched
from tests.chaos.disk import Mounts, can_mount
from tests.parts.sshd import Sshd, can_sshd, other_clock, running_sshd
from tests.parts.wire import Wire, wire
from tests.transfer.conftest import DATE, KEY, NOW, Pipeline, report_name, written
from tests.transfer.far import Evidence, far_collector

pytestmark = pytest.mark.skipif(not can_sshd(), reason="no sshd, rsync or rrsync here")

TOMORROW = DATE + dt.timedelta(days=1)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


class Far:
    """A pipeline with one collector over a wire, and another that is a directory here."""

    def __init__(self, pipeline: Pipeline, sshd: Sshd, between: Wire, timeout: float = 20) -> None:
        self.pipeline = pipeline
        self.layout = pipeline.layout
        self.archive = pipeline.root / "far"
        self.archive.mkdir()
        self.sshd = sshd
        self.wire = between
        self.key = sshd.gate(self.archive)
        self.timeout = timeout
        self.here = pipeline.other
        sshd.known_hosts.write_text(
            sshd.known_hosts.read_text()
            + sshd.known_hosts.read_text().replace(str(sshd.port), str(between.port))
        )
        pipeline.key()

    @property
    def collector(self) -> GatedCollector:
        account = self.sshd.account(self.key, self.timeout)
        return far_collector(
            self.layout, type(account)(**{**vars(account), "port": self.wire.port}), self.archive
        )

    def holds(self, *numbers: int, size: int = 0) -> None:
        for number in numbers:
            line = f'{{"number": {number}}}\n'
            padding = os.urandom(size // 2).hex() if size else ""
            (self.archive / report_name(number)).write_text(line + padding)

    def evidence(self) -> Evidence:
        return Evidence(self.layout, self.pipeline.root / "backup", self.archive, self.here.directory)

    def fetch(self, date: dt.date = DATE, *, settle: float = 0) -> Manifest:
        collectors: list[Collector] = [self.collector, self.here]
        try:
            plan = make_plan(self.layout, date, collectors, KEY, add=True, settle_seconds=settle)
            return fetch_bucket(self.layout, plan, collectors, KEY, NOW)
        finally:
            for collector in collectors:
                collector.close()

    def again(self) -> Manifest:
        forget_bucket(self.layout, Stage.RAW, DATE)
        return self.fetch()

    def remove(self, date: dt.date = DATE) -> dict[str, str]:
        if not self.layout.manifest(Stage.BACKUP, date).exists():
            backup_bucket(self.layout, date, self.pipeline.store, NOW)
        collectors: list[Collector] = [self.collector, self.here]
        try:
            removed = remove_fetched(self.layout, date, collectors, NOW)
        finally:
            for collector in collectors:
                collector.close()
        return {record.path: record.detail for record in removed.reports}

    def remove_quietly(self) -> None:
        with contextlib.suppress(TransferError):
            self.remove()

    def left(self) -> list[str]:
        return sorted(path.name for path in self.archive.rglob("*") if path.is_symlink() or not path.is_dir())


@pytest.fixture
def far(pipeline: Pipeline, sshd: Sshd) -> Iterator[Far]:
    with wire((sshd.host, sshd.port)) as between:
        yield Far(pipeline, sshd, between)


def usable(manifest: Manifest) -> list[str]:
    return sorted(str(record.name) for record in manifest.usable().values())


def test_reports_come_are_verified_and_go(far: Far) -> None:
    far.holds(1, 2)
    (far.archive / "sub").mkdir()
    shutil.copyfile(far.archive / report_name(2), far.archive / "sub" / report_name(3))
    (far.archive / report_name(3)).write_text("three\n")
    far.here.holds(4)
    evidence = far.evidence()
    manifest = far.fetch()
    assert [record.path for record in manifest.reports if record.duplicate_of] == [f"sub/{report_name(3)}"]
    assert usable(manifest) == [written(number) for number in (1, 2, 3, 4)]
    assert manifest.facts == {}
    evidence.holds()
    assert set(far.remove().values()) == {"removed"}
    assert far.left() == []
    evidence.holds()
    assert not far.layout.spool("far").exists()
    assert far.wire.connections == 3, "one to ask, one for rsync, one to remove"


def test_hostile_names_come_and_go_and_nothing_else_does(far: Far) -> None:
    names = [
        b"line\nbreak.json", b"\xff\xfe.json", b"-rf *.json", b"--delete", b"$(touch pwned)", b"`x`.json",
        b"'\".json", b"x" * 255, b"#c.json", b";c.json", b" a .json", b"\\.json", b"*", b"%s%n", b"[a-z]",
    ]  # fmt: skip
    for name in names:
        (far.archive / os.fsdecode(name)).write_bytes(name)
    (far.archive / "-s").mkdir()
    (far.archive / "-s" / "in.json").write_text("in")
    outside = far.pipeline.root / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text("secret")
    (far.archive / "folder").symlink_to(outside)
    (far.archive / "link.json").symlink_to(outside / "secret.json")
    evidence = far.evidence()
    manifest = far.fetch()
    fates = {os.fsencode(record.path): record.rejected for record in manifest.reports}
    odd = {b"folder": "not_a_regular_file", b"link.json": "not_a_regular_file"}
    assert fates == {**dict.fromkeys([*names, b"-s/in.json"], "name_not_understood"), **odd}
    evidence.holds()
    assert set(far.remove().values()) == {"removed"}
    assert far.left() == ["folder", "link.json"]
    assert (outside / "secret.json").exists()
    evidence.holds()


@pytest.mark.parametrize("after", [0, 30, 5_000, 300_000, 1_000_000])
def test_a_connection_that_is_cut_costs_what_did_not_come(far: Far, after: int) -> None:
    """In the greeting, in the listing, in the middle of a file: the other collector's reports come all the
    same, what did not come is left for later, and comes."""
    far.holds(1, 2, 3, 4, size=400_000)
    far.here.holds(5)
    evidence = far.evidence()
    far.wire.cut_after = after
    manifest = far.fetch()
    assert written(5) in usable(manifest) and len(usable(manifest)) < 5
    assert list(manifest.facts["unreachable"]) == ["far"]
    evidence.holds()
    far.remove_quietly()
    evidence.holds()
    far.wire.good()
    assert usable(far.again()) == [written(number) for number in (1, 2, 3, 4, 5)]
    evidence.holds()
    assert set(far.remove().values()) == {"removed"}
    evidence.holds()


def test_the_next_run_goes_on_in_the_middle_of_a_large_file(far: Far) -> None:
    far.holds(1, size=8_000_000)
    far.here.holds(5)
    far.wire.spare, far.wire.cut_after = 1, 5_000_000  # the one that asks is spared
    assert usable(far.fetch()) == [written(5)]
    partial = far.layout.spool("far") / ".rsync-partial" / report_name(1)
    assert partial.stat().st_size > 2_000_000
    far.wire.good()
    sent = _sent(far)
    assert usable(far.fetch(TOMORROW)) == [written(1)]
    assert _sent(far) - sent < 6_000_000, "what had come is not sent again"
    assert not far.layout.spool("far").exists()


def test_an_sshd_that_is_killed_in_the_middle(far: Far) -> None:
    far.holds(*range(1, 9), size=3_000_000)
    far.here.holds(10)
    evidence = far.evidence()
    killer = threading.Thread(target=_kill_when, args=(far.sshd, far.layout.spool("far")))
    killer.start()
    manifest = far.fetch()
    killer.join()
    assert written(10) in usable(manifest) and len(usable(manifest)) < 9
    assert list(manifest.facts["unreachable"]) == ["far"]
    evidence.holds()
    far.sshd.start()
    assert len(usable(far.again())) == 9
    far.remove()
    evidence.holds()
    assert far.left() == []


@pytest.mark.parametrize("after", [0, 3_000, 200_000])
def test_a_collector_that_falls_silent_is_given_up(pipeline: Pipeline, sshd: Sshd, after: int) -> None:
    with wire((sshd.host, sshd.port)) as between:
        far = Far(pipeline, sshd, between, timeout=2)
        far.holds(1, 2, size=400_000)
        far.here.holds(5)
        between.silent_after = after
        begin = time.monotonic()
        manifest = far.fetch()
        assert time.monotonic() - begin < 30
        assert usable(manifest)[-1] == written(5) and len(usable(manifest)) < 3
        between.good()
        assert len(usable(far.again())) == 3


def test_a_file_that_grows_while_it_is_fetched_is_never_half_a_report(far: Far) -> None:
    """A writer that never stops: what comes is a state that its digest vouches for, or nothing."""
    far.holds(1, 2)
    path = far.archive / report_name(1)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 1000)
                time.sleep(0.0005)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        manifest = far.fetch()
        later = far.fetch(TOMORROW, settle=60)
    finally:
        stop.set()
        writer.join()
    assert written(2) in usable(manifest) and written(1) not in usable(manifest)
    assert later.facts == {"unsettled": {"far": 2}}, "both have changed within a minute"
    assert far.remove() == {report_name(2): "removed"}
    assert far.left() == [report_name(1)]
    final = hashlib.sha256(path.read_bytes()).hexdigest()
    third = far.fetch(DATE + dt.timedelta(days=2))
    assert [record.digest for record in third.usable().values()] == [final]


def test_a_source_that_changed_after_the_copy_never_replaces_it(far: Far) -> None:
    far.holds(1)
    first = far.fetch()
    backup_bucket(far.layout, DATE, far.pipeline.store, NOW)
    (far.archive / report_name(1)).write_text("another\n")
    evidence = far.evidence()
    assert far.remove() == {report_name(1): "kept: it has changed since it was fetched"}
    second = far.again()
    assert second.reports[0].digest == first.reports[0].digest
    assert len(usable(second)) == 2
    evidence.holds()


def test_the_disk_of_a_collector_that_is_read_only(pipeline: Pipeline, sshd: Sshd) -> None:
    """Nothing goes, the fault says why, and the next run removes it."""
    with wire((sshd.host, sshd.port)) as between:
        far = Far(pipeline, sshd, between)
        far.holds(1)
        far.fetch()
        evidence = far.evidence()
        if not can_mount():
            pytest.skip("no mount namespace here")
        mounts = Mounts()
        try:
            mounts.run("mount", "--bind", str(far.archive), str(far.archive))
            mounts.run("mount", "-o", "remount,bind,ro", str(far.archive))
            writable, far.key = far.key, sshd.gate(far.archive, before=" ".join(mounts.enter))
            with pytest.raises(
                TransferError, match=r"far does not let 1 of its files go \(Read-only file system\)"
            ):
                far.remove()
        finally:
            mounts.end()
        assert far.left() == [report_name(1)]
        evidence.holds()
        far.key = writable
        assert far.remove() == {report_name(1): "removed"}
        evidence.holds()


@pytest.mark.skipif(not other_clock(0), reason="no faketime here")
@pytest.mark.parametrize("skew", [3600, -3600])
def test_a_collector_whose_clock_is_an_hour_off(far: Far, skew: int) -> None:
    """Its own clock stamps its files and says how old they are: ours does not matter."""
    far.key = far.sshd.gate(
        far.archive, before=" ".join(f"{name}={value}" for name, value in other_clock(skew).items())
    )
    far.holds(1, 2)
    now = time.time() + skew
    os.utime(far.archive / report_name(1), (now - 300, now - 300))
    os.utime(far.archive / report_name(2), (now - 5, now - 5))
    manifest = far.fetch(settle=60)
    assert usable(manifest) == [written(1)], manifest.facts
    assert manifest.facts == {"unsettled": {"far": 1}}
    assert len(usable(far.fetch(TOMORROW))) == 1


@pytest.mark.parametrize("count", [1200, pytest.param(5000, marks=pytest.mark.full_chaos)])
def test_a_directory_of_thousands(far: Far, count: int) -> None:
    holds_many(far, count)
    evidence = far.evidence()
    raw = far.fetch()
    assert len(raw.usable()) == count
    backed_up(far, DATE)
    fates = far.remove()
    assert (len(fates), set(fates.values())) == (count, {"removed"})
    assert far.left() == []
    evidence.holds()


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.full_chaos)])
def test_a_connection_that_is_cut_among_thousands(far: Far, count: int) -> None:
    """In the middle of the copying, then of the removal: the next bucket has the others, and nothing is left
    over there."""
    size = 10_000
    holds_many(far, count, size)
    far.here.holds(5)
    evidence = far.evidence()
    far.wire.spare, far.wire.cut_after = 1, count * size // 2  # the one that asks is spared
    raw = far.fetch()
    came = len(raw.usable()) - 1
    assert 0 < came < count
    assert f"{count - came} of {count} files did not come: collector far: rsync from" in str(raw.facts)
    evidence.holds()
    far.wire.good()
    second = far.fetch(TOMORROW)
    assert (len(second.usable()), second.facts) == (count - came, {})
    for date in (DATE, TOMORROW):
        backed_up(far, date)
    # Once the removal has begun: to take the requests needs some bytes back too.
    far.wire.spare, far.wire.cut_after = far.wire.connections, 4_000 + 10 * came
    with pytest.raises(TransferError, match="far"):
        far.remove()
    evidence.holds()
    far.wire.good()
    assert len(far.left()) < count, "some went"
    for date in (DATE, TOMORROW):
        assert set(far.remove(date).values()) <= {"removed", "gone"}
    assert far.left() == []
    evidence.holds()


def holds_many(far: Far, count: int, size: int = 20) -> None:
    for number in range(count):
        name = report_name(1).replace("-id1-", f"-id{number}-")
        (far.archive / name).write_text(f'{{"number": {number}}}\n' + os.urandom(size // 2).hex())


def backed_up(far: Far, date: dt.date) -> None:
    """The backup, made in one go: with its waits for the disk, file by file, it is not what is looked at."""
    shutil.copytree(far.pipeline.raw(date), far.pipeline.root / "backup", dirs_exist_ok=True)
    raw = Manifest.read(far.layout.manifest(Stage.RAW, date))
    proven = [ReportRecord(one.report, digest=one.digest, source=one.digest) for one in raw.reports]
    Manifest("backup", date, raw.made, reports=proven).write(far.layout.manifest(Stage.BACKUP, date))


def test_one_report_on_two_collectors(far: Far) -> None:
    far.holds(1)
    shutil.copyfile(far.archive / report_name(1), far.here.directory / report_name(1))
    evidence = far.evidence()
    manifest = far.fetch()
    assert [(record.collector, bool(record.duplicate_of)) for record in manifest.reports] == [
        ("far", False),
        ("berlin", True),
    ]
    far.remove()
    assert far.left() == [] and list(far.here.directory.iterdir()) == []
    evidence.holds()


def _kill_when(sshd: Sshd, spool: Path) -> None:
    """Kill sshd and all that it serves as soon as something arrives."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(path.is_file() for path in spool.rglob("*")):
            break
        time.sleep(0.002)
    sshd.stop(signal.SIGKILL)


def _sent(far: Far) -> int:
    return far.wire.bytes_back


def test_the_key_can_do_nothing_else(far: Far) -> None:
    """Push, remove by rsync, a shell, sftp, a tunnel, a path outside: refused, and nothing changes."""
    far.holds(1)
    outside = far.pipeline.root / "secret.json"
    outside.write_text("secret")
    account = far.sshd.account(far.key)
    shell = rsync.shell(account)
    there = f"{account.user}@{account.host}:"
    own = far.pipeline.root / "own"
    own.mkdir()
    (own / "pushed.json").write_text("pushed")
    forbidden = [
        ["rsync", "-a", "-e", shell, f"{own}/", there],
        ["rsync", "-a", "--remove-source-files", "-e", shell, there, f"{own}/"],
        ["rsync", "-a", "-e", shell, f"{there}../secret.json", f"{own}/"],
        ["rsync", "-aL", "-e", shell, f"{there}{outside}", f"{own}/"],
        [*shell.split(), f"{account.user}@{account.host}", "cat", str(outside)],
        [*shell.split(), f"{account.user}@{account.host}"],
        [*shell.split(), "-W", f"127.0.0.1:{far.sshd.port}", f"{account.user}@{account.host}"],
        [*shell.split(), "-s", f"{account.user}@{account.host}", "sftp"],
    ]
    for command in forbidden:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
        assert ran.returncode != 0, command
        assert b"secret" not in ran.stdout
    assert far.left() == [report_name(1)]
    assert [path.name for path in own.iterdir()] == ["pushed.json"]
