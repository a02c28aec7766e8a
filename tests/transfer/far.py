"""A collector behind a real sshd, and what must be true of every report whatever happened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.remote import rsync
from ooni_pipeline.remote.account import Account
from ooni_pipeline.remote.ssh import SshSession
from ooni_pipeline.transfer.gated import GatedCollector


def far_collector(layout: Layout, account: Account, directory: Path, name: str = "far") -> GatedCollector:
    """What tasks.config makes of an ssh:// place."""

    def pull(names: Iterable[str], spool: Path) -> None:
        rsync.pull(account, spool, names=names, limit=120)

    return GatedCollector(
        name, str(directory), SshSession(account), pull, layout.spool(name), layout.lock(f"spool-{name}")
    )


def digests_below(*places: Path) -> set[str]:
    """The SHA-256 of every regular file below some directories, hidden ones left out."""
    return {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for place in places
        for path in place.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    }


class Evidence:
    """What collectors have held. ``holds`` after each step: no report exists nowhere."""

    def __init__(self, layout: Layout, backup: Path, *archives: Path) -> None:
        self.layout = layout
        self.backup = backup
        self.archives = archives
        self.seen: set[str] = set()
        self.look()

    def look(self) -> None:
        """Whatever is on a collector now has been there."""
        self.seen |= digests_below(*self.archives)

    def holds(self) -> None:
        """Each is on a collector, or both in a raw bucket and in the backup; where a proof names a report, it
        is that report, whole."""
        raw = self.layout.private / "reports-raw" / "yaml"
        kept = digests_below(raw) & digests_below(self.backup)
        lost = self.seen - digests_below(*self.archives) - kept
        assert not lost, f"{len(lost)} reports exist nowhere, or are not in the backup"
        for date in self.layout.manifest_dates(Stage.RAW):
            manifest = Manifest.read(self.layout.manifest(Stage.RAW, date))
            for record in manifest.reports:
                if record.name is not None:
                    path = self.layout.bucket(Stage.RAW, date) / record.name
                    assert hashlib.sha256(path.read_bytes()).hexdigest() == record.digest
            rejected = sum(1 for record in manifest.reports if record.rejected)
            duplicates = sum(1 for record in manifest.reports if record.duplicate_of)
            assert len(manifest.usable()) + rejected + duplicates == len(manifest.reports)
