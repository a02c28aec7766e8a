"""One entry: what is cut, what is held, and that nothing else is touched."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.patterns import pattern
from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.sanitise import Sanitiser
from ooni_pipeline.sanitise.bridges import Bridge, BridgeTable
from ooni_pipeline.sanitise.probe_ip import TO_WITHHOLD
from ooni_pipeline.sanitise.strings import change_strings, strings_in

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
ALL_DIGITS = "1234567890123456789012345678901234567890"
UNKNOWN = "00112233445566778899AABBCCDDEEFF00112233"
HASHED = "ef473bbc24024ac1d66b318ac96bb31a95fd9a7d"  # of FINGERPRINT
HASHED_UNKNOWN = "8ec76adddef398b3cda89d0bca72a9c5d85b7843"
SANITISER = Sanitiser(
    BridgeTable.of(
        [
            Bridge("192.0.2.1", 443, FINGERPRINT, "https", "obfs3"),
            Bridge("2001:db8::1", 443, ALL_DIGITS, None, None),
        ]
    )
)


def run(
    entry: dict[str, Any], *own: str, released: bool = False
) -> tuple[dict[str, Any] | None, dict[str, int]]:
    """The sanitised entry, None when it is held, and what was cut."""
    counts: Counter[str] = Counter()
    line = SANITISER.of_report(own, released=released).sanitise_line(dump_entry(entry), counts)
    return (None if line is None else loads(line)), dict(counts)


def web(**keys: Any) -> dict[str, Any]:
    return {"id": "x", "test_name": "web_connectivity", "probe_ip": "127.0.0.1", "test_keys": {}, **keys}


def test_nothing_to_cut() -> None:
    entry = web(input="http://192.0.2.10/", test_keys={"a": [1, 2.5, "é"]})
    assert run(entry) == (entry, {})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.sampled_from(["\ud800", "\ud83d\ude00", 10**300, -0.0, 1e22, "/", "\x7f\u2028"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300)
@given(JSON, st.sampled_from(["web_connectivity", "tcp_connect", "ndt"]))
def test_a_line_without_anything_to_cut_is_the_same_to_the_byte(value: Any, name: str) -> None:
    line = dump_entry(web(test_name=name, test_keys={"a": value}, probe_ip=None))
    assert SANITISER.of_report().sanitise_line(line, Counter()) == line


@settings(max_examples=200)
@given(JSON)
def test_a_line_that_is_cut_differs_only_there(value: Any) -> None:
    entry = web(input="http://192.0.2.1/", test_keys={"a": value})
    clean = SANITISER.of_report().sanitise_line(dump_entry(entry), Counter())
    entry["input"] = "http://[REDACTED]/"
    entry["sanitised"] = {"bridge": 1}
    assert clean == dump_entry(entry)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input", "http://192.0.2.1:443/"), ("report_id", FINGERPRINT),
        ("annotations", {"platform": "192.0.2.1"}),
        ("options", ["-b", f"obfs3 192.0.2.1:443 {FINGERPRINT}"]), ("test_helpers", {"backend": "192.0.2.1"}),
        ("test_keys", {"tor_log": f"at 192.0.2.1 {FINGERPRINT.lower()}"}), ("test_version", "2001:DB8:0::1"),
        ("192.0.2.1", 1), ("x", [[[["192.0.2.1"]]]]),
        ("probe_asn", "[2001:0db8:0000:0000:0000:0000:0000:0001]"),
    ],
)  # fmt: skip
def test_of_a_report_that_a_person_released_a_known_bridge_goes_wherever_it_stands(
    key: str, value: Any
) -> None:
    entry, cuts = run(web(**{key: value}), released=True)
    assert entry is not None
    text = json.dumps(entry).lower()
    assert not re.search(r"192\.0\.2\.1\b|2001:0?db8|0123456789abcdef0123", text)
    assert entry["sanitised"] == cuts
    assert sum(cuts.values()) >= 1


def test_keys_that_become_alike_keep_their_values() -> None:
    keys = {"192.0.2.1:1": "a", "[REDACTED]:1": "b", "2001:db8::1:1": "c", "[REDACTED]:1 2": "d"}
    entry, cuts = run(web(test_keys=keys), released=True)
    assert entry is not None
    assert entry["test_keys"] == {
        "[REDACTED]:1 3": "a", "[REDACTED]:1": "b", "[REDACTED]:1 4": "c", "[REDACTED]:1 2": "d"
    }  # fmt: skip
    assert cuts == {"bridge": 2}


def test_a_fingerprint_as_a_number_is_held_not_broken() -> None:
    assert run(web(test_keys={"a": int(ALL_DIGITS)})) == (None, {})


def test_the_digits_of_an_escape_are_no_part_of_an_address() -> None:
    """ñ is \\u00f1 in a line, so a plain search sees 192.0.2.1 where 92.0.2.1 stands."""
    line = dump_entry(web(input="\u00f192.0.2.1"))
    assert SANITISER.of_report().sanitise_line(line, Counter()) == line


@pytest.mark.parametrize(
    "probe_ip", ["9.9.9.9", "", "127.0.0.10", "127.0.0", "::1", 0, 127, False, ["127.0.0.1"], {}]
)
def test_probe_ip_is_withheld(probe_ip: Any) -> None:
    entry, cuts = run(web(probe_ip=probe_ip))
    assert entry == {**web(), "sanitised": {"probe_ip_withheld": 1}}
    assert cuts == {"probe_ip_withheld": 1}


@pytest.mark.parametrize("probe_ip", [None, "127.0.0.1"])
def test_probe_ip_that_is_withheld_already(probe_ip: Any) -> None:
    assert run(web(probe_ip=probe_ip)) == (web(probe_ip=probe_ip), {})


NEAR = st.text(alphabet='127.0"\\n ', max_size=12) | st.sampled_from(["127.0.0.1", "127.0.0.1 ", "null"])


@settings(max_examples=500)
@given(
    NEAR
    | st.none()
    | st.integers()
    | st.booleans()
    | st.lists(NEAR, max_size=2)
    | st.dictionaries(NEAR, NEAR, max_size=1)
)
def test_the_expression_for_other_than_withheld(probe_ip: Any) -> None:
    """Against what it stands for: only null and 127.0.0.1 need no look."""
    line = dump_entry({"a": 1, "probe_ip": probe_ip, "probe_city": None})
    needs_a_look = pattern([TO_WITHHOLD])(line, 0) is not None
    assert needs_a_look == (probe_ip not in (None, "127.0.0.1"))


def test_lines_that_need_a_look_are_found() -> None:
    for entry in (
        web(probe_ip="1.1.1.1"),
        web(test_name="tcp_connect"),
        web(test_name="bridge_reachability"),
        web(input="x192.0.2.1"),
        web(input=FINGERPRINT.lower()),
        web(input="2001:0DB8::1"),
    ):
        first, second = dump_entry(web()) + b"\n", dump_entry(entry) + b"\n"
        found = list(SANITISER.of_report().wanted(first + second))
        assert found == [(len(first), len(first + second) - 1)]
    assert list(SANITISER.of_report().wanted(dump_entry(web()))) == []


def bridge(**keys: Any) -> dict[str, Any]:
    return web(test_name="bridge_reachability", **keys)


@pytest.mark.parametrize(
    ("written", "hashed", "distributor", "transport"),
    [
        ("192.0.2.1:443", HASHED, "https", "obfs3"),
        (" 192.0.2.1:443\n", HASHED, "https", "obfs3"),
        (f"Bridge obfs3 192.0.2.1:443 {UNKNOWN}", HASHED, "https", "obfs3"),
        (f"203.0.113.7:1 192.0.2.1:443 {UNKNOWN}", HASHED, "https", "obfs3"),
        (f"obfs3 203.0.113.7:443 {UNKNOWN}", HASHED_UNKNOWN, None, "own"),
        (UNKNOWN.lower(), HASHED_UNKNOWN, None, "own"),
        ("203.0.113.7:443", None, None, "own"),
        ("bridge.test:443", None, None, "own"),
        (["192.0.2.1:443"], HASHED, "https", "obfs3"),
        ({"192.0.2.1:443": 1}, HASHED, "https", "obfs3"),
        (5, None, None, "own"),
    ],
)
@pytest.mark.parametrize("key", ["input", "bridge_address"])
def test_bridge_reachability(
    written: Any, hashed: str | None, distributor: str | None, transport: str, key: str
) -> None:
    test_keys: dict[str, Any] = {"transport": "own", "error": f"{written}"}
    entry = bridge(test_keys=test_keys, input=written if key == "input" else None)
    if key == "bridge_address":
        test_keys["bridge_address"] = written
    result, cuts = run(entry)
    assert result is not None
    found = result["test_keys"]
    assert (found["bridge_hashed_fingerprint"], found["distributor"], found["transport"]) == (
        hashed, distributor, transport
    )  # fmt: skip
    assert found["bridge_address"] is None
    assert result["input"] == ((hashed or "[REDACTED]") if key == "input" else None)
    assert cuts["bridge_input" if key == "input" else "bridge_address"] == 1
    assert not re.search(
        r"192\.0\.2\.1\b|203\.0\.113|0011223344|0123456789", json.dumps(result), re.IGNORECASE
    )


def test_this_machine_is_no_secret() -> None:
    entry, _ = run(bridge(input="127.0.0.1:9050", test_keys={"error": "127.0.0.1 refused"}))
    assert entry is not None
    assert (entry["probe_ip"], entry["input"]) == ("127.0.0.1", "[REDACTED]")
    assert entry["test_keys"]["error"] == "127.0.0.1 refused"


@pytest.mark.parametrize("test_keys", [None, ["203.0.113.7:443"], "203.0.113.7", 5])
def test_bridge_reachability_without_test_keys(test_keys: Any) -> None:
    entry, _ = run(bridge(input="203.0.113.7:443", test_keys=test_keys))
    assert entry is not None
    assert entry["test_keys"]["bridge_address"] is None
    assert "203.0.113" not in json.dumps(entry)


@pytest.mark.parametrize(
    ("written", "expected", "rule"),
    [
        ("192.0.2.1:443", HASHED, "bridge_input"),
        (" obfs3 192.0.2.1:443\n", HASHED, "bridge_input"),
        (f"Bridge obfs3 192.0.2.1:443 {UNKNOWN}", HASHED, "bridge_input"),
        ("192.0.2.1:80", "[REDACTED]:80", "bridge"),
        ("https://192.0.2.1:443/", "https://[REDACTED]:443/", "bridge"),
        (f"203.0.113.7:443 {UNKNOWN}", HASHED_UNKNOWN, "bridge_input"),
        ("obfs3 203.0.113.7:443", "[REDACTED]", "bridge_input"),
        ("203.0.113.7:443", "203.0.113.7:443", None),
        ("www.example.test:80", "www.example.test:80", None),
        ("192.0.2.10:443", "192.0.2.10:443", None),
        (None, None, None),
        ([], [], None),
        (5, 5, None),
    ],
)
def test_tcp_connect(written: Any, expected: Any, rule: str | None) -> None:
    entry, cuts = run(web(test_name="tcp_connect", input=written, test_keys={"connection": "success"}))
    assert entry is not None
    assert entry["input"] == expected
    assert cuts == ({rule: 1} if rule else {})
    hashed = entry["test_keys"].get("bridge_hashed_fingerprint")
    assert hashed == (expected if rule == "bridge_input" and expected != "[REDACTED]" else None)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(["input", "test_keys", "options", "probe_ip"]), JSON), st.booleans())
def test_nothing_hostile_leaks_or_is_lost(keys: dict[str, Any], tor: bool) -> None:
    entry = web(test_name="bridge_reachability" if tor else "tcp_connect", **{"x": "192.0.2.1"} | keys)
    result, _ = run(entry, released=True)
    assert result is not None
    assert "192.0.2.1" not in json.dumps(result)
    assert result["id"] == "x"


@given(JSON)
def test_strings_of_any_value(value: Any) -> None:
    change_strings([value], lambda text: text)
    upper = [loads(dump_entry({"a": value}))["a"]]
    change_strings(upper, lambda text: text + "!")
    assert all(text.endswith("!") or "! " in text for text in strings_in(upper))
