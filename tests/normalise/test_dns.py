"""Queries, answers and verdicts of every probe since 2012."""

from __future__ import annotations

from typing import Any

import pytest

from tests.normalise.entries import normalised

PRINTED_QUERY = "[Query('a.example', 1, 1)]"
PRINTED_ANSWER = ["<RR name=a.example type=A class=IN ttl=9s auth=False>", "<A address=192.0.2.1 ttl=9>"]
ANSWER = {"answer_type": "A", "ttl": "9", "ipv4": "192.0.2.1"}
ASKED = {
    "hostname": "a.example",
    "query_type": "A",
    "resolver_hostname": "192.0.2.53",
    "resolver_port": 53,
    "failure": None,
}


def test_keys(test_name: str = "dns_consistency", **keys: Any) -> dict[str, Any]:
    found = normalised({"test_name": test_name, **keys})["test_keys"]
    assert isinstance(found, dict)
    return found


test_keys.__test__ = False  # type: ignore[attr-defined]


def query(**keys: Any) -> Any:
    """The only query of a legacy entry that had this one."""
    (found,) = test_keys(queries=[keys])["queries"]
    return found


def printed(**other: Any) -> dict[str, Any]:
    return {
        "query": PRINTED_QUERY,
        "query_type": "A",
        "resolver": ["192.0.2.53", 53],
        "answers": [PRINTED_ANSWER],
        "addrs": ["192.0.2.1"],
        **other,
    }


def test_a_query_as_the_oldest_probes_wrote_it() -> None:
    assert query(**printed()) == {**ASKED, "answers": [ANSWER]}


def test_a_query_of_today_stays() -> None:
    today = {**ASKED, "answers": [{"answer_type": "A", "ipv4": "192.0.2.1"}], "engine": "udp"}
    assert query(**today) == today


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ({"answers": []}, "no_answer"),
        ({"answers": None}, "no_answer"),
        ({}, "no_answer"),
        ({"answers": [], "failure": "deferred_timeout_error"}, "deferred_timeout_error"),
        ({"answers": [PRINTED_ANSWER]}, None),
        ({"answers": [PRINTED_ANSWER], "failure": "odd"}, "odd"),
        ({"answers": "text"}, None),
    ],
)
def test_failure(said: dict[str, Any], failure: str | None) -> None:
    assert query(**said)["failure"] == failure


@pytest.mark.parametrize(
    "addresses",
    [["192.0.2.1", "192.0.2.2"], "192.0.2.1", [5], [["192.0.2.1"]], [None]],
)
def test_addresses_that_the_answers_do_not_say_stay(addresses: Any) -> None:
    assert query(**printed(addrs=addresses))["addrs"] == addresses


@pytest.mark.parametrize("resolver", ["192.0.2.53", ["192.0.2.53"], ["192.0.2.53", 53, 1], {"a": 1}, 5])
def test_a_resolver_in_another_shape_stays(resolver: Any) -> None:
    found = query(**printed(resolver=resolver))
    assert (found["resolver"], found["resolver_hostname"], found["resolver_port"]) == (resolver, None, None)


def test_what_is_said_twice_and_differs_stays() -> None:
    found = query(**printed(hostname="b.example", resolver_hostname="192.0.2.54", resolver_port=5353))
    assert (found["hostname"], found["query"]) == ("b.example", PRINTED_QUERY)
    assert (found["resolver_hostname"], found["resolver"]) == ("192.0.2.54", ["192.0.2.53", 53])


def test_nulls_are_filled() -> None:
    found = query(**printed(hostname=None, resolver_hostname=None, resolver_port=None))
    assert found == {**ASKED, "answers": [ANSWER]}


@pytest.mark.parametrize(("printed_query", "hostname"), [("garbage", None), ("[Query('a', 1, 3)]", "a")])
def test_a_query_that_says_more_stays(printed_query: str, hostname: str | None) -> None:
    found = query(**printed(query=printed_query))
    assert (found["query"], found["hostname"]) == (printed_query, hostname)


@pytest.mark.parametrize(
    ("queries", "expected"),
    [(None, []), ([], []), ("text", ["text"]), ([None, 5, "x", [1]], [None, 5, "x", [1]])],
)
@pytest.mark.parametrize("name", ["dns_consistency", "dns_injection", "captive_portal"])
def test_queries_are_always_a_list(name: str, queries: Any, expected: list[Any]) -> None:
    assert test_keys(name, queries=queries)["queries"] == expected
    assert test_keys(name)["queries"] == []


def test_one_query_alone() -> None:
    assert test_keys(queries=printed())["queries"] == [{**ASKED, "answers": [ANSWER]}]


VERDICTS = {"192.0.2.1": False, "192.0.2.2": True, "192.0.2.3": "reverse_match", "192.0.2.4": None,
            "192.0.2.5": "no_answer", "192.0.2.6": "", "192.0.2.7": 0}  # fmt: skip


def test_tampering_told_by_resolver() -> None:
    assert test_keys(tampering=dict(VERDICTS)) == {
        "errors": VERDICTS,
        "successful": ["192.0.2.1", "192.0.2.3"],
        "inconsistent": ["192.0.2.2"],
        "failed": ["192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"],
        "queries": [],
    }


@pytest.mark.parametrize("tampering", [True, False, "text", 5, ["x"]])
def test_tampering_that_is_no_mapping_stays(tampering: Any) -> None:
    found = test_keys(tampering=tampering)
    assert (found["tampering"], found["errors"], found["failed"]) == (tampering, {}, [])
    assert test_keys("dns_injection", tampering=tampering) == {"tampering": tampering, "queries": []}


@pytest.mark.parametrize("tampering", [None, {}])
def test_verdicts_are_always_there_in_dns_consistency(tampering: Any) -> None:
    found = test_keys(tampering=tampering)
    assert all(found[key] == [] for key in ("successful", "inconsistent", "failed"))
    assert found["errors"] == {}
    assert "failed" not in test_keys("dns_injection", injected=True)


def test_what_the_probe_said_stays() -> None:
    said: dict[str, Any] = {
        "successful": ["a"],
        "inconsistent": ["b"],
        "failures": ["c"],
        "errors": {"c": "timeout"},
    }
    assert test_keys(**said) == {**said, "failed": ["c"], "queries": []}
    found = test_keys(**said, failed=["d"], tampering={"e": True})
    assert (found["failed"], found["inconsistent"], found["errors"]) == (["d"], ["b"], {"c": "timeout"})
    assert found["tampering"] == {"e": True}


def test_nulls_say_nothing() -> None:
    found = test_keys(errors=None, successful=None, failed=None, tampering={"a": False})
    assert (found["errors"], found["successful"], found["failed"]) == ({"a": False}, ["a"], [])


@pytest.mark.parametrize("failures", [5, "text", {"a": 1}, None])
def test_failures_that_are_no_list(failures: Any) -> None:
    found = test_keys(failures=failures)
    assert (found["failed"], found["failures"]) == ([], failures)


def test_addresses_are_looked_up_not_searched_for() -> None:
    """As many comparisons as there are addresses, not one for each address and answer."""
    compared = 0

    class Address(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str(self) == str(other)

        __hash__ = str.__hash__

    from ooni_pipeline.normalise.dns import _all_among

    for size in (100, 1000):
        compared = 0
        answers = [{"ipv4": f"10.0.{number}"} for number in range(size)]
        assert _all_among([Address(f"10.0.{number}") for number in range(size)], answers)
        assert compared <= 2 * size
