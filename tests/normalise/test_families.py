"""Whatever stands in the place of any part of any family: nothing raises, and nothing is lost.

Nothing is lost when every text and number of the entry as submitted stands somewhere in its normalised
form: as it was, or as normalising says it on purpose (:func:`forms`). Printed DNS records are taken apart;
that their parts are all of them is shown in ``test_records``.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.normalise import FAMILIES
from ooni_pipeline.normalise.values import text_or_base64
from ooni_pipeline.report.entry import MAX_DEPTH
from ooni_pipeline.report.json_lines import dump_entry
from ooni_pipeline.report.nettests import canonical_test_name
from tests.normalise.entries import normalised
from tests.normalise.test_entry import YAML

#: The parts of every family: in the place of each may stand anything.
PARTS = {
    "agent", "answered_packets", "cert_serial_no", "errors", "failed", "failures", "google_dns_cp",
    "headers_diff", "inconsistent", "legacy_request", "queries", "received", "request", "requests",
    "response", "responses", "sent", "sent_packets", "session_key", "successful", "tampering", "tor_log",
}  # fmt: skip


def having(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings that have some of these keys, with anything in their places."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, YAML))


def listed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values | YAML, max_size=4) | values


HEADERS = listed(st.lists(YAML, max_size=3)) | YAML
MESSAGES = (
    st.fixed_dictionaries(
        {}, optional={"headers": HEADERS, "headers_list": HEADERS, "body": YAML, "url": YAML, "tor": YAML,
                      "legacy_headers": YAML, "legacy_tor": YAML},
    )
    | having("tor", "url")
    | st.fixed_dictionaries({"tor": having("is_tor", "exit_ip", "exit_name")})
    | st.fixed_dictionaries(
        {"tor": st.booleans(), "url": st.text(max_size=3).map("shttp://".__add__) | st.text(max_size=3)}
    )
)  # fmt: skip
SESSIONS = st.fixed_dictionaries(
    {}, optional={"request": MESSAGES | YAML, "response": MESSAGES | YAML, "response_length": YAML}
)
ANSWERS = st.tuples(st.text(max_size=5) | YAML, YAML).map(list)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "answers": listed(ANSWERS),
        "resolver": st.lists(YAML, min_size=2, max_size=2) | YAML,
        **dict.fromkeys(
            ("query", "hostname", "resolver_hostname", "resolver_port", "failure", "addrs"), YAML
        ),
    },
)
PACKETS = listed(st.lists(having("raw_packet", "summary"), max_size=3))
TEST_KEYS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(sorted(PARTS), YAML),
        "requests": listed(SESSIONS | MESSAGES),
        "responses": listed(MESSAGES),
        "cert_serial_no": st.integers() | YAML,
        "queries": listed(QUERIES),
        "sent_packets": PACKETS,
        "tampering": st.dictionaries(st.text(max_size=5), st.booleans() | st.just("reverse_match") | YAML),
    },
)


def leaves(value: Any) -> Iterator[Any]:
    """Every text, byte string and number that says something. (A 0 says as much as null does.)"""
    if isinstance(value, dict):
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part)
    elif value and not isinstance(value, bool):
        yield value


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def forms(leaf: Any) -> set[str]:
    """What a leaf may have become, as ``repr``."""
    if isinstance(leaf, bytes):
        text = text_or_base64(leaf)
        return forms(text) if isinstance(text, str) else {repr(text["data"])}
    if isinstance(leaf, str):
        packet = encoded(leaf.encode("utf-8", "surrogatepass"))
        return {repr(form) for form in (leaf, packet, *([leaf[1:]] if leaf.startswith("shttp://") else []))}
    return {repr(leaf), repr(hex(leaf))} if isinstance(leaf, int) else {repr(leaf)}


@pytest.mark.parametrize("family", sorted({*FAMILIES, "tcp_connect", "unheard_of"}))
@settings(max_examples=30, deadline=None)  # for each of 29 families
@given(test_keys=TEST_KEYS)
def test_nothing_raises_and_nothing_is_lost(family: str, test_keys: dict[str, Any]) -> None:
    before = copy.deepcopy(test_keys)
    result = normalised(test_keys, {"test_name": family}, raw=b"!!binary")
    assert dump_entry(result)
    after = {repr(leaf) for leaf in leaves(result["test_keys"])}
    for leaf in leaves(before):
        assert not after.isdisjoint(forms(leaf)), leaf


@settings(max_examples=100, deadline=None)
@given(test_keys=TEST_KEYS, family=st.sampled_from(sorted(FAMILIES)))
def test_what_is_normalised_stays(test_keys: dict[str, Any], family: str) -> None:
    """A normalised entry that comes in again passes through."""
    once = normalised(test_keys, {"test_name": family}, raw=b"!!binary")
    before = copy.deepcopy(once["test_keys"])
    assert normalised(once)["test_keys"] == before


@pytest.mark.parametrize("part", sorted(PARTS))
@pytest.mark.parametrize("family", ["captive_portal", "dns_consistency", "dns_spoof", "tls_handshake"])
@pytest.mark.parametrize("kind", ["list", "mapping", "session", "query", "packet"])
def test_every_part_may_be_as_deep_as_the_reader_allows(part: str, family: str, kind: str) -> None:
    outer = {"session": "request", "query": "answers", "packet": "raw_packet"}.get(kind, "a")
    deep: Any = 1
    for _ in range(MAX_DEPTH - 3):
        deep = [deep] if kind != "mapping" else {"a": deep}
    assert dump_entry(
        normalised({"test_name": family, part: deep if kind == "list" else [{outer: deep}]}, raw=b"x")
    )


def test_what_is_deep_is_neither_compared_nor_printed() -> None:
    def deep() -> Any:
        value: Any = 1
        for _ in range(MAX_DEPTH - 10):
            value = [value, 2]
        return value

    response = {"headers": [["Content-Length", deep(), 1]], "headers_list": [["Content-Length", deep(), 1]]}
    for said in (
        {"requests": [{"response": response, "response_length": deep(), "request": {"tor": deep()}}]},
        {"queries": [{"hostname": deep(), "query": "[Query('a', 1, 1)]", "query_type": "A"}]},
        {"queries": [{"hostname": "a", "query": "[Query('a', 1, 1)]", "query_type": deep()}]},
        {"queries": [{"addrs": [deep()], "answers": [[deep(), deep()], {"a": deep()}]}]},
        {"tampering": {"a": deep()}, "errors": deep(), "failed": deep()},
    ):
        for family in ("captive_portal", "dns_consistency"):
            assert dump_entry(normalised({"test_name": family, **said}, raw=b"x"))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_is_named_as_its_nettest_is(family: str) -> None:
    assert canonical_test_name(family) in FAMILIES
