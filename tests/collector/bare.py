"""``python -m tests.collector.bare DIRECTORY``: what the collector is measured against.

The least that could be called one, on uvicorn: a file a report, kept open; each entry is appended and flushed
in a thread before it is answered. No validation, no recovery, no limits; a body is kept as it came. Prints
its port.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn


class BareCollector:
    """An ASGI application."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(32)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        _, _, report_id, *close = scope["path"].split("/") if scope["path"] != "/report" else ("", "", "")
        if not report_id:
            report_id = secrets.token_hex(16)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._files[report_id] = os.open(self._directory / report_id, flags, 0o600)
            answer = f'{{"report_id": "{report_id}"}}'.encode()
        elif close:
            os.close(self._files.pop(report_id))
            answer = b'{"status": "success"}'
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, _append, self._files[report_id], body + b"\n")
            answer = b'{"status": "success"}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def _append(number: int, line: bytes) -> None:
    os.write(number, line)
    os.fdatasync(number)


async def main(directory: Path) -> None:
    config = uvicorn.Config(
        BareCollector(directory), host="127.0.0.1", port=0, log_level="warning", access_log=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
