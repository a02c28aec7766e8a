"""What the collector counts of what it received."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ReceptionCounts:
    """What became of what came in, since this process started.

    ``created`` reports were opened, ``submitted`` came whole, ``recovered`` were found open at the start.
    ``archived`` counts all that were finished with entries, ``archived_stale`` those of them whose clients
    did not close them, ``dropped_empty`` those without entries. ``entries`` and ``bytes`` (as sent) are what
    was stored, ``repeated`` entries were stored before. ``quarantined`` are damaged reports and foreign
    files; ``refused_no_room`` and ``write_errors`` are entries and reports that the disk refused.
    """

    created: int = 0
    submitted: int = 0
    recovered: int = 0
    archived: int = 0
    archived_stale: int = 0
    dropped_empty: int = 0
    entries: int = 0
    bytes: int = 0
    repeated: int = 0
    quarantined: int = 0
    refused_no_room: int = 0
    write_errors: int = 0
