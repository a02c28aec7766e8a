"""Requests and responses of every probe since 2012."""

from __future__ import annotations

from typing import Any

import pytest

from ooni_pipeline.normalise.http import header_pairs, input_among
from tests.normalise.entries import normalised

NOT_TOR = {"is_tor": False, "exit_ip": None, "exit_name": None}
TOR = {**NOT_TOR, "is_tor": True}


def session(request: Any = None, response: Any = None) -> dict[str, Any]:
    """The only session of a legacy entry that had this one."""
    entry = {"test_name": "http_requests", "requests": [{"request": request, "response": response}]}
    (found,) = normalised(entry)["test_keys"]["requests"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("headers", "pairs"),
    [
        ([["A", ["1"]]], [["A", "1"]]),
        ([["A", ["1", "2"]], ["B", ["3"]], ["A", ["4"]]], [["A", "1"], ["A", "2"], ["B", "3"], ["A", "4"]]),
        ([["A", [["1", "2"]]]], [["A", "1"], ["A", "2"]]),
        ([["A", "1"], ["B", None]], [["A", "1"], ["B", None]]),
        ([["A", []], ["B"]], [["A", None], ["B", None]]),
        ([["A", "1", "2"]], [["A", "1"], ["A", "2"]]),
        ({"A": "1", "B": ["2", "3"]}, [["A", "1"], ["B", "2"], ["B", "3"]]),
        ([["AB", "cd"], "AB", [], 5, None, {"A": "1"}], [["AB", "cd"]]),
        (None, []),
        ("A: 1", []),
        (5, []),
    ],
)
def test_every_shape_of_headers(headers: Any, pairs: list[Any]) -> None:
    assert header_pairs(headers) == pairs


def test_headers_keep_order_and_repetitions_and_the_first_value() -> None:
    response = session(response={"headers": [["B", ["1", "2"]], ["a", ["3"]], ["B", ["4"]]]})["response"]
    assert response["headers"] == {"B": "1", "a": "3"}
    assert response["headers_list"] == [["B", "1"], ["B", "2"], ["a", "3"], ["B", "4"]]


def test_a_name_that_is_no_text_stays_in_the_list() -> None:
    response = session(response={"headers": [[404, ["x"]], [{"data": "/w==", "format": "base64"}, ["y"]]]})
    assert response["response"]["headers"] == {}
    assert [value for _, value in response["response"]["headers_list"]] == ["x", "y"]


@pytest.mark.parametrize(
    ("request_", "tor", "url"),
    [
        ({"tor": True, "url": "http://a"}, TOR, "http://a"),
        ({"tor": False, "url": "http://a"}, NOT_TOR, "http://a"),
        ({"tor": None, "url": "http://a"}, NOT_TOR, "http://a"),
        ({"url": "http://a"}, NOT_TOR, "http://a"),
        ({"url": "shttp://a"}, TOR, "http://a"),
        ({"url": "shttp://a", "tor": False}, TOR, "http://a"),
        ({"url": "shttp://a", "tor": True}, TOR, "http://a"),
        ({"tor": {"is_tor": False}, "url": "http://a"}, NOT_TOR, "http://a"),
        ({"tor": {"is_tor": True}, "url": "http://a"}, TOR, "http://a"),
        (
            {"tor": {"is_tor": True, "exit_ip": "192.0.2.1", "exit_name": "x"}, "url": "http://a"},
            {"is_tor": True, "exit_ip": "192.0.2.1", "exit_name": "x"},
            "http://a",
        ),
        ({"tor": "yes", "url": 5}, NOT_TOR, 5),
        ({}, NOT_TOR, None),
        (None, NOT_TOR, None),
    ],
)
def test_tor(request_: Any, tor: dict[str, Any], url: Any) -> None:
    request = session(request=request_)["request"]
    assert (request["tor"], request["url"]) == (tor, url)


@pytest.mark.parametrize("response", [None, "missing response", 5, ["x"]])
def test_a_response_that_is_none(response: Any) -> None:
    found = session(request={"url": "http://a"}, response=response)
    assert found["response"] == {"body": None, "headers": {}, "headers_list": []}
    assert found.get("legacy_response") == response


def test_a_body_and_other_keys_stay() -> None:
    body = {"data": "/w==", "format": "base64"}
    response = session(response={"body": body, "code": 200, "x": 1})["response"]
    assert response == {"body": body, "code": 200, "x": 1, "headers": {}, "headers_list": []}


@pytest.mark.parametrize(
    ("headers", "length"), [([["cOntent-lengtH", ["7"]]], "7"), ([], None), ([["Content-Length", []]], None)]
)
def test_response_length(headers: Any, length: Any) -> None:
    assert session(response={"headers": headers})["response_length"] == length


def test_order_of_requests() -> None:
    urls = [("t1", True), ("t2", True), ("p1", False), ("p2", False), ("t3", True)]
    sessions = [{"request": {"url": url, "tor": tor}} for url, tor in urls]
    result = normalised({"test_name": "http_requests", "requests": sessions})
    found = [one["request"]["url"] for one in result["test_keys"]["requests"]]
    assert found == ["p1", "t1", "p2", "t2", "t3"]


def test_one_request_and_response_become_a_session() -> None:
    entry = {"test_name": "http_requests", "request": {"url": "http://a"}, "response": {"body": "b"}}
    test_keys = normalised(entry)["test_keys"]
    assert set(test_keys) == {"requests"}
    assert test_keys["requests"][0]["response"]["body"] == "b"


@pytest.mark.parametrize(("requests", "count"), [(None, 0), ([], 0), ({"request": {}}, 1), ("text", 1)])
def test_requests_are_always_a_list(requests: Any, count: int) -> None:
    result = normalised({"test_name": "http_requests", "requests": requests})
    assert len(result["test_keys"]["requests"]) == count


@pytest.mark.parametrize(
    ("options", "url"),
    [
        (["-u", "a"], "a"),
        (["--url", "b", "-u", "a"], "a"),
        (["--url", "b", "-u"], "b"),
        (["-u"], None),
        (["-u", 5], None),
        ([], None),
        (None, None),
        ([["-u"], {"-u": 1}], None),
    ],
)
def test_input_among_options(options: Any, url: str | None) -> None:
    assert input_among(options) == url
    assert normalised({"test_name": "http_requests", "options": options})["input"] == url


def test_an_input_that_is_there_stays() -> None:
    entry = {"test_name": "http_requests", "options": ["-u", "a"], "input": " http://b/\n"}
    assert normalised(entry)["input"] == "http://b/"


def test_a_header_that_is_none_is_kept_beside() -> None:
    odd = [["A", ["1"]], "B: 2", {"C": "3"}]
    response = session(response={"headers": odd})["response"]
    assert (response["headers"], response["headers_list"]) == ({"A": "1"}, [["A", "1"]])
    assert response["legacy_headers"] == odd
    assert session(response={"headers": "A: 1"})["response"]["legacy_headers"] == "A: 1"


def test_headers_said_in_both_ways() -> None:
    both = {"headers": {"A": "1"}, "headers_list": [["A", "1"], ["A", "2"]]}
    assert session(response=both)["response"] == {"body": None, **both}
    listed = {"headers_list": [["A", "1"], ["A", "2"]]}
    assert session(response=listed)["response"]["headers"] == {"A": "1"}
    differing = {"headers": {"B": "1"}, "headers_list": [["A", "1"]]}
    response = session(response=differing)["response"]
    assert (response["headers_list"], response["legacy_headers"]) == ([["A", "1"]], {"B": "1"})
    broken = {"headers": [["A", ["1"]]], "headers_list": "A: 1"}
    response = session(response=broken)["response"]
    assert (response["headers_list"], response["legacy_headers_list"]) == ([["A", "1"]], "A: 1")


def test_what_is_replaced_is_kept_under_a_key_that_is_free() -> None:
    request = {"tor": "yes", "legacy_tor": 1, "legacy_legacy_tor": 2}
    found = session(request=request)["request"]
    assert found["tor"] == NOT_TOR
    assert [found[f"legacy_{more}tor"] for more in ("", "legacy_", "legacy_legacy_")] == [1, 2, "yes"]
    entry = {"response": {"headers": [["Content-Length", ["7"]]]}, "response_length": 5}
    result = normalised({"test_name": "http_requests", "requests": [entry]})["test_keys"]["requests"][0]
    assert (result["response_length"], result["legacy_response_length"]) == ("7", 5)


def pairs(requests: Any, responses: Any) -> list[Any]:
    """The sessions of http_host of 2012, which wrote two lists."""
    entry = {"test_name": "HTTP Host", "report": {"requests": requests, "responses": responses}}
    test_keys = normalised(entry)["test_keys"]
    assert "responses" not in test_keys
    return [(one["request"]["url"], one["response"].get("code")) for one in test_keys["requests"]]


def test_requests_and_responses_of_2012_are_brought_together() -> None:
    requests = [{"url": "http://a"}, {"url": "http://b"}]
    assert pairs(requests, [{"code": 200}, {"code": 404}]) == [("http://a", 200), ("http://b", 404)]
    assert pairs(requests, [{"code": 200}]) == [("http://a", 200), ("http://b", None)]
    assert pairs(requests[:1], [{"code": 200}, {"code": 404}]) == [("http://a", 200), (None, 404)]
    assert pairs([], [{"code": 200}]) == pairs(None, [{"code": 200}]) == [(None, 200)]


@pytest.mark.parametrize("requests", [[{"request": {}}], [{"response": {}}], ["text"], [None]])
def test_sessions_are_not_paired_again(requests: Any) -> None:
    result = normalised({"test_name": "http_host", "requests": requests, "responses": [{"code": 200}]})
    assert result["test_keys"]["responses"] == [{"code": 200}]
    assert len(result["test_keys"]["requests"]) == 1


def test_header_values_of_2012_in_a_mapping() -> None:
    headers = {"Host": [None], "User-Agent": [["Mozilla/5.0", "Netscape 8.1"]]}
    request = session(request={"headers": headers})["request"]
    assert request["headers"] == {"Host": None, "User-Agent": "Mozilla/5.0"}
    assert request["headers_list"] == [
        ["Host", None], ["User-Agent", "Mozilla/5.0"], ["User-Agent", "Netscape 8.1"],
    ]  # fmt: skip


def test_header_field_manipulation() -> None:
    test_keys = {
        "tampering": {"header_name_diff": ["a"], "total": False},
        "headers_diff": ["Via"],
        "agent": "agent",
    }
    result = normalised({"test_name": "HTTP Header Field Manipulation", **test_keys})["test_keys"]
    assert result == {**test_keys, "requests": []}


LOG = {"exit_reason": "process_done", "stderr": "", "stdout": "Your SOCKS proxy is now running\r\n\0"}


def test_logs_of_processes_stay() -> None:
    keys = {"ssh psiphon.py": LOG, "psiphon_installed": True}
    result = normalised({"test_name": "psiphon_test", "options": ["-u", "a.example"], **keys})
    assert result["test_keys"] == {**keys, "requests": []}
    assert result["input"] == "a.example"
    keys = {"lantern_linux --headless": LOG, "body": "<HTML>\0", "bootstrapped": True}
    assert normalised({"test_name": "lantern_circumvention_tool_test", **keys})["test_keys"] == keys


def test_captive_portal_is_of_both_families() -> None:
    keys = {
        "requests": [{"request": {"url": "http://a", "headers": [["A", ["b"]]]}, "response": None}],
        "queries": [{"answers": [], "query_type": "A"}],
        "google_dns_cp": {"result": True, "addresses": ["192.0.2.1"]},
    }
    result = normalised({"test_name": "captivep", **keys})["test_keys"]
    assert result["requests"][0]["request"]["headers"] == {"A": "b"}
    assert result["queries"][0]["failure"] == "no_answer"
    assert result["google_dns_cp"] == keys["google_dns_cp"]
