"""What the bouncer answers, and which lines of [bouncer] it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.collector.bouncer import (
    MAX_HASHES,
    MAX_HELPERS,
    MAX_TESTS,
    Bouncer,
    BouncerRefusalError,
    parse_bouncer,
)
from ooni_pipeline.errors import ConfigurationError

V3 = "a" * 56
COLLECTORS = f"""
https https://c.example:4443
onion {V3}.onion
cloudfront https://d1.cloudfront.example www.front.example
"""
HELPERS = """
tcp-echo legacy 192.0.2.7:57001

http-return-json-headers https https://h.example/echo
http-return-json-headers legacy http://192.0.2.7:57002
http-return-json-headers cloudfront https://d2.cloudfront.example www.front.example
web-connectivity onion httpo://abcdefghijklmnop.onion:8080
"""
BOUNCER = parse_bouncer(COLLECTORS, HELPERS)
TOLD = [
    {"type": "https", "address": "https://c.example:4443"},
    {"type": "onion", "address": f"httpo://{V3}.onion"},
    {"type": "cloudfront", "address": "https://d1.cloudfront.example", "front": "www.front.example"},
]
HASH = "e69e5f1f4388fbe5eef5d1efe274b3f129f516b3efc54706e537d15ac85b3646"


def asked(**changes: Any) -> dict[str, Any]:
    """A request for one test, as ooniprobe sends it."""
    test = {"name": "tcp_connect", "version": "0.1", "input-hashes": [HASH], "test-helpers": ["tcp-echo"]}
    return {"net-tests": [{**test, **changes}]}


def test_a_test_gets_its_collector_and_its_helpers() -> None:
    assert BOUNCER.net_tests(asked()) == {
        "net-tests": [
            {
                "name": "tcp_connect",
                "version": "0.1",
                "input-hashes": [HASH],
                "test-helpers": {"tcp-echo": "192.0.2.7:57001"},
                "test-helpers-alternate": {},
                "collector": f"httpo://{V3}.onion",
                "collector-alternate": [TOLD[0], TOLD[2]],
            }
        ]
    }


def test_who_reads_one_address_gets_the_legacy_one_else_the_first() -> None:
    assert BOUNCER.helper_address("http-return-json-headers") == "http://192.0.2.7:57002"
    assert BOUNCER.helper_address("web-connectivity") == "httpo://abcdefghijklmnop.onion:8080"
    no_onion = parse_bouncer("https https://a.example\nhttp http://127.0.0.1:8080", "")
    (test,) = no_onion.net_tests(asked(**{"test-helpers": []}))["net-tests"]
    assert test["collector"] == "https://a.example"


def test_the_others_are_those_that_were_not_told_but_for_who_looks_for_https_there_alone() -> None:
    names = ["http-return-json-headers", "web-connectivity"]
    (test,) = BOUNCER.net_tests(asked(**{"test-helpers": names}))["net-tests"]
    helpers = test["test-helpers-alternate"]
    assert [one["type"] for one in helpers["http-return-json-headers"]] == ["https", "cloudfront"]
    assert helpers["web-connectivity"] == [
        {"type": "onion", "address": "httpo://abcdefghijklmnop.onion:8080"}
    ]
    (test,) = parse_bouncer("https https://a.example", "").net_tests(asked(**{"test-helpers": []}))[
        "net-tests"
    ]
    assert test["collector-alternate"] == [{"type": "https", "address": "https://a.example"}]


def test_helpers_are_told_with_their_collector() -> None:
    assert BOUNCER.test_helpers_of({"test-helpers": ["tcp-echo"]}) == {
        "tcp-echo": {"address": "192.0.2.7:57001", "collector": f"httpo://{V3}.onion"},
        "default": {"collector": f"httpo://{V3}.onion"},
    }


def test_either_key_is_taken() -> None:
    assert BOUNCER.either(asked()) == BOUNCER.net_tests(asked())
    assert BOUNCER.either({"test-helpers": []}) == {"default": {"collector": f"httpo://{V3}.onion"}}


def test_lists_of_today() -> None:
    assert BOUNCER.told_collectors() == TOLD
    assert BOUNCER.told_test_helpers() == {
        "tcp-echo": [{"type": "legacy", "address": "192.0.2.7:57001"}],
        "http-return-json-headers": [
            {"type": "https", "address": "https://h.example/echo"},
            {"type": "legacy", "address": "http://192.0.2.7:57002"},
            {"type": "cloudfront", "address": "https://d2.cloudfront.example", "front": "www.front.example"},
        ],
        "web-connectivity": [{"type": "onion", "address": "httpo://abcdefghijklmnop.onion:8080"}],
    }


BOTH = parse_bouncer(
    f"onion {V3}.onion\nhttps https://c.example\nonion abcdefghijklmnop.onion:81",
    f"web-connectivity legacy http://{V3}.onion/\nweb-connectivity https https://h.example\n"
    f"dns legacy {V3}.onion:57004",
)


@pytest.mark.parametrize("host", [None, "", "c.example", "127.0.0.1:8080", "abcdefghijklmnop.onion", "onion"])
def test_an_onion_address_of_today_is_not_told_to_who_may_not_know_its_form(host: str | None) -> None:
    """ooniprobe 2.3.0 takes it for none, wherever it stands in the answer, and runs no test."""
    request = asked(**{"test-helpers": ["web-connectivity", "dns"]})
    (test,) = BOTH.told_to(host).net_tests(request)["net-tests"]
    assert test["collector"] == "httpo://abcdefghijklmnop.onion:81"
    assert test["collector-alternate"] == [{"type": "https", "address": "https://c.example"}]
    assert test["test-helpers"] == {"web-connectivity": "https://h.example", "dns": f"{V3}.onion:57004"}
    assert test["test-helpers-alternate"]["web-connectivity"] == [
        {"type": "https", "address": "https://h.example"}
    ]
    (usual,) = BOUNCER.told_to(host).net_tests(asked())["net-tests"]
    assert usual["collector"] == "https://c.example:4443"
    assert usual["collector-alternate"] == [TOLD[0], TOLD[2]]


@pytest.mark.parametrize("host", [f"{V3}.onion", f"{V3.upper()}.ONION:8080", f"www.{V3}.onion"])
def test_who_came_by_an_onion_address_of_today_hears_of_it(host: str) -> None:
    """ooniprobe 1.3.2 knows no https, and takes any onion address that its tor knows."""
    assert BOUNCER.told_to(host) == BOUNCER
    (test,) = BOUNCER.told_to(host).net_tests(asked())["net-tests"]
    assert test["collector"] == f"httpo://{V3}.onion"


def test_an_onion_address_of_today_is_told_when_there_is_no_other() -> None:
    (test,) = (
        parse_bouncer(f"onion {V3}.onion", "")
        .told_to("c.example")
        .net_tests(asked(**{"test-helpers": []}))["net-tests"]
    )
    assert test["collector"] == f"httpo://{V3}.onion"


def test_what_is_not_said_is_empty() -> None:
    for nothing in ({}, {"input-hashes": None, "test-helpers": None}):
        request = {"net-tests": [{"name": "x", "version": "1", **nothing}]}
        (test,) = BOUNCER.net_tests(request)["net-tests"]
        assert (test["input-hashes"], test["test-helpers"], test["test-helpers-alternate"]) == ([], {}, {})


INVALID = (400, "invalid-request")
MISSING = (400, "test-helpers-or-net-test-key-missing")


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        ([], INVALID),
        (None, INVALID),
        ({}, MISSING),
        ({"net-test": []}, MISSING),
        ({"net-tests": {}}, INVALID),
        ({"net-tests": ["x"]}, INVALID),
        ({"net-tests": [{"name": "x"}]}, INVALID),
        ({"net-tests": [{"version": "1"}]}, INVALID),
        (asked(name="<script>"), INVALID),
        (asked(name="x" * 101), INVALID),
        (asked(name="x\n"), INVALID),
        (asked(name=7), INVALID),
        (asked(version="1 2"), INVALID),
        (asked(**{"input-hashes": ["zz"]}), INVALID),
        (asked(**{"input-hashes": [HASH] * (MAX_HASHES + 1)}), INVALID),
        (asked(**{"test-helpers": ["tcp-echo"] * (MAX_HELPERS + 1)}), INVALID),
        ({"net-tests": asked()["net-tests"] * (MAX_TESTS + 1)}, INVALID),
        (asked(**{"test-helpers": "tcp-echo"}), INVALID),
        (asked(**{"test-helpers": [["tcp-echo"]]}), INVALID),
        (asked(**{"test-helpers": ["../x"]}), INVALID),
        (asked(**{"test-helpers": ["dns"]}), (404, "test-helper-not-found")),
        ({"test-helpers": ["dns"]}, (404, "test-helper-not-found")),
        ({"test-helpers": {"dns": 1}}, INVALID),
    ],
)
def test_what_cannot_be_answered(request_: object, refusal: tuple[int, str]) -> None:
    with pytest.raises(BouncerRefusalError) as refused:
        BOUNCER.either(request_)
    assert (refused.value.status, str(refused.value)) == refusal


def test_as_much_as_is_allowed_is_answered() -> None:
    test = asked(**{"input-hashes": [HASH] * MAX_HASHES, "test-helpers": ["tcp-echo"] * MAX_HELPERS})
    answer = BOUNCER.net_tests({"net-tests": test["net-tests"] * MAX_TESTS})
    assert len(answer["net-tests"]) == MAX_TESTS


@pytest.mark.parametrize("request_", [asked(**{"test-helpers": []}), {"test-helpers": []}])
def test_without_a_collector(request_: object) -> None:
    with pytest.raises(BouncerRefusalError) as refused:
        Bouncer().either(request_)
    assert (refused.value.status, str(refused.value)) == (404, "collector-not-found")
    assert Bouncer().told_collectors() == [] and Bouncer().told_test_helpers() == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["net-tests", "test-helpers", "name", "version", "input-hashes"])


@given(st.dictionaries(keys, json_values | st.lists(st.dictionaries(keys, json_values))) | json_values)
def test_nothing_that_is_asked_is_a_fault(request_: object) -> None:
    try:
        BOUNCER.either(request_)
    except BouncerRefusalError as refused:
        assert refused.status in (400, 404)


@pytest.mark.parametrize(
    ("collectors", "helpers", "fault"),
    [
        (
            "ftp ftp://x",
            "",
            "[bouncer] collectors, line 1: the type must be onion, https, cloudfront or http",
        ),
        ("\nhttps https://a.example\n\nlegacy 192.0.2.1:80", "", "[bouncer] collectors, line 3: the type"),
        ("https", "", "line 1: https wants its address, and nothing else"),
        ("https https://a.example front.example", "", "line 1: https wants its address, and nothing else"),
        ("cloudfront https://a.example", "", "line 1: cloudfront wants its address and its front"),
        ("cloudfront https://a.example https://b.example", "", "line 1: the front is the name of a host"),
        ("https http://a.example", "", "line 1: the address of type https must be https://HOST"),
        ("https https://user@a.example", "", "line 1: the address of type https"),
        ("http https://a.example", "", "line 1: the address of type http must be http://HOST"),
        ("onion https://a.example", "", "line 1: the address of an onion service"),
        ("onion short.onion", "", "line 1: the address of an onion service"),
        ("", "tcp-echo", "[bouncer] test_helpers, line 1: the type must be legacy, onion"),
        ("", "tcp:echo legacy 192.0.2.1:80", "[bouncer] test_helpers, line 1: the name"),
        ("", "default legacy 192.0.2.1:80", "[bouncer] test_helpers, line 1: no test helper"),
        ("", "tcp-echo legacy ftp://x", "[bouncer] test_helpers, line 1: the address of type legacy"),
    ],
)
def test_a_line_that_is_wrong_is_named(collectors: str, helpers: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_bouncer(collectors, helpers)
    assert fault in str(refused.value)


@pytest.mark.parametrize("written", ["{}.onion", "httpo://{}.onion", "http://{}.onion/"])
def test_an_onion_service_is_told_as_probes_know_it(written: str) -> None:
    host = written.format(V3)
    assert parse_bouncer(f"onion {host}", "").told_collectors()[0]["address"] == f"httpo://{V3}.onion"
    host = written.format("abcdefghijklmnop")
    assert parse_bouncer(f"onion {host}", "").collectors[0].address == "httpo://abcdefghijklmnop.onion"
