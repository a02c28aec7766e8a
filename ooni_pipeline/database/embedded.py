"""A private PostgreSQL server for one pipeline: made, started, found again and stopped by this module.

It listens on a Unix socket only, and ``trust``s who reaches it. That is safe because of where the socket
lies: in the data directory (mode 0700, which PostgreSQL insists on) or, where that path is too long for
a socket, in a directory of our own with the same mode; the socket itself has mode 0700 too. So nobody
but the owner of the data directory and root can connect, and there is no password to keep. (``peer``
would not be stricter: in the user namespace that root needs, every foreign user looks like ``nobody``.)

Root: PostgreSQL refuses to run as root, and another user may not be able to enter the directories above
the data. So root runs it in a user namespace where root is called ``nobody``: the files belong to root.
A superuser of the database can then read what root can read: an ordinary user is the better choice.

Linux only: whether a server is alive is read from /proc, because a pid in ``postmaster.pid`` may be
that of a zombie (a container whose PID 1 does not reap) or of a stranger (pids are reused).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from ooni_pipeline.database.data_directory import DATABASE, PORT, SUPERUSER, create, write_settings
from ooni_pipeline.database.programs import find_binaries, run_program, version_of
from ooni_pipeline.errors import DatabaseError

START_TIMEOUT = 300.0  # seconds: after a crash the server first replays what it had logged
ORPHAN_GRACE = 15.0  # seconds that a backend without a server may work on before it is ended
LOCK_TIMEOUT = 2 * START_TIMEOUT + 60  # seconds for whoever holds the lock to get it started

LONGEST_SOCKET_PATH = 107  # bytes, of Linux
LARGEST_LOG = 10 * 2**20  # bytes; at the next start a longer one is put aside
LOG_NAME = "server.log"


@dataclass(frozen=True)
class _Postmaster:
    """The server's first process, as ``postmaster.pid`` tells and /proc confirms."""

    pid: int
    socket_dir: str
    state: str  # starting, ready, standby, stopping

    @property
    def ready(self) -> bool:
        return self.state in ("ready", "standby")


class EmbeddedServer:
    """The PostgreSQL server of one data directory. Making the object does nothing.

    Beside ``data_dir`` lie ``<data_dir>.lock`` and, while it is made, ``<data_dir>.new``. Every method
    may be called by several processes at once. All raise DatabaseError, with the command or the place to
    look at; none quotes what the database holds. The server outlives the process that started it.
    """

    def __init__(self, data_dir: Path, bin_dir: Path | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self.bin_dir = bin_dir

    @property
    def url(self) -> str:
        """The server's libpq URL; starts and creates nothing, so a connection may be refused."""
        with self._os_errors("find"):
            postmaster = self._postmaster()
            # The server may have been started with another TMPDIR: what it says itself comes first.
            socket_dir = postmaster.socket_dir if postmaster else ""
            query = {"host": socket_dir or str(self._socket_dir()), "port": PORT, "user": SUPERUSER}
            return f"postgresql:///{DATABASE}?" + urlencode(query, quote_via=quote)

    def is_running(self) -> bool:
        """Whether the server takes connections now (False while it starts, recovers or stops)."""
        with self._os_errors("look at"):
            postmaster = self._postmaster()
            return postmaster is not None and postmaster.ready

    def status(self) -> str:
        """One line for the operator."""
        with self._os_errors("look at"):
            if not (self.data_dir / "PG_VERSION").exists():
                return f"no database in {self.data_dir} yet"
            postmaster = self._postmaster()
            version = f"PostgreSQL {self._data_version()} in {self.data_dir}"
            if postmaster is None:
                return f"{version}: not running"
            return (
                f"{version}: {postmaster.state}, process {postmaster.pid}, socket in {postmaster.socket_dir}"
            )

    def ensure_running(self) -> str:
        """Make the database if it is new, start the server if it does not run, and return its URL.

        Takes a millisecond when it runs, about a second for a new one, and up to START_TIMEOUT when the
        server has to recover from a crash.
        """
        with self._os_errors("start"):
            postmaster = self._postmaster()
            if postmaster is None or not postmaster.ready:
                with self._lock(LOCK_TIMEOUT) as lock:
                    if not self._is_ready_soon():
                        self._start(lock)
        return self.url

    def stop(self, timeout: float = 60.0) -> None:
        """End the server (fast: clients are disconnected, nothing is lost) and wait for it, in seconds.

        A PostgreSQL 18 that is asked while it recovers from a crash ends its recovery and then waits for
        ever: after half of the time it is told to drop everything, and the next start recovers.
        """
        with self._os_errors("stop"):
            if not self._lock_path.exists():  # never started: leave no trace
                return
            with self._lock(timeout):
                postmaster = self._postmaster()
                if postmaster is None:
                    return
                os.kill(postmaster.pid, signal.SIGINT)
                deadline, patience = time.monotonic() + timeout, time.monotonic() + timeout / 2
                while self._role(postmaster.pid):
                    if time.monotonic() > patience:
                        patience = deadline
                        with suppress(ProcessLookupError):
                            os.kill(postmaster.pid, signal.SIGQUIT)
                    if time.monotonic() > deadline:
                        raise DatabaseError(
                            f"PostgreSQL (process {postmaster.pid}) was told to stop and still works after "
                            f"{timeout:.0f} s: wait, or look into {self.data_dir / LOG_NAME}"
                        )
                    time.sleep(0.02)

    # What runs

    def _postmaster(self) -> _Postmaster | None:
        """The live server of this data directory, or None: a dead, zombie or foreign pid is no server."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text(errors="replace").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not lines or not lines[0].strip().isdigit():
            return None
        pid = int(lines[0])
        if self._role(pid) != "postmaster":
            return None
        lines += [""] * 8  # the last lines come when the server has got that far
        return _Postmaster(pid, socket_dir=lines[4].strip(), state=lines[7].strip() or "starting")

    def _role(self, pid: int) -> str:
        """What a process does in this data directory: ``postmaster``, ``child`` of one, or nothing ("").

        /proc/PID/exe would say more, but it changes its name when the programs are upgraded. The working
        directory of a zombie is gone and that of another user's process is refused: neither is ours.
        """
        process = Path(f"/proc/{pid}")
        try:
            if not os.path.samestat((process / "cwd").stat(), self.data_dir.stat()):
                return ""
            if (process / "comm").read_text().strip() != "postgres":
                return ""
            command = (process / "cmdline").read_bytes()  # empty while it dies
            return "postmaster" if command and not command.startswith(b"postgres: ") else "child"
        except OSError:
            return ""

    def _workers(self) -> dict[int, str]:
        """Every process of PostgreSQL that works in the data directory, with its role."""
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return {pid: role for pid in pids if (role := self._role(pid))}

    def _is_ready_soon(self) -> bool:
        """Wait while a server starts or stops. True when it is ready, False when there is none."""
        deadline = time.monotonic() + START_TIMEOUT
        while postmaster := self._postmaster():
            if postmaster.ready:
                return True
            if time.monotonic() > deadline:
                raise DatabaseError(
                    f"PostgreSQL (process {postmaster.pid}) is {postmaster.state} since more than "
                    f"{START_TIMEOUT:.0f} s: look into {self.data_dir / LOG_NAME}"
                )
            time.sleep(0.05)
        return False

    # Starting

    def _start(self, lock: int) -> None:
        """Start the server. The caller holds the lock and has seen that none runs."""
        bin_dir = find_binaries(self.bin_dir)
        if re.search(r'["$`\\\n]', f"{self.data_dir}{bin_dir}"):  # pg_ctl hands both to a shell in quotes
            raise DatabaseError(f"{self.data_dir} or {bin_dir} has a quote, $, ` or \\ in it: choose another")
        if not (self.data_dir / "PG_VERSION").exists():
            create(self.data_dir, bin_dir, lock)
        owner = self.data_dir.stat().st_uid
        if owner != os.geteuid():
            raise DatabaseError(f"{self.data_dir} belongs to user id {owner}: start PostgreSQL as that user")
        made_by, found = self._data_version(), version_of(bin_dir)
        if made_by != found:
            raise DatabaseError(
                f"{self.data_dir} was made by PostgreSQL {made_by}, but {bin_dir} is {found}: use the "
                f"programs of {made_by}, or dump with those (pg_dumpall) and restore into a new directory"
            )
        if self._end_orphans():
            return
        self._remove_stale_locks()
        socket_dir = self._socket_dir()
        if socket_dir != self.data_dir:
            socket_dir.mkdir(mode=0o700, exist_ok=True)
            self._socket_dir()  # again: somebody may have made it in between
        write_settings(self.data_dir, bin_dir, socket_dir)
        log = self.data_dir / LOG_NAME
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))
        before = log.stat().st_size if log.exists() else 0
        started = run_program(
            bin_dir / "pg_ctl", "-D", self.data_dir, "-l", log, "-w", "-t", int(START_TIMEOUT), "start"
        )
        if started.returncode and not self._is_ready_soon():  # not zero also when somebody was faster
            said = log.read_bytes()[before:].decode(errors="replace") if log.exists() else ""
            reasons = re.findall(r"(?:FATAL|PANIC): .*", said)
            raise DatabaseError(
                f"PostgreSQL did not start: {' '.join(reasons[-2:]) or started.stderr.strip()} (see {log})"
            )

    def _end_orphans(self) -> bool:
        """End what still works in the data directory though its server was killed. True: a server is ready.

        A backend in a long statement does not notice: it works on, may even commit, and keeps a new
        server from starting. It gets ORPHAN_GRACE to finish, then SIGTERM, then SIGKILL. What works here
        may also be a server whose starter was killed before it had written its postmaster.pid.
        """
        begin = time.monotonic()
        sent = 0
        while workers := self._workers():
            if self._is_ready_soon():
                return True
            waited = time.monotonic() - begin
            if waited > ORPHAN_GRACE + 10:
                raise DatabaseError(
                    f"PostgreSQL processes {sorted(workers)} work in {self.data_dir} without a "
                    "postmaster.pid that names them: end them, then try again"
                )
            for step, after, number in ((1, 0.0, signal.SIGTERM), (2, 5.0, signal.SIGKILL)):
                if sent < step and waited > ORPHAN_GRACE + after and "postmaster" not in workers.values():
                    sent = step
                    for pid in workers:
                        with suppress(ProcessLookupError):
                            os.kill(pid, number)
            time.sleep(0.05)
        return False

    def _remove_stale_locks(self) -> None:
        """Remove lock files that name a live process which is not our server (called when none works here).

        PostgreSQL itself removes those of dead processes, and better: it looks at the shared memory too.
        It takes a zombie, or a stranger that was given the same pid, for its own.
        """
        for path in (self.data_dir / "postmaster.pid", self._socket_dir() / f".s.PGSQL.{PORT}.lock"):
            if path.exists():
                first = path.read_text(errors="replace").partition("\n")[0].strip()
                stale = not first.isdigit() or Path(f"/proc/{first}").exists()
                if stale and not self._workers():  # again: a killed starter's pg_ctl may just have got there
                    path.unlink()

    # Small parts

    @property
    def _lock_path(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".lock")

    @contextmanager
    def _lock(self, timeout: float) -> Iterator[int]:
        """One starter or stopper at a time. The kernel drops the lock with its holder, however that ends."""
        self.data_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise DatabaseError(
                            f"another process starts or stops PostgreSQL and has held {self._lock_path} "
                            f"for {timeout:.0f} s: look which with fuser {self._lock_path}"
                        ) from None
                    time.sleep(0.05)
            yield descriptor
        finally:
            os.close(descriptor)

    def _socket_dir(self) -> Path:
        """Where the socket lies, or would. Raises when somebody else has made that directory."""
        if _fits(self.data_dir):
            return self.data_dir
        owner = self.data_dir.stat().st_uid if self.data_dir.exists() else os.geteuid()
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"ooni-{owner}-{digest}"
        if not _fits(path):
            raise DatabaseError(f"both {self.data_dir} and {path} are too long for a socket, or have a comma")
        try:
            found = path.lstat()
        except FileNotFoundError:
            return path
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            raise DatabaseError(
                f"{path}, where PostgreSQL's socket should lie, is not a directory of user id {owner} "
                "with mode 0700: somebody else may have made it. Remove it, or use a shorter data directory"
            )
        return path

    def _data_version(self) -> str:
        return (self.data_dir / "PG_VERSION").read_text().strip()

    @contextmanager
    def _os_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DatabaseError(f"cannot {verb} the PostgreSQL in {self.data_dir}: {error}") from error


def _fits(directory: Path) -> bool:
    """Whether a client can name a socket in this directory (libpq reads a comma as the end of a host)."""
    return (
        "," not in str(directory) and len(os.fsencode(directory / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH
    )
