"""The shape of a normalised entry, and what it keeps of a client's; nothing a client writes breaks it."""

from __future__ import annotations

import copy
import itertools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.normalise.claims import MENDED, OURS
from ooni_pipeline.report.entry import BASE_KEYS, MAX_DEPTH
from ooni_pipeline.report.json_lines import dump_entry, dumps, loads
from tests.normalise.entries import normalised

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "\0", "0.2.0", "2016-08-01 00:00:00", "-u", "shttp://a", 10**400, 1e300])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
#: As JSON, and the byte strings that only YAML has.
YAML = st.recursive(
    SCALARS | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
INTERESTING = (
    *BASE_KEYS, *sorted(OURS), "report", "request", "response", "requests", "start_time", "test_started",
    "client_id", "client_client_id", "annotations", "headers_diff",
)  # fmt: skip
NETTESTS = st.sampled_from(
    ["HTTP Requests Test", "web_connectivity", "tcp_connect", "other", "http_requests"]
)
VERSIONS = st.sampled_from([None, "0.1.0", "0.2.0", "0.3.4", "0.5.0"])

SESSIONS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "request": YAML | st.fixed_dictionaries({"headers": YAML, "tor": YAML, "url": YAML}),
            "response": YAML | st.fixed_dictionaries({"headers": YAML, "headers_list": YAML, "body": YAML}),
            "response_length": YAML,
        },
    )
    | YAML,
    max_size=3,
)


def entries(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Entries with any value in the place of every key."""
    some = st.dictionaries(st.sampled_from(INTERESTING) | st.text(max_size=5), values, max_size=8)
    return st.builds(lambda entry, fixed: {**entry, **fixed}, some, st.fixed_dictionaries({"x": values}))


@settings(max_examples=400)
@given(entries(YAML), st.none() | entries(YAML), NETTESTS, VERSIONS, SESSIONS)
def test_nothing_that_a_client_writes_breaks_it(
    entry: dict[str, Any], header: dict[str, Any] | None, name: str, version: str | None, sessions: list[Any]
) -> None:
    entry |= {"test_name": name, "data_format_version": version, "requests": sessions}
    if header is not None:
        entry.pop("data_format_version")
        header["test_name"] = name
        raw = b"!!binary"
    else:
        entry = loads(dump_entry(without_bytes(entry)))
        raw = None
    result = normalised(entry, header, raw)
    assert tuple(result)[: len(BASE_KEYS)] == BASE_KEYS
    assert loads(dump_entry(result)) is not None
    assert isinstance(result["id"], str) and result["bucket_date"] == "2016-08-02"
    assert isinstance(result["test_keys"], dict) or result["data_format_version"] != "0.2.0" or version
    assert "sanitised" not in result


def without_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_bytes(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_bytes(part) for part in value]
    return None if isinstance(value, bytes) else value


@pytest.mark.parametrize("key", INTERESTING)
@pytest.mark.parametrize("version", [None, "0.2.0"])
@pytest.mark.parametrize("kind", ["list", "mapping"])
def test_every_key_may_be_as_deep_as_the_reader_allows(key: str, version: str | None, kind: str) -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep] if kind == "list" else {"a": deep}
    entry = {"data_format_version": version, "test_name": "http_requests", key: deep}
    if version is None:
        entry["report"] = {**({key: deep} if key != "report" else {}), "b": 1}
    assert dump_entry(normalised(entry, raw=b"x"))


#: What a current entry has that is said in another way in its normalised form, on purpose.
SAID_OTHERWISE = {"test_name", "probe_cc", "probe_asn", "data_format_version"}


@settings(max_examples=300)
@given(entries(JSON), st.sampled_from(["0.2.0", "0.3.4", "0.5.0", "1.0"]))
def test_nothing_of_a_current_entry_is_lost(entry: dict[str, Any], version: str) -> None:
    entry = loads(dump_entry({**entry, "data_format_version": version}))
    before = copy.deepcopy(entry)
    result = normalised(entry)
    assert result["data_format_version"] == version
    nested = result["test_keys"] if before.get("test_keys") is None else {}
    for key, value in before.items():
        if key in SAID_OTHERWISE or value in (None, ""):
            continue
        places = [where.get(name) for where in (result, nested) for name in (key, f"client_{key}")]
        assert value in places, key


def test_a_current_entry_passes_through() -> None:
    entry = {key: f"{key} as it was" for key in BASE_KEYS}
    entry |= {
        "data_format_version": "0.3.4",
        "probe_cc": "IT",
        "probe_asn": "AS1",
        "test_name": "web_connectivity",
        "test_start_time": "2016-08-01 00:00:00",
        "measurement_start_time": "2016-08-01 00:00:01",
        "test_keys": {"requests": [{"response": {"headers": {"A": "b"}}}]},  # type: ignore[dict-item]
        "resolver_ip": "192.0.2.1",
        "x_new": "y",
    }
    result = normalised(dict(entry))
    ours = {"id", "report_filename", "bucket_date"}
    assert {key: value for key, value in result.items() if key in entry and key not in ours} == {
        key: value for key, value in entry.items() if key not in ours
    }
    assert {key for key in result if key not in entry} == {f"client_{key}" for key in ours}


def test_a_legacy_entry_has_22_keys_and_what_is_ours() -> None:
    result = normalised({"input": "a", "agent": "b", "annotations": {}}, {"start_time": 1470009600.0})
    assert tuple(result) == (*BASE_KEYS, "time_source")
    assert result["test_keys"] == {"agent": "b", "annotations": {}, "start_time": 1470009600.0}
    assert result["data_format_version"] == "0.2.0"


@pytest.mark.parametrize("key", sorted(OURS))
@pytest.mark.parametrize("version", [None, "0.2.0"])
def test_no_client_can_pose_as_the_pipeline(key: str, version: str | None) -> None:
    result = normalised({"data_format_version": version, key: "forged", f"client_{key}": "forged too"})
    assert result.get(key) != "forged"
    assert result[f"client_{key}"] == "forged"
    assert result[f"client_client_{key}"] == "forged too"


@pytest.mark.parametrize("key", sorted(MENDED))
def test_nor_say_what_it_said(key: str) -> None:
    result = normalised({"data_format_version": "0.2.0", f"client_{key}": "forged"})
    assert result.get(f"client_{key}") != "forged"
    assert result[f"client_client_{key}"] == "forged"


def test_other_keys_that_begin_so_stay() -> None:
    entry: dict[str, Any] = {
        "data_format_version": "0.2.0",
        "client_resolver": "a",
        "client_": 1,
        "client_idx": 2,
    }
    entry["test_keys"] = {}
    result = normalised(dict(entry))
    assert {key: result[key] for key in entry} == entry


@pytest.mark.parametrize(
    ("version", "legacy"),
    [
        (None, True), ("", True), ("0.1.0", True), ("0.1.9", True), ("0.1", True), (0.1, True), ("0", True),
        ("new", True), ([], True), ({}, True), (True, True), ("-1", True),
        ("0.2.0", False), ("0.2.1", False), ("0.3.4", False), ("0.5.0", False), ("0.10.0", False),
        ("1.0", False), (0.2, False), (1, False), ("0.3.0-beta", False),
    ],
)  # fmt: skip
def test_which_formats_are_legacy(version: Any, legacy: bool) -> None:
    result = normalised({"data_format_version": version, "agent": "a", "test_keys": {}})
    assert ("agent" in result["test_keys"]) is legacy
    assert result["data_format_version"] == ("0.2.0" if legacy else version)


def test_a_version_that_is_none_is_kept() -> None:
    assert normalised({"data_format_version": "new"})["client_data_format_version"] == "new"
    assert "client_data_format_version" not in normalised({"data_format_version": "0.1.0"})


@pytest.mark.parametrize(
    ("said", "country"),
    [
        (None, "ZZ"),
        ("", "ZZ"),
        ("??", "ZZ"),
        ("it", "IT"),
        ("IT", "IT"),
        ("Italy", "Italy"),
        (5, 5),
        ("\u0131t", "\u0131t"),
    ],
)
def test_countries(said: Any, country: Any) -> None:
    for version in (None, "0.2.0"):
        assert normalised({"data_format_version": version, "probe_cc": said})["probe_cc"] == country


@pytest.mark.parametrize(
    ("said", "network"),
    [
        (None, "AS0"), ("", "AS0"), ("AS1", "AS1"), ("as1", "AS1"), ("0012", "AS12"), (12, "AS12"),
        (True, True), ("ASX", "ASX"), (-1, -1), ("AS12345678901", "AS12345678901"),
    ],
)  # fmt: skip
def test_networks(said: Any, network: Any) -> None:
    assert normalised({"data_format_version": "0.2.0", "probe_asn": said})["probe_asn"] == network


def test_the_header_speaks_for_the_report_and_the_entry_for_itself() -> None:
    header = {"probe_cc": "IT", "probe_asn": None, "input": "header", "agent": "header", "test_version": 0.1}
    entry = {"probe_cc": "FR", "probe_asn": "AS7", "input": "entry", "agent": "entry", "test_runtime": 1.5}
    result = normalised(entry, header)
    assert (result["probe_cc"], result["probe_asn"], result["input"]) == ("IT", "AS7", "entry")
    assert result["test_keys"] == {"agent": "entry", "legacy_agent": "header", "legacy_probe_cc": "FR"}
    assert (result["test_version"], result["test_runtime"]) == ("0.1", 1.5)


def test_a_null_of_the_entry_is_its_own() -> None:
    result = normalised({"failure": None, "options": None}, {"failure": "header", "options": ["-f"]})
    assert result["test_keys"] == {"failure": None, "legacy_failure": "header"}
    assert result["options"] == ["-f"]


def test_what_says_the_same_is_not_kept_twice() -> None:
    same = {"probe_cc": "IT", "options": ["-f", "x"], "test_helpers": {"backend": {"a": [1]}}, "agent": "a"}
    assert normalised(dict(same), same)["test_keys"] == {"agent": "a"}


def test_one_entry_leaves_the_header_of_the_next_alone() -> None:
    header = {"options": {"subargs": ["-f", "x"]}, "test_helpers": {}, "data_format_version": "0.1.0"}
    first = normalised({"input": "a"}, header)
    first["options"].append("changed")
    first["test_keys"]["changed"] = 1
    assert set(header) == {"options", "test_helpers", "data_format_version"}
    assert normalised({"input": "b"}, {"options": {"subargs": ["-f"]}})["options"] == ["-f"]


def test_what_is_lifted_and_nested_does_not_overwrite() -> None:
    entry = {
        "input": "above",
        "agent": None,
        "report": {"input": "below", "agent": "a", "same": 1, "list": [1]},
        "same": 1,
        "test_keys": {"same": 2, "other": 3},
    }
    result = normalised(entry)
    assert result["input"] == "above"
    assert result["test_keys"] == {
        "agent": "a",
        "same": 1,
        "other": 3,
        "list": [1],
        "report": {"input": "below"},
        "test_keys": {"same": 2},
    }


def test_nor_does_it_overwrite_what_is_called_so_itself() -> None:
    result = normalised({"input": "a", "report": {"report": "x", "input": "b"}})
    assert result["test_keys"] == {"report": "x", "legacy_report": {"input": "b"}}
    result = normalised({"a": 1, "test_keys": {"a": 2, "test_keys": "x"}})
    assert result["test_keys"] == {"a": 1, "test_keys": "x", "legacy_test_keys": {"a": 2}}


@settings(max_examples=200)
@given(
    st.sampled_from(["http_requests", "dns_consistency", "tls_handshake", "traceroute", "tcp_connect"]),
    st.dictionaries(
        st.sampled_from(
            ["report", "test_keys", "requests", "queries", "options", "tampering", "tor", "a", "request"]
        ),
        st.recursive(
            st.just("MARK"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["report", "test_keys", "request", "response", "headers", "tor", "url", "a"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
        max_size=5,
    ),
    st.dictionaries(st.sampled_from(["a", "tor", "requests", "probe_asn"]), st.just("MARK"), max_size=3),
)
def test_nothing_of_a_legacy_entry_is_lost(name: str, entry: dict[str, Any], header: dict[str, Any]) -> None:
    """Every leaf has a number of its own; all of them must be somewhere in the result."""
    numbers = itertools.count()
    text = re.sub("MARK", lambda _: f"leaf{next(numbers)}.", dumps([entry, header]))
    entry, header = loads(text)
    result = dumps(normalised(entry, {**header, "test_name": name}))
    assert [leaf for leaf in re.findall(r"leaf[0-9]+\.", text) if leaf not in result] == []


@pytest.mark.parametrize("test_keys", [[1, 2], "text", 5, True])
def test_test_keys_that_are_no_mapping_are_kept(test_keys: Any) -> None:
    assert normalised({"test_keys": test_keys, "a": 1})["test_keys"] == {"a": 1, "test_keys": test_keys}
    current = normalised({"data_format_version": "0.2.0", "test_keys": test_keys, "a": 1})
    assert (current["test_keys"], current["a"]) == (test_keys, 1)


def test_current_entries_without_test_keys() -> None:
    entry = {"data_format_version": "0.2.0", "test_keys": None, "accessible": True, "annotations": {"a": "b"}}
    result = normalised(entry)
    assert result["test_keys"] == {"accessible": True}
    assert result["annotations"] == {"a": "b"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"subargs": ["-u"]}, ["-u"]),
        ({}, []),
        ({"subargs": "x"}, []),
        (["-f"], ["-f"]),
        (None, None),
        ("x", "x"),
    ],
)
def test_options(options: Any, expected: Any) -> None:
    result = normalised({"options": options})
    assert result["options"] == expected
    assert result["test_keys"].get("legacy_options") == (options if isinstance(options, dict) else None)


def test_bytes_become_text_or_base64_whatever_tag_they_had() -> None:
    header = {"probe_city": b"Reykjav\xedk", "test_helpers": {"a": [b"\xff"]}}
    entry = {"input": "é".encode(), "deep": [{"a": b"\0\x80"}]}
    result = normalised(entry, header, raw=b"!!python/bytes")
    assert result["input"] == "é"
    assert result["probe_city"] == {"data": "UmV5a2phdu1r", "format": "base64"}
    assert result["test_helpers"] == {"a": [{"data": "/w==", "format": "base64"}]}
    assert result["test_keys"]["deep"] == [{"a": {"data": "AIA=", "format": "base64"}}]
