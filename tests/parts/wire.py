"""A wire between two machines that can be cut, or fall silent, after so many bytes of what comes back."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator


class Wire:
    """Passes on what comes to ``port`` to another port of this machine. What a test sets counts for the
    connections that are made from then on."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        #: Cut or silent after so many bytes from the far side; None: never.
        self.cut_after: int | None = None
        self.silent_after: int | None = None
        #: Of the connections, the first so many are left alone.
        self.spare = 0
        self.connections = 0
        #: What came back from the far side, of all connections.
        self.bytes_back = 0
        self._ended = threading.Event()
        self._doorman = threading.Thread(target=self._accept, daemon=True)
        self._doorman.start()

    def good(self) -> None:
        """From now on nothing happens to a connection."""
        self.cut_after = self.silent_after = None

    def end(self) -> None:
        """Take no more connections, and let those that are there go."""
        self._ended.set()
        # Closed before that thread has ended, its number may be the next wire's by the time it accepts.
        self._door.shutdown(socket.SHUT_RDWR)
        self._doorman.join()
        self._door.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                came, _ = self._door.accept()
                self.connections += 1
                cut, silent = self.cut_after, self.silent_after
                if self.connections <= self.spare:
                    cut = silent = None
                threading.Thread(target=self._pass, args=(came, cut, silent), daemon=True).start()

    def _pass(self, came: socket.socket, cut: int | None, silent: int | None) -> None:
        with contextlib.ExitStack() as held:
            held.enter_context(came)
            held.enter_context(contextlib.suppress(OSError))
            far = held.enter_context(socket.create_connection(self._target))
            with selectors.DefaultSelector() as waiting:
                waiting.register(came, selectors.EVENT_READ, far)
                waiting.register(far, selectors.EVENT_READ, came)
                back = 0
                while not self._ended.is_set():
                    for key, _ in waiting.select(0.5):
                        one, other = key.fileobj, key.data
                        data = one.recv(65536)  # type: ignore[union-attr]
                        if not data:
                            return
                        if one is far:
                            if cut is not None and back + len(data) > cut:
                                other.sendall(data[: cut - back])
                                return
                            back += len(data)
                            self.bytes_back += len(data)
                            if silent is not None and back > silent:
                                self._ended.wait(60)
                                return
                        other.sendall(data)


@contextlib.contextmanager
def wire(target: tuple[str, int]) -> Iterator[Wire]:
    made = Wire(target)
    try:
        yield made
    finally:
        made.end()
