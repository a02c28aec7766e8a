"""Fetching over ssh: plan, copy, verify and remove against one bare ``rsync -a --remove-source-files``.

5,000 reports of 10 KB over the loopback, both ways in turn. The backup, which stands between copy and
removal, is made without being timed.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.remote import rsync
from ooni_pipeline.remote.ssh import SshSession
from ooni_pipeline.transfer.backup import backup_bucket
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan
from ooni_pipeline.transfer.gated import GatedCollector
from ooni_pipeline.transfer.remove import remove_fetched
from ooni_pipeline.transfer.stores import DirectoryStore
from tests.parts.sshd import Sshd, can_sshd, keygen, running_sshd

REPORTS, SIZE, ROUNDS, BAR = 5000, 10_000, 3, 3.0
DATE = dt.date(2016, 8, 1)
NOW = dt.datetime(2016, 8, 1, 4)


def run() -> None:
    if not can_sshd():
        print("no sshd or rsync here: nothing is measured")
        return
    ratios = []
    with (
        tempfile.TemporaryDirectory(prefix="ooni-fetch-") as place,
        running_sshd(Path(place, "sshd")) as sshd,
    ):
        for number in range(ROUNDS):
            root = Path(place, str(number))
            bare = _bare(sshd, root)
            steps = _ours(sshd, root)
            ours = sum(steps.values())
            ratios.append(ours / bare)
            told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in steps.items())
            print(f"bare rsync {bare:.2f} s; ours {ours:.2f} s ({told}): {ours / bare:.2f} times")
    median = statistics.median(ratios)
    print(f"median {median:.2f} times, bar {BAR}: {'ok' if median <= BAR else 'TOO SLOW'}")


def _archive(root: Path) -> Path:
    """A collector's directory; on the disk, so that nobody pays for another's writes."""
    root.mkdir(parents=True)
    for number in range(REPORTS):
        name = f"20160731T{number // 3600:02}{number // 60 % 60:02}{number % 60:02}Z-http_host-id{number}"
        (root / f"{name}-AS1-GR-probe-0.2.0.json").write_bytes(os.urandom(SIZE // 2).hex().encode())
    os.sync()
    return root


def _bare(sshd: Sshd, root: Path) -> float:
    archive = _archive(root / "bare-archive")
    key = sshd.root / f"plain-{root.name}"
    keygen(key)
    sshd.authorize(key, f"/usr/bin/rrsync -no-overwrite {archive}")
    shell = rsync.shell(sshd.account(key))
    source, destination = f"{sshd.user}@{sshd.host}:", f"{root}/bare"
    begin = time.monotonic()
    subprocess.run(
        ["rsync", "-a", "--remove-source-files", "-e", shell, source, f"{destination}/"], check=True
    )
    seconds = time.monotonic() - begin
    assert len(list(Path(destination).iterdir())) == REPORTS
    assert not list(archive.iterdir())
    os.sync()
    return seconds


def _ours(sshd: Sshd, root: Path) -> dict[str, float]:
    archive = _archive(root / "archive")
    layout = Layout(root / "private", root / "public")
    account = sshd.account(sshd.gate(archive))
    spool = layout.spool("far")
    steps = {}

    def opened() -> GatedCollector:
        return GatedCollector(
            "far",
            str(archive),
            SshSession(account),
            lambda names, place: rsync.pull(account, place, names=names),
            spool,
            layout.lock("spool"),
        )

    key = id_key(layout.id_key())
    begin = time.monotonic()
    collector = opened()
    plan = make_plan(layout, DATE, [collector], key, add=True)
    steps["plan"] = time.monotonic() - begin
    raw = fetch_bucket(layout, plan, [collector], key, NOW)
    collector.close()
    steps["fetch"] = time.monotonic() - begin - steps["plan"]
    assert len(raw.usable()) == REPORTS
    backup_bucket(layout, DATE, DirectoryStore(root / "backup"), NOW)
    os.sync()
    begin = time.monotonic()
    collector = opened()
    removed = remove_fetched(layout, DATE, [collector], NOW)
    collector.close()
    steps["remove"] = time.monotonic() - begin
    assert {record.detail for record in removed.reports} == {"removed"}
    assert not list(archive.iterdir())
    return steps
