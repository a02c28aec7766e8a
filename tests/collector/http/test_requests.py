"""Requests of three generations, their replies, what is tolerated: reference/collector.md, 1.2 and 1.4."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import uuid
from collections.abc import Callable

import pytest
import zstandard

from ooni_pipeline.report.names import parse_report_name
from tests.collector.http.client import (
    CREATE,
    OLD,
    archived,
    ask,
    connect,
    create,
    post,
    read_reply,
    until_closed,
    update,
)
from tests.parts.collector import Collector, StartCollector

ENTRY = b'{"input": "http://example.org/", "report_id": null, "t": 1.50, "big": 12345678901234567890123}'
ID = re.compile(r"\d{8}T\d{6}Z_AS64496_[A-Za-z0-9]{50}")


# ------------------------------------------------------------------------------------------- the table of 1.2


def test_create_as_in_2016(shared: Collector) -> None:
    reply = ask(shared.url, "POST", "/report", CREATE)
    assert reply.status == 200
    assert ID.fullmatch(reply.body.pop("report_id"))
    assert reply.body == {"backend_version": "1.3.5", "supported_formats": ["yaml", "json"]}
    assert reply.headers["content-type"] == "application/json"
    assert "server" not in reply.headers


def test_create_as_in_2014_is_yaml_with_defaults(shared: Collector) -> None:
    """No format, no data_format_version, no probe_cc, no time: YAML 0.1.0 from ZZ, now."""
    header = "---\nprobe_asn: AS1\nsoftware_name: ooniprobe\ntest_name: tcp_connect\n...\n"
    reply = ask(shared.url, "POST", "/report", {**OLD, "probe_asn": "AS1", "content": header})
    report_id = reply.body["report_id"]
    text = "---\n{input: 'a', test_runtime: 1.0}\n...\n"
    put = ask(shared.url, "PUT", "/report", {"report_id": report_id, "content": text})
    assert (put.status, put.body) == (200, {"status": "success"})
    assert ask(shared.url, "POST", f"/report/{report_id}/close").body == {"status": "success"}
    path = archived(shared, report_id)
    assert path.read_text().endswith(text)
    name = parse_report_name(path.name)
    assert (name.probe_asn, name.probe_cc, name.data_format_version) == ("AS1", "ZZ", "0.1.0")
    assert name.start_time is not None and name.extension == "yaml"


def test_create_as_today(shared: Collector) -> None:
    """probe_asn and probe_cc may be missing."""
    report_id = create(shared.url, probe_asn=None, probe_cc=None)
    assert "_AS0_" in report_id
    assert update(shared.url, report_id, b"{}").status == 200
    assert ask(shared.url, "POST", f"/report/{report_id}/close").status == 200
    name = parse_report_name(archived(shared, report_id).name)
    assert (name.probe_asn, name.probe_cc) == ("AS0", "ZZ")


@pytest.mark.parametrize("nothing", ["", None])
@pytest.mark.parametrize(
    "field", ["probe_asn", "probe_cc", "data_format_version", "test_start_time", "format"]
)
def test_null_and_empty_say_nothing(shared: Collector, field: str, nothing: str | None) -> None:
    assert ask(shared.url, "POST", "/report", {**CREATE, field: nothing}).status == 200


@pytest.mark.parametrize("form", ["json", None])
def test_update_with_post_and_put(shared: Collector, form: str | None) -> None:
    """JSON entries are kept byte for byte; line ends between tokens become spaces."""
    report_id = create(shared.url)
    assert update(shared.url, report_id, ENTRY, form).body == {"status": "success"}
    put = b'{"report_id": "%s", "content":\n{"a" :\r\n1e400, "a": "\\ud800", "b": NaN}\n}'
    assert ask(shared.url, "PUT", "/report", put % report_id.encode()).body == {"status": "success"}
    assert ask(shared.url, "POST", f"/report/{report_id}/close").body == {"status": "success"}
    lines = archived(shared, report_id).read_bytes().split(b"\n")
    assert lines == [ENTRY, b'{"a" :  1e400, "a": "\\ud800", "b": NaN}', b""]


def test_yaml_text_is_kept_as_sent(shared: Collector) -> None:
    report_id = create(shared.url, format="yaml", content=None)
    text = "---\n{a: 'è😀', b: [1, 2]}\n...\n"
    assert update(shared.url, report_id, json.dumps(text).encode(), "yaml").status == 200
    assert update(shared.url, report_id, b'"---\\n{half: \\"\\ud800\\"}\\n...\\n"', "yaml").status == 200
    ask(shared.url, "POST", f"/report/{report_id}/close")
    kept = archived(shared, report_id).read_text(encoding="utf-8")
    assert text in kept and '---\n{half: "\ufffd"}\n...\n' in kept


def test_close_twice_and_update_after_it(shared: Collector) -> None:
    report_id = create(shared.url)
    update(shared.url, report_id, b"{}")
    assert ask(shared.url, "POST", f"/report/{report_id}/close", b"whatever").status == 200
    assert ask(shared.url, "POST", f"/report/{report_id}/close").error == (404, "report-not-found")
    assert update(shared.url, report_id, b"{}").error == (404, "report-not-found")
    put = ask(shared.url, "PUT", "/report", {"report_id": report_id, "content": {}})
    assert put.error == (404, "report-not-found")


def test_an_empty_report_is_dropped_without_a_word(shared: Collector) -> None:
    report_id = create(shared.url)
    assert ask(shared.url, "POST", f"/report/{report_id}/close").body == {"status": "success"}
    assert not [path for path in shared.layout.archive.iterdir() if report_id in path.name]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_measurement_in_one_request(shared: Collector, wrapped: bool) -> None:
    said = {**CREATE, "report_id": "of somebody else", "test_keys": {"x": 1}, "content": {"of": "its own"}}
    entry = json.dumps(said).encode()
    body = b'{"format": "json", "content": %s}' % entry if wrapped else b" \n" + entry + b"\n"
    reply = ask(shared.url, "POST", "/measurement", body)
    assert reply.status == 200 and ID.fullmatch(reply.body["report_id"])
    digest = hashlib.sha256(entry).digest()
    assert reply.body["measurement_id"] == str(uuid.UUID(bytes=digest[:16]))
    path = archived(shared, reply.body["report_id"])
    assert path.read_bytes() == entry + b"\n"
    assert path.name.startswith("20160801T120000-web_connectivity-")


def test_the_address_of_a_test_helper(start_collector: StartCollector) -> None:
    collector = start_collector(bouncer={"test_helpers": "\n  dns legacy 192.0.2.1:57004"})
    reply = ask(collector.url, "POST", "/report", {**CREATE, "test_helper": "dns"})
    assert reply.body["test_helper_address"] == "192.0.2.1:57004"
    reply = ask(collector.url, "POST", "/report", {**CREATE, "test_helper": "other"})
    assert reply.error == (404, "test-helper-not-found")


# ------------------------------------------------------------------------------------- the tolerance of 1.4


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data; boundary=\xe8"}]
)
def test_any_content_type(shared: Collector, headers: dict[str, str]) -> None:
    assert ask(shared.url, "POST", "/report", CREATE, headers).status == 200


def test_close_without_content_length(shared: Collector) -> None:
    """As measurement-kit closes: it is answered at once."""
    report_id = create(shared.url)
    with connect(shared.url, timeout=5) as client:
        client.sendall(f"POST /report/{report_id}/close HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert read_reply(client).status == 200


def test_http_1_0_and_connection_close(shared: Collector) -> None:
    body = json.dumps(CREATE).encode()
    for version, headers in (("1.0", ""), ("1.1", "Connection: close\r\n")):
        with connect(shared.url) as client:
            head = f"POST /report HTTP/{version}\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            assert b"report_id" in until_closed(client)


def test_a_body_in_chunks(shared: Collector) -> None:
    body = json.dumps(CREATE).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    with connect(shared.url) as client:
        client.sendall(b"POST /report HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert read_reply(client).status == 200


def test_many_requests_on_one_connection(shared: Collector) -> None:
    """Pipelined, with errors between them: each is answered, in order."""
    good, bad = post("/report", json.dumps(CREATE).encode()), post("/report", b"[]")
    with connect(shared.url) as client:
        client.sendall(
            good + bad + good + post("/nothing", b"") + post("/report", b"{}", ["Connection: close"])
        )
        statuses = re.findall(rb"HTTP/1.1 (\d+)", until_closed(client))
    assert statuses == [b"200", b"400", b"200", b"404", b"400"]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "zstd", "GZIP", "identity"])
def test_packed_bodies(shared: Collector, name: str) -> None:
    pack = PACKERS.get(name.lower(), bytes)
    headers = {"Content-Encoding": name}
    assert ask(shared.url, "POST", "/report", pack(json.dumps(CREATE).encode()), headers).status == 200
    report_id = create(shared.url)
    for size in (10, 100_000, 3_000_000):
        entry = b'{"a": "' + b"x" * size + b'"}'
        reply = ask(shared.url, "POST", f"/report/{report_id}", pack(b'{"content": ' + entry + b"}"), headers)
        assert reply.status == 200
    ask(shared.url, "POST", f"/report/{report_id}/close")
    assert len(archived(shared, report_id).read_bytes().splitlines()) == 3


def test_clients_can_go_on_after_any_refusal(shared: Collector) -> None:
    """An answer before the end of the body does not confuse what follows on the connection."""
    with connect(shared.url) as client:
        for _ in range(3):
            client.sendall(post("/report/nothing", b"x" * 200_000))
            assert read_reply(client).status == 404
        client.sendall(post("/report", json.dumps(CREATE).encode()))
        assert read_reply(client).status == 200
