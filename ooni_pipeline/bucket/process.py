"""What the kernel tells of a process: what it was called with, and for how long it has run (Linux)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
#: Where a process's start stands among the fields of its ``stat`` after its name, in ticks since the boot.
_START = 19


#: Under what the proof of a fetch says what :func:`since_boot` said.
SINCE_BOOT = "since_boot"


def running_for(pid: int) -> float | None:
    """The seconds that a process has run; None when there is none. It asks no clock that somebody sets."""
    try:
        after_name = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        up = float((_PROC / "uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return max(0.0, up - int(after_name[_START]) / os.sysconf("SC_CLK_TCK"))


def since_boot() -> dict[str, Any]:
    """``boot``, which run of this machine it is, and ``seconds`` since it began: what no change of the clock
    alters. Empty where the kernel does not tell."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return {"boot": boot, "seconds": int(float((_PROC / "uptime").read_text().split()[0]))}
    except (OSError, ValueError, IndexError):
        return {}


def command_of(pid: int) -> str:
    """What a process was called with, cut to a line; empty when there is none."""
    try:
        called = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return " ".join(called.decode(errors="replace").replace("\0", " ").split())[:200]


def described(pid: int | None) -> str:
    """A process for the operator: which, what it does, since when."""
    seconds = running_for(pid) if pid else None
    if pid is None or seconds is None:
        return "a process that this machine does not show"
    return f"process {pid} ({command_of(pid)}), which has run for {spoken(seconds)}"


def spoken(seconds: float) -> str:
    """A duration as people say it, in its two largest units: ``2 d 3 h``, ``1 h 5 min``, ``12 s``."""
    left, parts = int(seconds), []
    for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {name}")
    return " ".join(parts[:2]) or "0 s"
