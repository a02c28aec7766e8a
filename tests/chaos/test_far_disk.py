"""Disks that are full while reports come over ssh: ours, and the collector's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan
from ooni_pipeline.transfer.remove import remove_fetched
from tests.chaos.disk import Mounts, SmallDisk, can_mount
from tests.chaos.night import lines_with
from tests.parts.sshd import Sshd, can_sshd, running_sshd
from tests.tasks.conftest import Pipeline
from tests.transfer import conftest as direct
from tests.transfer.conftest import DATE, KEY, NOW, report_name
from tests.transfer.far import Evidence, digests_below, far_collector

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.skipif(not can_mount(), reason="nobody may mount here, not even in a user namespace"),
    pytest.mark.skipif(not can_sshd(), reason="no sshd, rsync or rrsync here"),
]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


def reports(directory: Path, count: int, size: int) -> None:
    directory.mkdir(exist_ok=True)
    for number in range(count):
        (directory / report_name(number)).write_text(os.urandom(size // 2).hex())


@pytest.mark.parametrize(
    "free", [900, *(pytest.param(free, marks=pytest.mark.full_chaos) for free in (300, 0))]
)
def test_our_disk_is_full_while_a_collector_sends(pipeline: Pipeline, sshd: Sshd, free: int) -> None:
    """It is our disk that is told, no collector is to blame; what came whole is kept, and room heals it."""
    disk = SmallDisk(pipeline.root, pipeline.url)
    archive, place = disk.root / "athens", disk.layout.private / "reports-raw"
    reports(archive, count=8, size=400_000)
    evidence = Evidence(disk.layout, disk.root / "backup", archive)
    disk.configure(
        processing__keep_free_mb="-1",
        fetch__collectors=sshd.url(archive),
        fetch__ssh_key=str(sshd.gate(archive)),
        fetch__known_hosts=str(sshd.known_hosts),
    )
    bucket = ("--bucket-date", str(disk.today), "--log-level", "WARNING")
    try:
        disk.mount(place, free)
        output = disk.luigi("--module", "tasks.fetch", "FetchReports", *bucket, expect=30)
        told = lines_with(output, "No space left on device")
        assert told and all("FetchReports" in line and str(disk.today) in line for line in told), output
        assert "Traceback" not in output and "reached" not in output
        assert not disk.layout.manifest(Stage.RAW, disk.today).exists()
        here = digests_below(disk.mounts.seen(disk.layout.bucket(Stage.RAW, disk.today)))
        assert here <= digests_below(archive) == evidence.seen
        assert len(here) == {900: 2, 300: 0, 0: 0}[free], "what came whole stays"
        disk.resize(place, 64 * 1024)
        disk.luigi("--module", "tasks.backup", "RemoveFetchedReports", *bucket)
        disk.bring_back(place)
    finally:
        disk.mounts.end()
    assert list(archive.iterdir()) == []
    assert len(disk.manifest(Stage.RAW).usable()) == 8
    evidence.holds()
    assert not list(place.glob(".fetch-*"))


def test_the_disk_of_a_collector_is_full(tmp_path: Path, sshd: Sshd) -> None:
    """Fetching and removing need no room over there: both work, and removing is what makes room."""
    pipeline = direct.Pipeline(tmp_path)
    archive, mounts = tmp_path / "far", Mounts()
    archive.mkdir()
    try:
        mounts.run("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(archive))
        seen = mounts.seen(archive)
        reports(seen, count=3, size=200_000)
        mounts.run("sh", "-c", 'cat /dev/zero >"$1" 2>/dev/null || :', "sh", f"{archive}/.filled")
        with pytest.raises(OSError, match="No space left on device"):
            (seen / "more").write_bytes(b"x")
        (seen / "more").unlink()
        evidence = Evidence(pipeline.layout, tmp_path / "backup", seen)
        account = sshd.account(sshd.gate(archive, before=" ".join(mounts.enter)))
        collector = far_collector(pipeline.layout, account, archive)
        pipeline.key()
        raw = fetch_bucket(
            pipeline.layout,
            make_plan(pipeline.layout, DATE, [collector], KEY, add=True),
            [collector],
            KEY,
            NOW,
        )
        assert (len(raw.usable()), raw.facts) == (3, {})
        backup_bucket(pipeline.layout, DATE, pipeline.store, NOW)
        removed = remove_fetched(pipeline.layout, DATE, [collector], NOW)
        collector.close()
        assert [record.detail for record in removed.reports] == ["removed"] * 3
        assert [path.name for path in seen.iterdir()] == [".filled"]
        evidence.holds()
        status = os.statvfs(seen)
        assert status.f_bavail * status.f_frsize >= 3 * 200_000, "there is room again"
    finally:
        mounts.end()
