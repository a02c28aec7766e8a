"""Bodies that are large, packed, broken: bounded before and after they are unpacked, and in all."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable

import pytest
import zstandard

from ooni_pipeline.collector.http.answers import RefusedError
from ooni_pipeline.collector.http.body import ClientGoneError, Memory, Room, encoding_of, unpack
from ooni_pipeline.collector.http.json_text import read_object
from tests.collector.http.client import CREATE, archived, ask, connect, create, post, read_reply, until_closed
from tests.parts.collector import Collector, StartCollector

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress}
MB = 1024 * 1024
TEXT = b"".join(b"%x" % (number * 7919) for number in range(1000)) + b"text" * 1000


def unpacked(encoding: str, packed: bytes, limit: int = MB) -> bytes:
    with Room(Memory(limit * 10)) as room:
        return unpack(encoding, packed, limit, room)


def refused(encoding: str, packed: bytes, limit: int = MB) -> int:
    with pytest.raises(RefusedError) as error:
        unpacked(encoding, packed, limit)
    return error.value.status


@pytest.mark.parametrize("encoding", PACKERS)
def test_unpack(encoding: str) -> None:
    pack = PACKERS[encoding]
    packed = pack(TEXT)
    assert unpacked(encoding, packed) == TEXT
    assert unpacked(encoding, packed * 3) == TEXT * 3
    assert unpacked(encoding, packed, len(TEXT)) == TEXT
    assert refused(encoding, packed, len(TEXT) - 1) == 413
    assert refused(encoding, packed * 2, len(TEXT)) == 413
    for cut in (0, 1, 4, 11, len(packed) // 2, len(packed) - 1):
        assert refused(encoding, packed[:cut]) == 400
        assert refused(encoding, packed + packed[:cut]) == 400 if cut else True
    for more in (b"x", b"\0", b"and more" * 1000):
        assert refused(encoding, packed + more) == 400
    assert refused(encoding, TEXT) == 400
    assert refused(encoding, pack(b"") * 1000) == 400


@pytest.mark.parametrize("encoding", PACKERS)
def test_bombs_go_off_in_a_small_room(encoding: str) -> None:
    """A thousand times as large, they are refused at once, however much they would become."""
    bomb = PACKERS[encoding](bytes(500 * MB))
    begun = time.monotonic()
    assert refused(encoding, bomb, 20 * MB) == 413
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("encoding", PACKERS)
def test_what_a_body_unpacks_to_is_taken_from_the_room_of_all(encoding: str) -> None:
    pack = PACKERS[encoding]
    memory = Memory(2 * MB)
    with Room(memory) as room:
        assert len(unpack(encoding, pack(bytes(MB)), 10 * MB, room)) == memory.used == MB
        with pytest.raises(RefusedError, match="503 busy"):
            unpack(encoding, pack(bytes(3 * MB)), 10 * MB, room)
    assert memory.used == 0


def test_a_window_larger_than_any_body_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert refused("zstd", packer.compress(bytes(100)) + packer.flush()) == 400


def test_a_room_that_is_left_takes_nothing_more() -> None:
    memory = Memory(100)
    with Room(memory) as room:
        room.add(60)
        with pytest.raises(RefusedError) as error:
            room.add(50)
        assert error.value.status == 503 and error.value.headers["Retry-After"]
        assert memory.used == 60
    assert memory.used == 0
    with pytest.raises(ClientGoneError):  # the thread that unpacks goes on for a moment
        room.add(1)
    assert memory.used == 0


@pytest.mark.parametrize("said", [b"br", b"deflate", b"gzip, gzip", b"gzip, zstd", b"\xff", b"gzip;q=1"])
def test_another_encoding(said: bytes) -> None:
    with pytest.raises(RefusedError) as error:
        encoding_of([(b"content-encoding", said)])
    assert error.value.status == 415


def test_encodings_over_the_wire(shared: Collector) -> None:
    body = json.dumps(CREATE).encode()
    for said, sent, error in (
        ("br", body, (415, "unsupported-content-encoding")),
        ("gzip", body, (400, "invalid-content-encoding")),
        ("zstd", gzip.compress(body), (400, "invalid-content-encoding")),
        ("gzip", gzip.compress(bytes(21 * MB)), (413, "request-too-large")),
        ("zstd", zstandard.compress(bytes(21 * MB)), (413, "request-too-large")),
        ("zstd", zstandard.compress(bytes(200_000)), (400, "invalid-request")),
    ):
        assert ask(shared.url, "POST", "/report", sent, {"Content-Encoding": said}).error == error


def test_the_largest_body_and_one_byte_more(shared: Collector) -> None:
    report_id = create(shared.url)
    frame = b'{"content": {"a": ""}}'
    largest = frame.replace(b'""', b'"%s"' % (b"x" * (20 * MB - len(frame))))
    assert len(largest) == 20 * MB
    path = f"/report/{report_id}"
    assert ask(shared.url, "POST", path, largest).status == 200
    assert ask(shared.url, "POST", path, largest + b" ").error == (413, "request-too-large")
    assert ask(shared.url, "POST", f"{path}/close").status == 200
    assert archived(shared, report_id).read_bytes() == largest[12:-1] + b"\n"
    # without a length it is found out while it comes
    with connect(shared.url) as client:
        client.sendall(b"POST /report HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(21):
            client.sendall(b"%x\r\n%s\r\n" % (MB, bytes(MB)))
        client.sendall(b"0\r\n\r\n")
        assert read_reply(client).error == (413, "request-too-large")


def test_a_client_that_listens_only_when_it_has_sent_all(shared: Collector) -> None:
    """As ooniprobe does, with Connection: close: it is told why, not cut off in the middle."""
    for status, path, size in ((413, "/report", 21 * MB), (404, "/report/nothing", 5 * MB)):
        with connect(shared.url) as client:
            client.sendall(post(path, bytes(size), ["Connection: close"]))
            assert until_closed(client).startswith(b"HTTP/1.1 %d" % status)


def test_a_client_that_asks_first(shared: Collector) -> None:
    """Expect: 100-continue is answered with 100, or with what would be the end of it."""
    body = json.dumps(CREATE).encode()
    head = b"POST /report HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with connect(shared.url) as client:
        client.sendall(head % len(body))
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert read_reply(client).status == 200
    with connect(shared.url) as client:
        client.sendall(head % (30 * MB))
        said = until_closed(client)
    assert said.startswith(b"HTTP/1.1 413") and b"connection: close" in said.lower()


def test_all_bodies_together(start_collector: StartCollector) -> None:
    """Where they take too much memory the next ones are told to come again; then all is well again."""
    collector = start_collector(body_limit_mb=2, bodies_mb=4)
    big = b'{"x": "' + b"y" * (2 * MB - 100)
    slow = [connect(collector.url) for _ in range(3)]
    try:
        for client in slow[:2]:
            client.sendall(b"POST /report HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (2 * MB) + big)
        end = time.monotonic() + 20
        while time.monotonic() < end and collector.metrics()["ooni_collector_bodies_bytes"] < 4 * MB - 1000:
            time.sleep(0.05)
        reply = ask(collector.url, "POST", "/report", b'{"x": "' + b"y" * 5000 + b'"}')
        assert reply.error == (503, "busy") and int(reply.headers["retry-after"]) > 0
    finally:
        for client in slow:
            client.close()
    end = time.monotonic() + 20
    while time.monotonic() < end and collector.metrics()["ooni_collector_bodies_bytes"]:
        time.sleep(0.05)
    assert ask(collector.url, "POST", "/report", CREATE).status == 200


def test_large_bodies_are_not_parsed_in_the_loop(shared: Collector) -> None:
    """While one is read that takes a second, nobody waits for as long."""
    report_id = create(shared.url)
    # A call of ours for each number: no lock is held for long while it goes on.
    body = b'{"content": {"a": [' + b"1," * 9_000_000 + b"1]}}"
    begun = time.monotonic()
    read_object(body)
    takes = time.monotonic() - begun
    sending = threading.Thread(target=ask, args=(shared.url, "POST", f"/report/{report_id}", body))
    sending.start()
    longest = 0.0
    while sending.is_alive():
        begun = time.monotonic()
        assert ask(shared.url, "POST", "/report", CREATE).status == 200
        longest = max(longest, time.monotonic() - begun)
    sending.join()
    assert shared.metrics()['ooni_collector_requests_total{route="/report/{report_id}",status="200"}'] >= 1
    assert longest < 0.7 * takes, (longest, takes)
