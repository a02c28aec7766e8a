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
