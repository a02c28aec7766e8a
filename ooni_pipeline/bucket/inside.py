"""What a process of the pipeline holds stays inside: in its files, its memory and its last words."""

from __future__ import annotations

import os
import resource
import sys
import threading

from ooni_pipeline.errors import told


def keep_inside() -> None:
    """For this process and those that it starts: what they write is for its owner alone, and they leave no
    core file, which would hold entries. What nobody caught is told here without its text.

    Called where a task, a worker process or a command begins, never at import.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.excepthook = lambda kind, error, trace: _tell(error)
    threading.excepthook = lambda thread: _tell(thread.exc_value)
    sys.unraisablehook = lambda ignored: _tell(ignored.exc_value)


def _tell(error: BaseException | None) -> None:
    """Print one line on what would otherwise be a traceback with its text."""
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif error is not None:
        print(f"error: {told(error)}", file=sys.stderr)
