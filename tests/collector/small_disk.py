"""A reception on a disk that gets full: ``python -m tests.collector.small_disk DIRECTORY``, on a small one.

Writes what it saw to standard output, JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Literal

from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.refusals import NoRoomError
from tests.collector.reports import KINDS, entry, header, opened


async def fill(layout: CollectorLayout) -> dict[str, object]:
    """Append until nothing more goes, make room, go on, and close."""
    reception = await opened(layout)
    ballast = layout.directory / "ballast"
    ballast.write_bytes(bytes(450_000))
    ids = {kind: await reception.create(header(kind)) for kind in KINDS}
    stored: dict[str, list[int]] = {report_id: [] for report_id in ids.values()}
    refused = 0

    async def send(kind: Literal["json", "yaml"], number: int) -> None:
        nonlocal refused
        try:
            await reception.append(ids[kind], entry(kind, number, 9000))
            stored[ids[kind]].append(number)
        except NoRoomError:
            refused += 1

    for begin in range(0, 60, 3):
        await asyncio.gather(*(send(kind, begin + n) for kind in KINDS for n in range(3)))
    full = [refused]
    for call in (
        reception.create(header("yaml")),
        reception.submit(header("json"), entry("json", 999, 9000)),
    ):
        try:
            await call
        except NoRoomError:
            refused += 1
    full.append(refused)
    try:  # the whole report is a second file
        await reception.close(ids["yaml"])
    except NoRoomError:
        full.append(-1)
    ballast.unlink()
    await send("json", 1000)
    closed = [await reception.close(report_id) for report_id in ids.values()]
    counts = reception.counts
    await reception.shut()
    return {"stored": stored, "refused": full, "closed": closed, "quarantined": counts.quarantined}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(fill(CollectorLayout(Path(sys.argv[1]))))))
