"""Journals that are kept open for a while: opening one for each entry would take as long as writing it."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict

#: So many, whatever number of reports is open.
_MOST = 128


class Descriptors:
    """File descriptors by report id. Whoever uses one takes it out, so nobody closes it meanwhile."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, int] = OrderedDict()

    def take(self, report_id: str) -> int | None:
        """The descriptor that was given back, if it is still there."""
        return self._kept.pop(report_id, None)

    def give(self, report_id: str, descriptor: int) -> None:
        """Keep it, for its next use; the one that was not used for longest may be closed."""
        self._kept[report_id] = descriptor
        if len(self._kept) > _MOST:
            with contextlib.suppress(KeyError, OSError):
                os.close(self._kept.popitem(last=False)[1])

    def close(self, report_id: str) -> None:
        """Close that of one report, which nobody uses."""
        descriptor = self._kept.pop(report_id, None)
        if descriptor is not None:
            with contextlib.suppress(OSError):  # what was told to be on disk was flushed
                os.close(descriptor)

    def close_all(self) -> None:
        """Close those that nobody uses."""
        for report_id in list(self._kept):
            self.close(report_id)
