"""Copying files with the rsync program: from another machine over ssh, or from a directory of this one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote.account import Account, printable

#: Where rsync keeps half a file, below the destination, so that the next run goes on with it.
PARTIAL = ".rsync-partial"
#: A remote directory that is sent as it is: no shell and no option can come of it.
_DIRECTORY = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_@+=:,./-]*")
#: rsync's own words for "some files could not be had, or went meanwhile": what arrived must tell.
_SOME = (23, 24)
_EXITS = {
    10: "the connection broke",
    11: "it cannot write or read a file",
    12: "the connection broke, or the other side refused",
    20: "it was ended from outside",
    30: "the other side fell silent",
    35: "the other side fell silent",
}
_SSH_FAILED = 255
#: So rsync ends where ssh failed, if it sees the end of the connection before it sees that of ssh.
_ENDED = 12
#: How ssh says that the machine closed the connection before it greeted us.
_DROPPED = b"kex_exchange_identification: "
#: How ssh says why it failed, and what that means.
_SSH_SAYS = (
    (_DROPPED, "{dropped}"),
    (b"Host key verification failed", "the host key is not the one in {known_hosts}"),
    (b"Permission denied (", "the key {key} is refused for {user}"),
    (b"Connection refused", "the connection was refused"),
    (b"timed out", "it does not answer"),
    (b"Could not resolve", "the host name is not known"),
)
#: Links and other odd things are not copied.
_PLAIN = ("--no-links", "--no-devices", "--no-specials")
#: The environment of rsync and ssh: nothing of ours, and words that we know.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}


def pull(
    account: Account,
    destination: Path,
    *,
    names: Iterable[str] | None = None,
    directory: str = ".",
    limit: float | None = None,
    options: Sequence[str] = (),
    in_child: Callable[[], None] | None = None,
    program: str = "rsync",
) -> None:
    """Copy files below the remote ``directory`` to ``destination``, which is made.

    ``names``: those alone, as data and never as patterns, with their directories; without them everything,
    as the ``options`` of the caller say (such as ``--delete``). Modification times are kept, links and other
    odd things are not copied, half a file waits in :data:`PARTIAL` for the next run. A file that cannot be
    had is no error: look at what arrived. ``limit`` is of the whole run, in seconds; ``in_child`` is called
    in rsync's process before it is rsync. Raises TransferError where the connection cannot be made, breaks,
    hangs, or where rsync cannot write.
    """
    account.check_files()
    command = [program, *arguments(account, destination, names is not None, directory, options)]
    request = b"".join(b"./" + os.fsencode(name) + b"\0" for name in names or ())
    destination.mkdir(parents=True, exist_ok=True)
    for pause in (*account.pauses, None):
        status, said = _run(command, request, destination, account.place, limit, in_child)
        if pause is None or not any(line.startswith(_DROPPED) for line in _of_ssh(said)):
            break
        time.sleep(pause)
    if status not in (0, *_SOME):
        raise TransferError(f"rsync from {account.place}: {meaning(status, said, account)}")


def pull_local(
    source: Path,
    destination: Path,
    options: Sequence[str],
    *,
    limit: float,
    in_child: Callable[[], None] | None = None,
    program: str = "rsync",
) -> None:
    """Copy what lies in ``source``, a directory of this machine or of a disk that is mounted here, into
    ``destination``, which is made; the rest as :func:`pull`."""
    if not source.is_dir():
        raise TransferError(f"{source} is no directory")
    destination.mkdir(parents=True, exist_ok=True)
    command = [program, *_PLAIN, *options, "--", f"{source}/", f"{destination}/"]
    status, _ = _run(command, b"", destination, str(source), limit, in_child)
    if status not in (0, *_SOME):
        raise TransferError(f"rsync from {source}: {_exit(status)}")


def _run(
    command: Sequence[str],
    request: bytes,
    destination: Path,
    place: str,
    limit: float | None,
    in_child: Callable[[], None] | None,
) -> tuple[int, bytes]:
    """The exit status, and what was said on standard error."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd=destination,
            start_new_session=True,  # a group of its own, with its ssh
            preexec_fn=in_child,
        )
    except FileNotFoundError:
        raise TransferError(
            f"the program {command[0]} is not here: install it (apt-get install rsync)"
        ) from None
    try:
        said = process.communicate(request, timeout=limit)[1]
    except subprocess.TimeoutExpired:
        raise TransferError(f"rsync from {place} was not done within {limit:g} s") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, said


def arguments(
    account: Account, destination: Path, named: bool, directory: str, options: Sequence[str] = ()
) -> list[str]:
    """What rsync is called with."""
    if not _DIRECTORY.fullmatch(directory) or ".." in directory.split("/"):
        raise TransferError("refusing the name of a remote directory: it has odd characters")
    host = f"[{account.host}]" if ":" in account.host else account.host
    return [
        "--times",
        "--omit-dir-times",
        *_PLAIN,
        "--no-motd",
        f"--timeout={max(1, round(account.timeout))}",
        f"--partial-dir={PARTIAL}",
        *(("--files-from=-", "--from0", "--no-recursive") if named else ("--recursive",)),
        *options,
        f"--rsh={shell(account)}",
        "--",
        f"{account.user}@{host}:{directory.rstrip('/')}/",
        f"{destination}/",
    ]


def shell(account: Account) -> str:
    """The ssh that rsync is to use, in one word."""
    seconds = max(1, round(account.timeout))
    settings = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": account.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ClearAllForwardings": "yes",
        "ControlPath": "none",
        "ConnectTimeout": seconds,
        "ServerAliveInterval": max(1, seconds // 3),
        "ServerAliveCountMax": 3,
    }
    told = " ".join(f"-o {name}={value}" for name, value in settings.items())
    return f"ssh -F /dev/null -p {account.port} -i {account.key} {told}"


def meaning(status: int, said: bytes, account: Account) -> str:
    """What an exit status means. What rsync prints is not shown: it quotes names; what ssh says is."""
    if status in (_SSH_FAILED, _ENDED):
        own = _of_ssh(said)
        facts = {"dropped": account.dropped, **vars(account)}
        for words, what in _SSH_SAYS:
            if any(words in line for line in own):
                return what.format(**facts)
        if status == _SSH_FAILED:
            return f"ssh failed, or the connection broke{f': {printable(own[0])}' if own else ''}"
    return _exit(status)


def _exit(status: int) -> str:
    return f"{_EXITS.get(status, 'it failed')} (exit status {status})"


def _of_ssh(said: bytes) -> list[bytes]:
    """The lines that are not rsync's, whose names of files may say anything."""
    return [line for line in said.splitlines() if line and not line.startswith(b"rsync")]
