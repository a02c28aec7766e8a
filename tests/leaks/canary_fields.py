"""Canaries in headers and in fields that say who or where the volunteer is."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.leaks.canaries import (
    BYTES,
    Entry,
    Place,
    Planted,
    broken,
    cut_short,
    in_base64,
    with_response,
)
from tests.leaks.headers import KEYS, LISTED


def plant(planted: Planted) -> None:
    for one in (_headers, _fields, _options, _inputs, _process_logs, _old_android):
        one(planted)


def _headers(planted: Planted) -> None:
    for pattern in (*LISTED, "authorization", "proxy-authorization"):
        name = (
            pattern.replace("*msisdn*", "X-Network-MSISDN").replace("*imsi*", "x-imsi").replace("*", "SubNo")
        )
        for written in (name, name.upper()):
            entries: list[Entry] = []
            for kind in ("request", "response"):
                for key in ("headers", "headers_list"):
                    text = planted.text(f"{pattern} in {kind} {key}")
                    headers: Any = {written: text} if key == "headers" else [[written, text], ["Via", "x"]]
                    record = with_response()
                    record[kind][key] = headers
                    entries.append({"test_keys": {"requests": [record]}})
            text = planted.text(f"{pattern} as a list")
            entries.append({"test_keys": {"requests": [with_response({written: [text, text]})]}})
            text = planted.text(f"{pattern} in the control of web_connectivity")
            entries.append({"test_keys": {"control": {"http_request": {"headers": {written: text}}}}})
            planted.add("http_requests", entries)
            text = planted.text(f"{pattern} in an echo")
            body = {
                "headers_dict": {written: [text]},
                "request_headers": [[written, text]],
                "request_line": "GET",
            }
            for test_name in ("http_host", "http_header_field_manipulation"):
                planted.add(test_name, [{"test_keys": {"requests": [with_response(body=json.dumps(body))]}}])
                planted.add(
                    test_name,
                    [
                        {
                            "test_keys": {
                                "requests": [with_response({written: {"x": text}}, json.dumps([body]))]
                            }
                        }
                    ],
                )
    for key in KEYS:
        for listed in (False, True):
            text = planted.text(f"header under {key}")
            under = {key: [["X-Real-IP", text]] if listed else {"X-Real-IP": text}}
            echo = {"request_line": "GET", **under}
            for entry in (
                {"test_keys": under},
                {"test_keys": {"requests": [with_response(body=json.dumps(echo))]}},
            ):
                planted.add("http_header_field_manipulation", [entry])
    for helper in ("http_host", "http_header_field_manipulation", "http_invalid_request_line"):
        text = planted.text(f"raw echo in {helper}")
        raw = f"GET / HTTP/1.1\r\nX-Client-IP: {text}\r\nx-up-subno:{text}\nHost: x\r\n\r\n"
        body = with_response(body=raw)
        planted.add(helper, [{"test_keys": {"received": [raw]}}, {"test_keys": {"requests": [body]}}])
    text = planted.text("somebody's address: a header names it")
    named = with_response({"X-Forwarded-For": f"{text}, 203.0.113.50"}, "hello 203.0.113.50")
    planted.add("http_requests", [{"test_keys": {"requests": [named]}}])
    text = planted.text("header in YAML")
    record = {
        "request": {"headers": [["x-up-subno", [text]]]},
        "response": {"headers": [["X-Real-IP", [text]]], "body": None},
    }
    planted.add_yaml(
        "http_requests",
        {"test_name": "HTTP Requests Test"},
        [{"input": "http://a.test/", "requests": [record]}],
    )


def _of_ndt7(uuid: Any) -> Entry:
    return {"download": [{"ConnectionInfo": {"UUID": uuid}}], "UUID": uuid}


def _of_ndt(uuid: Any) -> Entry:
    return {"uuid": uuid, "web100_snap": {"UUID": uuid}}


def _of_dash(uuid: Any) -> Entry:
    return {"uuid": uuid, "server": {"UUID": uuid}, "receiver_data": [{"uuid": uuid}]}


#: Names of a measurement at M-Lab, which publishes them beside the client's address.
UUIDS: tuple[tuple[str, Place], ...] = (("ndt7", _of_ndt7), ("ndt", _of_ndt), ("dash", _of_dash))


def _fields(planted: Planted) -> None:
    for key in ("probe_city", "probe_id"):
        text = planted.text(key)
        entries: list[Entry] = [
            {key: text},
            {"test_keys": {key: text}},
            *({key: one} for one in broken(text)),
        ]
        planted.add("web_connectivity", entries, *cut_short("web_connectivity", text))
        planted.add_yaml(
            "http_requests", {key: planted.text(f"{key} in YAML")}, [{"input": None, key: planted.text(key)}]
        )
    for test_name, place in UUIDS:
        text = planted.text(f"UUID of {test_name}")
        uuid = f"ndt-{text}_1564"
        planted.add(
            test_name, [{"test_keys": place(uuid)}, *({"test_keys": place(one)} for one in broken(uuid))]
        )
    text = planted.text("annotations")
    planted.add(
        "web_connectivity",
        [
            {"annotations": one}
            for one in (
                {"contact": text},
                {text: "x"},
                {"platform": {"x": text}},
                {"Platform ": text},
                *broken(text),
            )
        ],
    )


def _options(planted: Planted) -> None:
    for shape in (
        "/home/{}/lists/urls.txt", "/home/user/{}/urls.txt", "C:\\Users\\{}\\urls.txt", "~{}/urls.txt",
        "/Users/{}/x/urls.txt", "../{}/urls.txt", "file:///home/{}/urls.txt", "lists/{}/urls.txt",
        "/srv/{}/urls.txt",
    ):  # fmt: skip
        text = planted.text(f"option {shape}" if shape[0] != "l" else "option relative")
        path = shape.format(text)
        entries: list[Entry] = [
            {"options": one}
            for one in (
                ["-f", path],
                [f"--file={path}"],
                [f"-f{path}"],
                f"-f {path}",
                {"file": path},
                {path: 1},
                [["-f", path]],
            )
        ]
        planted.add("http_requests", entries, *cut_short("http_requests", text))
        planted.add_yaml(
            "http_requests",
            {"test_name": "HTTP Requests Test", "options": ["-f", path]},
            [{"input": "http://a.test/"}],
        )
        planted.add_yaml(
            "http_requests",
            {"options": {"logfile": path, "subargs": ["-f", path]}},
            [{"input": "http://a.test/"}],
        )
    for shape in ("http://{}:x@a.test/", "http://x:{}@a.test/", "http://a.test/#{}"):
        text = planted.text(f"option {shape}")
        planted.add(
            "http_requests",
            [{"options": one} for one in (["-u", shape.format(text)], [f"--url={shape.format(text)}"])],
        )
    for shape in (
        "obfs4 203.0.113.77:443 cert={} iat-mode=0",
        "Bridge obfs4 203.0.113.78:1 key={}",
        "scramblesuit 203.0.113.79:5 password={}",
    ):
        text = planted.text(f"bridge arguments in options: {shape}")
        entries = [
            {"options": one}
            for one in (
                ["-b", shape.format(text)],
                [f"--bridge={shape.format(text)}"],
                f"-b '{shape.format(text)}'",
            )
        ]
        planted.add(
            "bridge_reachability",
            [*entries, {"input": shape.format(text)}, {"test_keys": {"bridge_address": shape.format(text)}}],
        )


def _inputs(planted: Planted) -> None:
    for shape in (
        "http://{}:x@a.test/", "http://x:{}@a.test/", "http://a.test/#{}", "https://{}@a.test:443/x?y#z",
        " http://x:{}@a.test/\n", "//x:{}@a.test/", "x:{}@a.test",
    ):  # fmt: skip
        text = planted.text(f"input {shape}")
        url = shape.format(text)
        request = {
            "request": {"url": url, "headers": {"Referer": url}},
            "response": {"headers": {"Location": url}},
        }
        entries: list[Entry] = [{"input": url, "test_keys": {"requests": [request], "failure": f"at {url}"}}]
        planted.add(
            "web_connectivity",
            [*entries, *({"input": one} for one in broken(url))],
            *cut_short("http_requests", url),
        )
        planted.add_yaml(
            "http_requests", {"test_name": "HTTP Requests Test"}, [{"input": url}, {"input": [url]}]
        )


#: Where what a program wrote is kept.
PROCESS_LOGS = (
    *(("openvpn", "stdout"), ("openvpn", "stderr"), ("lantern", "stdout"), ("psiphon", "stderr")),
    *(("psiphon", "stdout"), ("vanilla_tor", "tor_log"), ("bridge_reachability", "obfsproxy_log")),
    ("torsf", "tor_logs"),
)


def _process_logs(planted: Planted) -> None:
    for test_name, key in PROCESS_LOGS:
        for shape in (
            "/home/{}/.vpn/client.conf",
            "/Users/{}/Library/x",
            "C:\\Users\\{}\\AppData\\x.exe",
            "C:\\Users\\Max {}\\AppData\\x.exe",
            "/home/u/{}/x.py",
        ):
            text = planted.text(f"path in {test_name} {key}: {shape}")
            path = shape.format(text)
            log = f'Traceback:\n  File "{path}", line 5\nOptions error: in {path}: no such file\n'
            body = {"body": log} if test_name == "openvpn" else log
            planted.add(
                test_name,
                [
                    {"test_keys": {key: one}}
                    for one in (log, body, [log], log.splitlines(), in_base64(log.encode()))
                ],
            )
            planted.add_yaml(
                test_name,
                {},
                [
                    {"input": None, key: log},
                    {"input": None, key: BYTES + base64.b64encode(b"\xe9" + log.encode()).decode()},
                ],
            )


def _old_android(planted: Planted) -> None:
    """The version of an application that is known to leak anywhere."""
    for version in ("2.0.0", "2.0.0-beta.1"):
        text = planted.text(f"ooniprobe-android {version}")
        entry = {
            "software_name": "ooniprobe-android",
            "software_version": version,
            "input": f"http://a.test/{text}",
        }
        planted.add("web_connectivity", [{**entry, "test_keys": {"body": text}, text: text}])
        planted.add_yaml(
            "web_connectivity", {**entry, "test_name": "web_connectivity"}, [{"input": text, "body": text}]
        )
