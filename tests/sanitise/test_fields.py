"""Keys that say who or where the volunteer is; and that evidence comes out byte for byte."""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.patterns import pattern
from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.sanitise import Sanitiser, fields
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable
from ooni_pipeline.sanitise.cuts import Cuts
from ooni_pipeline.sanitise.probe_ip import RULE
from ooni_pipeline.sanitise.settings import ANNOTATIONS, Settings

TABLE = BridgeTable.of([Bridge("192.0.2.1", 443, "01" * 20, None, None)])
SANITISER = Sanitiser(TABLE)
FOUND = pattern([fields.lines(Settings())])


def run(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    counts: Counter[str] = Counter()
    clean = SANITISER.of_report().sanitise_line(dump_entry(entry), counts)
    assert clean is not None
    return loads(clean), dict(counts)


@pytest.mark.parametrize("key", ["probe_city", "probe_id"])
@pytest.mark.parametrize("value", ["Reykjavík", "", 0, False, {}, [], {"format": "base64", "data": "AA"}])
@pytest.mark.parametrize("legacy", [False, True])
def test_nulled(key: str, value: Any, legacy: bool) -> None:
    entry = {"id": "x", "test_keys": {key: value}} if legacy else {"id": "x", key: value}
    assert FOUND(dump_entry(entry), 0)
    result, cuts = run(entry)
    assert (result["test_keys"] if legacy else result)[key] is None
    assert cuts == result["sanitised"] == {key: 1}


@pytest.mark.parametrize(
    ("annotations", "kept"),
    [
        ({"platform": "linux", "contact": "someone@example.org"}, {"platform": "linux"}),
        ({"contact": "x", "platform": "linux"}, {"platform": "linux"}),
        (dict.fromkeys(sorted(ANNOTATIONS), "x") | {"go_version": "go1"}, dict.fromkeys(ANNOTATIONS, "x")),
        ({"platform": {"a": "b"}}, {}),
        ({"platform": 5, "origin": ["a"]}, {"platform": 5}),
        ({"": 1, "platfor": 1, "platforms": 1, "platform ": 1}, {}),
        ("free text", {}),
        (["free text"], {}),
        (5, {}),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_annotations(annotations: Any, kept: Any, legacy: bool) -> None:
    entry = {"annotations": annotations}
    entry = {"id": "x", "test_keys": entry} if legacy else {"id": "x", **entry}
    assert FOUND(dump_entry(entry), 0)
    result, cuts = run(entry)
    assert (result["test_keys"] if legacy else result)["annotations"] == kept
    assert cuts == {"annotations": len(annotations) - len(kept) if isinstance(annotations, dict) else 1}


NAME = st.sampled_from([*sorted(ANNOTATIONS), "Platform", "contact", "platfor", "originx", ""]) | st.text(
    max_size=4
)
VALUE: st.SearchStrategy[Any] = st.sampled_from(
    ["linux", "", "a,b", "}", '"', "é", "\\", "{", None, 5, 1.5, True, [], {}, ["x"]]
)


@settings(max_examples=800)
@given(st.dictionaries(NAME, VALUE, max_size=4) | st.none())
def test_the_expression_finds_every_line_that_needs_it(annotations: Any) -> None:
    entry = {"id": "x", "annotations": annotations, "input": None}
    line = dump_entry(entry)
    cuts = Cuts(TABLE)
    fields.sanitise(entry, cuts)
    if +cuts.by_rule:
        assert FOUND(line, 0)
    elif b"\\" not in line:
        assert FOUND(line, 0) is None


@pytest.mark.parametrize(
    ("written", "clean", "cuts"),
    [
        ("http://user:password@a.test/x", "http://a.test/x", {"input_userinfo": 1}),
        ("http://user@a.test", "http://a.test", {"input_userinfo": 1}),
        ("HTTPS://a:b@c@a.test:443/@", "HTTPS://a.test:443/@", {"input_userinfo": 1}),
        (" http://a:b@a.test", " http://a.test", {"input_userinfo": 1}),
        ("//a:b@a.test", "//a.test", {"input_userinfo": 1}),
        ("a:b@a.test:80", "a.test:80", {"input_userinfo": 1}),
        ("http://a.test/#me", "http://a.test/", {"input_fragment": 1}),
        ("http://a.test#a#b\n", "http://a.test", {"input_fragment": 1}),
        ("http://a:b@a.test/?q=1#x", "http://a.test/?q=1", {"input_userinfo": 1, "input_fragment": 1}),
        (["http://a.test/#x", 5], ["http://a.test/", 5], {"input_fragment": 1}),
        ({"http://a.test/#x": 5}, {"http://a.test/": 5}, {"input_fragment": 1}),
        ('http://a.test/"#x', 'http://a.test/"', {"input_fragment": 1}),
    ],
)
def test_input(written: Any, clean: Any, cuts: dict[str, int]) -> None:
    entry = {"id": "x", "input": written, "test_keys": {}}
    assert FOUND(dump_entry(entry), 0)
    assert run(entry) == ({"id": "x", "input": clean, "test_keys": {}, "sanitised": cuts}, cuts)


@pytest.mark.parametrize(
    "written",
    [
        None, "", 5, "http://a.test/@x", "http://a.test/?q=a:b@c", "a.test", "a.test:80", "203.0.113.7:80",
        "[2001:db8::7]:80", "#x", "a@b.test", "#tag @me", "http://a.test:80/a:b@c", [], {},
    ],
)  # fmt: skip
def test_inputs_that_stay(written: Any) -> None:
    entry = {"id": "x", "input": written}
    assert run(copy.deepcopy(entry)) == (entry, {})


def test_a_password_goes_from_the_requests_too() -> None:
    request = {"url": "http://user:secret@a.test/", "headers": {"Referer": "http://user:secret@a.test/"}}
    entry = {"id": "x", "input": "http://user:secret@a.test/", "test_keys": {"requests": [request]}}
    result, cuts = run(entry)
    assert "secret" not in json.dumps(result)
    assert cuts == {"input_userinfo": 1}


@pytest.mark.parametrize("piece", [":", "a:", "@", "//", "a:@", "#", "http://", "\\"])
def test_no_input_takes_for_ever(piece: str) -> None:
    begin = time.perf_counter()
    fields.sanitise({"input": piece * 200_000}, Cuts(TABLE))
    assert time.perf_counter() - begin < 5


OWN = "203.0.113.7"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("body", f"<html><b>Blocked.</b> Your address: {OWN} X-Forwarded-For: {OWN} user:pw@host#x</html>"),
        ("body", f'{{"client": "{OWN}", "city": "x"}}'),
        ("headers", {"Location": f"http://{OWN}/?ip={OWN}#warn", "Via": f"1.1 {OWN}", "Server": OWN}),
        ("headers_list", [["X-Cache", f"MISS from {OWN}"], ["Set-Cookie", f"ip={OWN}"], ["Via", OWN]]),
        ("queries", [{"answers": [{"answer_type": "A", "ipv4": OWN}, {"ipv6": "2001:db8::7"}]}]),
        ("failure", f"connect to {OWN}:443: connection_refused"),
        ("resolver_ip", OWN),
        ("tcp_connect", [{"ip": OWN, "port": 443}]),
    ],
)
@pytest.mark.parametrize("name", ["web_connectivity", "http_host", "tor", "torsf", "vanilla_tor", "dnscheck"])
def test_evidence_stays_byte_for_byte(key: str, value: Any, name: str) -> None:
    """Also where much else of the same entry is cut."""
    request = {"request": {"headers": {"X-Real-IP": OWN}}, "response": {key: value, "code": 200}}
    entry = {
        "id": "x", "input": "http://a:b@a.test/", "test_name": name, "probe_city": "x",
        "annotations": {"contact": "x"}, "test_keys": {"requests": [request], key: value},
    }  # fmt: skip
    kept = dump_entry({key: value})[1:-1]
    line = SANITISER.of_report().sanitise_line(dump_entry(entry), Counter())
    assert line is not None
    assert line.count(kept) == 2
    assert set(loads(line)["sanitised"]) == {"input_userinfo", "probe_city", "annotations", "headers"}


@pytest.mark.parametrize("key", ["probe_city", "probe_id", "probe_ip"])
@pytest.mark.parametrize(
    "place",
    [
        lambda key: {"test_keys": {f"legacy_{key}": "of a person"}},
        lambda key: {"test_keys": {f"legacy_legacy_{key}": "of a person"}},
        lambda key: {"test_keys": {"report": {key: "of a person"}}},
        lambda key: {"test_keys": {"legacy_report": {"report": [{key: "of a person"}]}}},
    ],
)
def test_what_was_overruled_goes_too(key: str, place: Callable[[str], dict[str, Any]]) -> None:
    result, cuts = run({"id": "x", **place(key)})
    assert "of a person" not in json.dumps(result)
    assert cuts == {RULE if key == "probe_ip" else key: 1}


def test_so_do_its_annotations_inputs_and_headers() -> None:
    url = "http://me:pw@a.test/"
    headers = {"X-Forwarded-For": "198.51.100.7"}
    report = {"annotations": {"contact": "me"}, "input": url, "legacy_headers": headers}
    result, _ = run(
        {"id": "x", "test_keys": {"report": report, "legacy_headers_list": [["Client-IP", "me"]]}}
    )
    assert result["test_keys"] == {
        "report": {
            "annotations": {},
            "input": "http://a.test/",
            "legacy_headers": {"X-Forwarded-For": "[scrubbed]"},
        },
        "legacy_headers_list": [["Client-IP", "[scrubbed]"]],
    }


@pytest.mark.parametrize("test_name", ["bridge_reachability", "vanilla_tor", "torsf", "tor"])
def test_so_does_what_was_overruled_of_a_tor_log(test_name: str) -> None:
    said = "connecting to 198.51.100.7:443"
    keys = {"legacy_tor_log": said, "report": {"bridge_address": said}, "test_keys": [said], "fine": said}
    result, cuts = run({"id": "x", "test_name": test_name, "input": None, "test_keys": keys})
    assert "198.51.100.7" not in json.dumps({**result["test_keys"], "fine": None})
    assert result["test_keys"]["fine"] == said
    assert cuts["overruled"] + cuts["tor_log"] == 3


def test_what_an_input_may_not_say_its_requests_and_command_line_may_not_either() -> None:
    url = "https://me:pw@h.test/page#token=abc"
    request = {"url": url, "headers": {"Authorization": "Basic bWU6cHc="}}
    entry = {
        "id": "x",
        "input": url,
        "options": ["-u", url],
        "test_keys": {"requests": [{"request": request}]},
    }
    result, cuts = run(entry)
    assert result["input"] == "https://h.test/page"
    assert result["options"] == ["-u", "https://h.test/page"]
    assert result["test_keys"]["requests"][0]["request"] == {
        "url": "https://h.test/page",
        "headers": {"Authorization": "[scrubbed]"},
    }
    assert cuts == {"headers": 1, "input_userinfo": 2, "input_fragment": 2}


@pytest.mark.parametrize(
    "options",
    [
        ["-u", "http://a:pw@h.test/"],
        {"subargs": ["-u", "http://a:pw@h.test/"]},
        {"subargs": ["-f", "a]b}"], "more": {"a": []}, "url": "http://a:pw@h.test/"},
        [["[", {"a": '\\"'}], "http://a:pw@h.test/"],
        [[[["http://a:pw@h.test/"]]]],
        [[[[[["deep"]]]]], "http://a:pw@h.test/"],
    ],
)
@pytest.mark.parametrize("key", ["options", "legacy_options"])
def test_command_lines(options: Any, key: str) -> None:
    line = dump_entry({"id": "x", "input": "http://other.test/", "test_keys": {key: options}})
    assert FOUND(line, 0)
    result, _ = run(loads(line))
    assert "pw" not in json.dumps(result)
    assert "http://h.test/" in json.dumps(result)


@pytest.mark.parametrize("options", [[], ["-f", "x"], {"subargs": ["-f", {"a": "]"}]}, "x", None])
def test_command_lines_without_a_url_need_no_look(options: Any) -> None:
    assert FOUND(dump_entry({"options": options, "body": '<a href="#x">me@here</a>'}), 0) is None


def test_the_whole_fragment_goes_where_another_begins_like_it() -> None:
    urls = ["http://a.test/#tok", "http://a.test/#token"]
    result, _ = run({"id": "x", "input": urls, "test_keys": {"a": urls[1], "b": f"{urls[0]} {urls[1]}"}})
    assert result["test_keys"] == {"a": "http://a.test/", "b": "http://a.test/ http://a.test/"}


def test_more_urls_than_any_input_has_are_held() -> None:
    entry = {"id": "x", "input": [f"http://a.test/#{number}" for number in range(fields.MAX_CUT + 1)]}
    with pytest.raises(ValueError):
        SANITISER.of_report().sanitise_line(dump_entry(entry), Counter())
