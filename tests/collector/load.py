"""Many probes at once: connections that make reports, send entries and write down what was acknowledged.

A connection that breaks, or a service that is away, is what a probe meets too: the same request is sent again
until it is answered. So after any number of kills each entry that was acknowledged must be found once.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

HEADER = {
    "software_name": "load", "software_version": "1.0",
    "test_name": "web_connectivity", "test_version": "0.1",
    "probe_asn": "AS64500", "probe_cc": "ZZ", "test_start_time": "2016-08-01 12:00:00",
    "data_format_version": "0.2.0",
}  # fmt: skip
#: Seconds between two attempts, and after which a probe that nobody answers gives up.
PAUSE, PATIENCE = 0.02, 60.0


@dataclass
class Acknowledged:
    """What the service said yes to."""

    #: The ids of entries, by report.
    entries: dict[str, list[str]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    #: Requests that had to be sent again because the connection broke under them.
    again: int = 0

    @property
    def count(self) -> int:
        return sum(map(len, self.entries.values()))


class Probe:
    """One connection, kept alive as long as the service keeps it."""

    def __init__(self, url: str, told: Acknowledged, form: str) -> None:
        place = urlsplit(url)
        self._form = form
        self._host, self._port = place.hostname or "", place.port or 80
        self._told = told
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes, bool]:
        """POST until it is answered: status, body, and whether it may have been taken before."""
        late = time.monotonic() + PATIENCE
        again = False
        while True:
            try:
                status, answer = await self._once(path, body)
            except (OSError, asyncio.IncompleteReadError):
                self.end()
                if time.monotonic() > late:
                    raise
                again = True
                self._told.again += 1
                await asyncio.sleep(PAUSE)
                continue
            if status == 503:  # it is going down, or full: a probe comes again
                self.end()
                assert time.monotonic() < late
                await asyncio.sleep(PAUSE)
                continue
            return status, answer, again

    async def _once(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode("ascii") + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines[1:] if line)
        answer = await self._reader.readexactly(int(headers.get(b"content-length", b"0")))
        if headers.get(b"connection") == b"close":
            self.end()
        return int(lines[0].split()[1]), answer

    def end(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def create(self) -> str:
        status, answer, _ = await self.ask("/report", json.dumps({**HEADER, "format": self._form}).encode())
        assert status == 200, (status, answer)
        report_id = str(json.loads(answer)["report_id"])
        self._told.entries[report_id] = []
        return report_id

    async def update(self, report_id: str, entry_id: str, padding: str) -> None:
        content: object = {**_CONTENT, "report_id": report_id, "id": entry_id, "padding": padding}
        if self._form == "yaml":
            content = f"---\n{json.dumps(content)}\n...\n"  # which is YAML too
        body = json.dumps({"content": content, "format": self._form}).encode()
        status, answer, _ = await self.ask(f"/report/{report_id}", body)
        assert status == 200, (status, answer)
        self._told.entries[report_id].append(entry_id)

    async def close(self, report_id: str) -> None:
        status, answer, again = await self.ask(f"/report/{report_id}/close", b"")
        # Where the answer to the first attempt was lost, the report may be closed already.
        assert status == 200 or (again and status == 404), (status, answer)
        self._told.closed.add(report_id)


_CONTENT = {
    "test_name": HEADER["test_name"],
    "data_format_version": "0.2.0",
    "probe_cc": "ZZ",
    "test_keys": {},
}


async def send_load(
    url: str,
    *,
    connections: int,
    entries: int,
    size: int,
    reports: int = 1,
    sharing: int = 1,
    form: str = "json",
    told: Acknowledged | None = None,
) -> Acknowledged:
    """``entries`` entries of about ``size`` bytes in all, spread over ``connections``; ``told`` is filled.

    Each connection has ``reports`` reports, one after the other; with ``sharing`` so many connections send
    into the same one at a time. Every entry has an id of its own.
    """
    told = told or Acknowledged()
    padding = "x" * max(size - 250, 0)
    groups = connections // sharing
    each = entries // (groups * reports * sharing)

    async def one(probe: Probe, report_id: str, number: int) -> None:
        for index in range(each):
            await probe.update(report_id, f"{report_id}-{number}-{index}", padding)

    async def group() -> None:
        probes = [Probe(url, told, form) for _ in range(sharing)]
        for _ in range(reports):
            report_id = await probes[0].create()
            await asyncio.gather(*(one(probe, report_id, number) for number, probe in enumerate(probes)))
            await probes[0].close(report_id)
        for probe in probes:
            probe.end()

    await asyncio.gather(*(group() for _ in range(groups)))
    return told


def ids_of(paths: Iterable[Path]) -> Counter[str]:
    """How often each entry's id stands in these files. What is no whole entry is a fault."""
    found: Counter[str] = Counter()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert text.endswith("...\n" if path.suffix == ".yaml" else "\n"), path.name
        for entry in _yaml_entries(text) if path.suffix == ".yaml" else map(json.loads, text.splitlines()):
            assert set(entry) == {*_CONTENT, "report_id", "id", "padding"}, path.name
            found[entry["id"]] += 1
    return found


def _yaml_entries(text: str) -> Iterator[dict[str, str]]:
    """All but the header, of a file whose documents all end as they should."""
    documents = text.split("---\n")[1:]
    assert all(document.endswith("...\n") for document in documents)
    return (json.loads(document.removesuffix("...\n")) for document in documents[1:])


def assert_complete(told: Acknowledged, archive: Path) -> None:
    """Every entry that was acknowledged is archived, once, in the file of its report, and nothing else is."""
    assert told.closed == set(told.entries)
    files = {report_id: [] for report_id in told.entries}  # type: dict[str, list[Path]]
    for place, _, names in os.walk(archive):
        for name in names:
            (report_id,) = [part for part in name.split("-") if part in files]
            files[report_id].append(Path(place, name))
    for report_id, paths in files.items():
        assert len(paths) == 1, f"{len(paths)} files of one report"
        assert ids_of(paths) == Counter(told.entries[report_id])
