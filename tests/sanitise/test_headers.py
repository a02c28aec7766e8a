"""Headers that name the volunteer lose their values; every other byte is evidence."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest

from ooni_pipeline.patterns import pattern
from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.sanitise import Sanitiser, headers
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable
from ooni_pipeline.sanitise.settings import Settings

TABLE = BridgeTable.of([Bridge("192.0.2.1", 443, "01" * 20, None, None)])
SANITISER = Sanitiser(TABLE)
FOUND = pattern([headers.lines(Settings())])
OWN = "203.0.113.7"
GO = [
    "X-Your-Address-Is", "x-your-address-is", "X-FORWARDED-FOR", "Forwarded", "X-Real-IP", "X-Client-IP",
    "Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-UP-Calling-Line-ID", "x-wap-network-client-msisdn",
    "X-Nokia-Alias", "msisdn", "X-MSISDN", "HTTP_X_MSISDN", "X-Up-3gpp-IMSI", "imsi-x", " X-Real-IP ",
    "X-Forwarded-For\n", "\nX-Forwarded-For",
]  # fmt: skip
STAY = [
    "Location", "Via", "Server", "X-Cache", "Set-Cookie", "X-Forwarded-Proto", "X-Forwarded-Host", "UP-X",
    "X-Real-IP-Not", "Not-Forwarded", "Content-Location", "Host", "X-Up", "X-WAPX-A", "X-Client-IPs", "",
]  # fmt: skip


def run(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    counts: Counter[str] = Counter()
    clean = SANITISER.of_report().sanitise_line(dump_entry(entry), counts)
    assert clean is not None
    return loads(clean), dict(counts)


def web(request: Any, response: Any, **test_keys: Any) -> dict[str, Any]:
    exchange = {"request": request, "response": response, "failure": None}
    return {"id": "x", "test_name": "web_connectivity", "test_keys": {"requests": [exchange], **test_keys}}


@pytest.mark.parametrize("name", GO)
def test_values_go_and_names_stay(name: str) -> None:
    both = {"headers": {name: OWN, "Via": OWN}, "headers_list": [[name, OWN], ["Via", OWN], [name, OWN]]}
    entry = web(copy.deepcopy(both), copy.deepcopy(both))
    assert FOUND(dump_entry(entry), 0)
    result, cuts = run(entry)
    clean = {
        "headers": {name: "[scrubbed]", "Via": OWN},
        "headers_list": [[name, "[scrubbed]"], ["Via", OWN], [name, "[scrubbed]"]],
    }
    assert result == {**web(clean, clean), "sanitised": {"headers": 6}}
    assert cuts == {"headers": 6}
    assert run(result)[0] == result, "what is scrubbed stays so, and is not counted again"


@pytest.mark.parametrize("name", STAY)
def test_other_names_keep_their_values(name: str) -> None:
    both = {"headers": {name: OWN}, "headers_list": [[name, OWN]]}
    entry = web(both, both)
    assert run(copy.deepcopy(entry)) == (entry, {})
    if not name.startswith("Not-"):
        assert FOUND(dump_entry(entry), 0) is None


@pytest.mark.parametrize(
    ("value", "clean", "count"),
    [
        (["1", "2"], ["[scrubbed]"] * 2, 1),
        ({"format": "base64", "data": "AAAA"}, "[scrubbed]", 1),
        (5, "[scrubbed]", 1),
        (None, None, 0),
        ("", "", 0),
        ([], [], 0),
        ("[REDACTED]", "[REDACTED]", 0),
        ("[scrubbed]", "[scrubbed]", 0),
    ],
)
def test_values_of_every_form(value: Any, clean: Any, count: int) -> None:
    result, cuts = run(web({"headers": {"X-Real-IP": value}}, {"headers_list": [["X-Real-IP", value]]}))
    (exchange,) = result["test_keys"]["requests"]
    assert exchange["request"]["headers"] == {"X-Real-IP": clean}
    assert exchange["response"]["headers_list"] == [["X-Real-IP", clean]]
    assert cuts == ({"headers": 2 * count} if count else {})


def test_headers_stand_elsewhere_too() -> None:
    inner = {"requests": [{"response": {"headers": {"X-Your-Address-Is": OWN}}}]}
    control = {"http_request": {"headers": {"X-Client-IP": OWN}}}
    result, cuts = run(web({}, {}, targets={"128.31.0.39:9131": inner}, control=control))
    assert OWN not in json.dumps(result)
    assert cuts == {"headers": 2}


@pytest.mark.parametrize("key", ["headers_dict", "request_headers", "headers"])
@pytest.mark.parametrize("as_pairs", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_echoes(key: str, as_pairs: bool, indent: int | None) -> None:
    values: dict[str, Any] = {"Host": ["a.test"], "X-FORWARDED-for": [OWN, "é"], "Via": [OWN]}
    clean = {**values, "X-FORWARDED-for": ["[scrubbed]"] * 2}
    body, expected = (
        {"request_line": "GET /é HTTP/1.1", "headers_dict": {}, key: list(map(list, said.items()))}
        if as_pairs
        else {"request_line": "GET /é HTTP/1.1", "headers_dict": {}, key: said}
        for said in (values, clean)
    )
    entry = web({}, {"body": json.dumps(body, indent=indent)})
    assert FOUND(dump_entry(entry), 0)
    result, cuts = run(entry)
    text = result["test_keys"]["requests"][0]["response"]["body"]
    assert json.loads(text) == json.loads(json.dumps(expected))
    assert cuts == {"echoed_headers": 1}


@pytest.mark.parametrize(
    "body",
    [
        '{"headers_dict":  {"Via": ["1.1 203.0.113.7"]}, "request_line": "GET / HTTP/1.1"}',
        '{"headers_dict": {"X-Real-IP": ["[scrubbed]"]} }',
        '{"request_headers": {"X-Real-IP": "203.0.113.7"',
        '<html>"request_headers" X-Forwarded-For: "X-Real-IP" 203.0.113.7</html>',
        "Your address is 203.0.113.7; X-Forwarded-For",
        '"headers_dict"', "[" * 2000 + '"headers_dict"', "",
    ],
)  # fmt: skip
def test_bodies_that_are_no_such_echo_stay_to_the_byte(body: str) -> None:
    entry = web({}, {"body": body, "headers": {"Location": f"http://{OWN}/"}})
    assert run(copy.deepcopy(entry)) == (entry, {})


@pytest.mark.parametrize("headers", [None, "X-Real-IP", 5, [], ["X-Real-IP"], [["X-Real-IP"]], [[5, OWN]]])
def test_headers_that_are_none(headers: Any) -> None:
    entry = web({"headers": headers}, {"headers_list": headers, "request_headers": headers})
    assert run(copy.deepcopy(entry)) == (entry, {})


def test_other_settings() -> None:
    sanitiser = Sanitiser(TABLE, Settings(headers=("Ab?-C*",)))
    line = dump_entry(web({"headers": {"aBX-cd": "1", "X-Real-IP": "2"}}, {}))
    assert list(sanitiser.of_report().wanted(line))
    clean = sanitiser.of_report().sanitise_line(line, Counter())
    assert clean is not None
    assert b'"headers":{"aBX-cd":"[scrubbed]","X-Real-IP":"2"}' in clean


def test_such_letters_in_a_body_are_no_reason_to_parse_it() -> None:
    body = {"format": "base64", "data": "abIMSIcd/ef+msisdn/x=="}
    entry = web({}, {"body": body, "headers": {"Via": "forwarded by X-UP-x/1"}})
    assert list(SANITISER.of_report().wanted(dump_entry(entry))) == []
