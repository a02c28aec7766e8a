"""A small disk: a tmpfs in a mount namespace of its own, which ends with the test whatever happens."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.bucket.layout import Stage
from tests.chaos.conftest import OwnServer
from tests.tasks.conftest import Pipeline

#: Whoever is not root mounts in a user namespace.
_NAMESPACES = ("--mount",) if os.geteuid() == 0 else ("--user", "--map-root-user", "--mount")


@functools.cache
def can_mount() -> bool:
    mount = ("unshare", *_NAMESPACES, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt")
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Mounts:
    """A mount namespace that lives as long as its first process, which ends with this object or with us."""

    def __init__(self) -> None:
        self._first = subprocess.Popen(
            ("unshare", *_NAMESPACES, "sh", "-c", "echo here; read end"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._first.stdout is not None
        self._first.stdout.readline()
        target = ("--user", "--preserve-credentials") if len(_NAMESPACES) > 1 else ()
        self.enter = ("nsenter", "--target", str(self._first.pid), *target, "--mount", f"--wd={Path.cwd()}")

    def seen(self, path: Path) -> Path:
        """A path of the namespace, for this process."""
        return Path(f"/proc/{self._first.pid}/root") / path.relative_to("/")

    def run(self, *command: str) -> None:
        subprocess.run((*self.enter, *command), check=True)

    def end(self) -> None:
        self._first.communicate()


@dataclass
class SmallDisk(Pipeline):
    """A pipeline whose commands see small disks, which the rest of the machine does not."""

    mounts: Mounts = field(default_factory=Mounts)

    def start(self, *command: str) -> subprocess.Popen[str]:
        return super().start(*self.mounts.enter, *command)

    def mount(self, place: Path, kilobytes: int) -> None:
        """A disk with so much free at ``place``; what lay there is moved onto it."""
        place.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f"{place.name}.aside")
        place.rename(aside)
        place.mkdir()
        self.mounts.run("mount", "-t", "tmpfs", "-o", "size=1g,mode=700", "tmpfs", str(place))
        self.mounts.run("cp", "-a", f"{aside}/.", str(place))
        self.mounts.run("rm", "-r", str(aside))
        if not kilobytes:  # size=0 would be no limit
            self.mounts.run("sh", "-c", 'head -c 4096 /dev/zero >"$1"', "sh", f"{place}/full")
        self.leave_free(place, kilobytes)

    def resize(self, place: Path, kilobytes: int) -> None:
        self.mounts.run("mount", "--options-mode=ignore", "-o", f"remount,size={kilobytes}k", str(place))

    def free(self, place: Path) -> int:
        """Kilobytes."""
        status = os.statvfs(self.mounts.seen(place))
        return status.f_bavail * status.f_frsize // 1024

    def leave_free(self, place: Path, kilobytes: int) -> None:
        """Shrink a disk to what is on it and so much more."""
        status = os.statvfs(self.mounts.seen(place))
        used = (status.f_blocks - status.f_bfree) * status.f_frsize // 1024
        self.resize(place, used + kilobytes)

    def seen_manifest(self, stage: Stage) -> Path:
        return self.mounts.seen(self.layout.manifest(stage, self.today))

    def bring_back(self, *places: Path) -> None:
        """Bring what is on the small disks back onto the large one: to be looked at by everybody."""
        for place in places:
            seen = self.mounts.seen(place)
            subprocess.run(("cp", "-a", f"{seen}/.", str(place)), check=True)
            self.mounts.run("umount", str(place))


@dataclass
class SmallServer(SmallDisk, OwnServer):
    """The same with a PostgreSQL of its own, which is started among the small disks."""

    def end_of_wal(self, left: int) -> None:
        """Fill the current file of WAL, but for about so many bytes. The next one needs room."""
        fill = (
            "import psycopg2, sys\n"
            "database = psycopg2.connect(sys.argv[1])\n"
            "database.autocommit = True\n"
            "cursor = database.cursor()\n"
            "def run(sql):\n"
            "    cursor.execute(sql)\n"
            "    return cursor.fetchone()[0]\n"
            "run('SELECT pg_switch_wal()')\n"
            "size = 16 * 2**20\n"
            "while True:\n"
            "    at = int(run(\"SELECT pg_current_wal_insert_lsn() - '0/0'\")) % size\n"
            "    much = min(size - at - int(sys.argv[2]), 500_000)\n"
            "    if much < 1000:\n"
            "        break\n"
            "    run(f\"SELECT pg_logical_emit_message(false, 'x', repeat('x', {much - 500}))\")\n"
        )
        url = self.run(sys.executable, "-m", "tasks.database", "url").strip()
        self.run(sys.executable, "-c", fill, url, str(left))
