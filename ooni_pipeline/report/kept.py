"""Why the lines of a file of held or rejected entries were kept, without what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ooni_pipeline.report.entry import MAX_REJECTED_BYTES
from ooni_pipeline.report.json_lines import loads

_KEYS = {"reason", "detail", "source", "offset", "size", "digest", "base64"}
_MAX_LINE = 2 * MAX_REJECTED_BYTES


def kept_lines(path: Path) -> Iterator[str]:
    """For each line its reason, detail, offset and size (bytes, in the file of the stage above), as
    :class:`RejectedWriter` wrote them; for a line that is an entry as it came, its size alone."""
    with path.open("rb") as file:
        for line in file:
            record = None
            if len(line) <= _MAX_LINE:
                try:
                    record = loads(line)
                except ValueError:
                    record = None
            if isinstance(record, dict) and record.keys() == _KEYS:
                detail = f" ({record['detail']})" if record["detail"] else ""
                yield f"{record['reason']}{detail}, {record['size']} bytes at offset {record['offset']}"
            else:
                yield f"{len(line.rstrip())} bytes"
