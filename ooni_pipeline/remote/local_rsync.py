"""Copying a tree of this machine, or of a disk that is mounted here, with the rsync program."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ooni_pipeline.errors import TransferError

#: Rsync's own words for "some files went meanwhile": what arrived must tell.
_SOME = (23, 24)


def pull_local(
    source: Path,
    destination: Path,
    options: Sequence[str],
    *,
    limit: float,
    in_child: Callable[[], None] | None = None,
) -> None:
    """Copy what lies in ``source`` into ``destination``, which is made; ``limit`` is in seconds, ``in_child``
    is called in rsync's process before it is rsync. Raises TransferError; a file that vanishes meanwhile is
    no error: look at what arrived. What rsync prints is not shown: it quotes names."""
    if not source.is_dir():
        raise TransferError(f"{source} is no directory")
    destination.mkdir(parents=True, exist_ok=True)
    plain = ("--no-links", "--no-devices", "--no-specials")
    command = ["rsync", *plain, *options, "--", f"{source}/", f"{destination}/"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
            preexec_fn=in_child,  # one thread
            timeout=limit,
            check=False,
        )
    except FileNotFoundError:
        raise TransferError("the program rsync is not here: install it (apt-get install rsync)") from None
    except subprocess.TimeoutExpired:
        raise TransferError(f"rsync from {source} was not done within {limit:g} s") from None
    if done.returncode not in (0, *_SOME):
        why = "; is the disk full?" if done.returncode == 11 else ""
        raise TransferError(f"rsync from {source} ends with exit status {done.returncode}{why}")
