"""Runs a command and kills it -9 right before the N-th time that it renames, links or deletes a file:
``python -m tests.chaos.killed N tasks.withdraw --due``."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

_CHANGES = ("os.rename", "os.remove", "os.link", "os.rmdir")


def main() -> None:
    left, own = int(sys.argv[1]), os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in _CHANGES and os.getpid() == own:  # not in the processes of a stage
            left -= 1
            if not left:
                os.kill(own, signal.SIGKILL)

    module = sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    sys.addaudithook(hook)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
