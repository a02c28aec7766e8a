"""Lists in the format of the public ones: what they mean, and a doubtful row is named with file and line."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.fingerprints import FingerprintTable, load_fingerprints
from tests.fingerprints.test_matcher import base64_of, entry, exchange, page

COLUMNS = (
    "name,scope,other_names,location_found,pattern_type,pattern,confidence_no_fp,expected_countries,source,"
    "exp_url,notes\n"
)
#: One row a way to match; %s of a test goes behind them.
ROWS = """\
full,nat,,body,full,"<html>
blocked</html>",10,,a list,,
prefix,isp,,body,prefix,<html>stop,10,"US, CA",a list,,
contains,prod,,body,contains,not for you,5,,a list,,
regexp,inst,,body,regexp,<title>[^<]*order [0-9]+,5,ZZ,a list,,
location,nat,,header.Location,prefix,http://block.test/,10,,a list,,
server,prod,,header.server,regexp,(?i)^filter/[0-9],10,,a list,,
dns4,nat,,dns,full,10.10.34.36,10,IR,a list,,
dns6,nat,,dns,full,2001:DB8::0:1,10,,a list,,
dnsname,isp,,dns,full,Block.Example.test,10,,a list,,
dnsprefix,isp,,dns,prefix,192.0.2.,10,,a list,,
fp.wall,fp,,body,contains,checking your browser,0,,a list,,
vbw,vbw,,body,contains,access denied,0,,a list,,
"""


def write(directory: Path, rows: str = ROWS, columns: str = COLUMNS, name: str = "list.csv") -> Path:
    path = directory / name
    path.write_text(columns + rows, encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> FingerprintTable:
    return load_fingerprints(lists=[write(tmp_path)])


def names(table: FingerprintTable, shown: dict[str, Any]) -> list[str]:
    return [name for _, name in table.match(shown)]


@pytest.mark.parametrize(
    ("response", "probe_cc", "expected"),
    [
        ({"body": "<html>\nblocked</html>"}, "DE", ["full"]),
        ({"body": base64_of("<html>\nblocked</html>".encode("utf-16-le"))}, "DE", []),
        ({"body": base64_of("\ufeff<html>stop ş".encode("utf-16-le"))}, "US", []),  # the mark comes first
        ({"body": base64_of(b"<html>stop \xff")}, "US", ["prefix"]),
        ({"body": "<html>\nblocked</html>\n"}, "DE", []),
        ({"body": "<html>stop now"}, "US", ["prefix"]),
        ({"body": "<html>stop now"}, "CA", ["prefix"]),
        ({"body": "<html>stop now"}, "ca", ["prefix"]),
        ({"body": "<html>stop now"}, "DE", []),
        ({"body": " <html>stop now"}, "US", []),
        ({"body": "this is not for you, sorry"}, None, ["contains"]),
        ({"body": "this is Not for you, sorry"}, "DE", []),
        ({"body": "<title>By\ncourt order 17</title>"}, "DE", ["regexp"]),
        ({"body": "<title>By court order x</title>"}, "DE", []),
        ({"headers": {"location": "http://block.test/1"}}, "DE", ["location"]),
        ({"headers": {"LOCATION": ["http://x.test/", "http://block.test/"]}}, "ZZ", ["location"]),
        ({"headers": {"Via": "http://block.test/1"}}, "DE", []),
        ({"headers_list": [["Server", base64_of(b"FILTER/9")]]}, "DE", ["server"]),
        ({"headers": {"Server": "a filter/9"}}, "DE", []),
        ({"body": "checking your browser: access denied"}, "DE", ["fp.wall", "vbw"]),
        ({"body": "10.10.34.36"}, "IR", []),
    ],
)
def test_responses(table: FingerprintTable, response: Any, probe_cc: str, expected: list[str]) -> None:
    for test_name in ("http_requests", "web_connectivity"):
        assert names(table, page(response, probe_cc, test_name)) == expected
        through_tor = entry(probe_cc, test_name, requests=[exchange(response, True)])
        assert names(table, through_tor) == []
    assert names(table, page(response, probe_cc, "http_host")) == []


@pytest.mark.parametrize(
    ("answer", "probe_cc", "expected"),
    [
        ({"answer_type": "A", "ipv4": "10.10.34.36"}, "IR", ["dns4"]),
        ({"answer_type": "A", "ipv4": "10.10.34.36"}, "DE", []),
        ({"answer_type": "A", "ipv4": "10.10.34.3"}, "IR", []),
        ({"answer_type": "AAAA", "ipv6": "2001:0db8:0000::1"}, "DE", ["dns6"]),
        ({"answer_type": "CNAME", "hostname": "block.example.TEST."}, "DE", ["dnsname"]),
        ({"answer_type": "A", "ipv4": "192.0.2.77"}, "DE", ["dnsprefix"]),
        ({"answer_type": "A", "ipv4": "192.0.200.7"}, "DE", []),
        ({"answer_type": "A", "ipv4": ["10.10.34.36"]}, "IR", []),
        (None, "IR", []),
    ],
)
def test_answers_of_resolvers(
    table: FingerprintTable, answer: Any, probe_cc: str, expected: list[str]
) -> None:
    queries = [None, {"answers": None}, {"answers": ["x", answer]}]
    assert names(table, entry(probe_cc, queries=queries, requests=None)) == expected
    assert names(table, entry(probe_cc, "http_requests", queries=queries)) == []
    control = {"dns": {"addrs": ["10.10.34.36", "192.0.2.77"]}, "queries": queries}
    assert names(table, entry(probe_cc, control=control, queries=None)) == []


def test_kinds(table: FingerprintTable) -> None:
    shown = page({"body": "checking your browser: access denied, not for you"}, "DE")
    assert table.match(shown) == [("blockpage", "contains"), ("false_positive", "fp.wall"), ("vague", "vbw")]
    assert table.match_blockpages(shown) == ("contains",)


def test_the_shipped_ones_match_as_before_beside_them(table: FingerprintTable) -> None:
    shown = page({"body": '<iframe src="http://10.10.34.34"> not for you'}, "IR")
    assert names(table, shown) == ["contains", "ir_iframe_10_10"]
    assert table.countries is None and load_fingerprints().countries is not None


def test_can_be_pickled(table: FingerprintTable) -> None:
    copied = pickle.loads(pickle.dumps(table))  # noqa: S301 (our own bytes)
    assert copied.version == table.version
    shown = page({"body": "<title>order 1</title> not for you"}, "DE")
    assert copied.match(shown) == table.match(shown) != []


def test_the_older_columns_in_any_order(tmp_path: Path) -> None:
    columns = "pattern,more,name,confidence,location,pattern_type\n"
    table = load_fingerprints(lists=[write(tmp_path, "not for you,x,one,3,body,contains\n", columns)])
    (rule,) = table.listed
    assert (rule.name, rule.kind, rule.countries, rule.confidence) == ("one", "blockpage", (), 3)
    assert rule.explained() == {
        "location": "body",
        "pattern_type": "contains",
        "pattern": "not for you",
        "confidence": 3,
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a b,,,body,full,x,,,,,", "name"),
        (",,,body,full,x,,,,,", "name"),
        ("a,NAT,,body,full,x,,,,,", "scope"),
        ("a,,,title,full,x,,,,,", "location: 'title'"),
        ("a,,,header,full,x,,,,,", "location"),
        ("a,,,header.,full,x,,,,,", "location"),
        ("a,,,header.a b,full,x,,,,,", "location"),
        ("a,,,body,like,x,,,,,", "pattern_type: 'like'"),
        ("a,,,body,,x,,,,,", "pattern_type"),
        ("a,,,body,full,,,,,,", "pattern: is empty"),
        ("a,,,body,contains, ,,,,,", "pattern: is empty"),
        ("a,,,body,regexp,a(,,,,,", "pattern: re2"),
        ("a,,,body,regexp,(?=a)b,,,,,", "pattern: re2"),
        ("a,,,body,regexp,a*,,,,,", "pattern: it matches the empty text"),
        ("a,,,body,full,x\ufffd,,,,,", "pattern: has"),
        ("a,,,body,full,x,high,,,,", "confidence"),
        ("a,,,body,full,x,,Iran,,,", "expected_countries: 'Iran'"),
        ("a,,,body,full,x,,ir,,,", "expected_countries"),
        ('a,,,body,full,x,,"IR,,US",,,', "expected_countries"),
        ("a,,,body,full,x,,UK,,,", "write GB"),
        ('a,,,body,full,x,,"ZZ,IR",,,', "ZZ"),
        ("a,,,body,full,x,,IR,,", "10 cells, expected 11"),
        ("a,, body,body ,full,x,,,,,", "location_found: has spaces"),
        ("contains,,,body,full,x,,,,,", r"name: contains is taken, it stands in .*list\.csv line 5"),
        ("ir_iframe_10_10,,,body,full,x,,,,,", r"ir_iframe_10_10 is taken.* own blockpages\.csv on line"),
        ('a,,,body,full,"x,,,,,', "unexpected end"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, said: str) -> None:
    path = write(tmp_path, f"{ROWS}{row}\n")
    with pytest.raises(ConfigurationError, match=rf"list\.csv line 15: .*{said}"):
        load_fingerprints(lists=[path])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("name,location,pattern_type\n", "'pattern' is missing"),
        ("name,location,location_found,pattern_type,pattern\n", "'location' is given twice"),
        ("name,confidence,confidence_no_fp,location,pattern_type,pattern\n", "'confidence' is given twice"),
        ("", "'name' is missing"),
    ],
)
def test_bad_columns_are_named(tmp_path: Path, columns: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"list\.csv line 1: .*{said}"):
        load_fingerprints(lists=[write(tmp_path, "", columns)])


def test_a_name_in_two_lists_is_named(tmp_path: Path) -> None:
    lists = [write(tmp_path), write(tmp_path, ROWS.splitlines()[2] + "\n", name="other.csv")]
    with pytest.raises(ConfigurationError, match=r"other\.csv line 2: .*prefix is taken, .*list\.csv line 4"):
        load_fingerprints(lists=lists)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.csv cannot be read"):
        load_fingerprints(lists=[tmp_path / "none.csv"])


def test_version_follows_what_decides_a_match_only(tmp_path: Path) -> None:
    row = "one,nat,,body,contains,not for you,10,IR,a list,http://x,a note\n"
    same = [row.replace("a list", "another"), row.replace("10", "3"), row.replace("nat", "isp")]
    other = [
        row.replace("one", "two"),
        row.replace("nat", "fp"),
        row.replace("body", "dns"),
        row.replace("contains", "prefix"),
        row.replace("you", "me"),
        row.replace("IR", ""),
        row.replace("IR", "TR"),
        "",
    ]
    version = load_fingerprints(lists=[write(tmp_path, row)]).version
    assert {load_fingerprints(lists=[write(tmp_path, rows)]).version for rows in same} == {version}
    versions = {load_fingerprints(lists=[write(tmp_path, rows)]).version for rows in other}
    assert len(versions) == len(other) and version not in versions
    assert load_fingerprints().version == load_fingerprints(lists=[write(tmp_path, "")]).version


def test_what_a_version_holds_is_all_of_it(table: FingerprintTable) -> None:
    held = table.explained()
    assert len(held) == len(table.rules) + len(table.vendors) == 26 + 12 + 3
    (dns,) = [row for row in held if row["name"] == "dns4"]
    assert dns["kind"] == "blockpage" and dns["number"] == 1
    assert dns["rule"] == {
        "countries": ("IR",),
        "location": "dns",
        "pattern_type": "full",
        "pattern": "10.10.34.36",
        "scope": "nat",
        "confidence": 10,
        "source": "a list",
    }


def test_a_thousand_rules_are_the_same_as_each_alone(tmp_path: Path) -> None:
    pieces = [f"<p>block page {number} of a large list</p>" for number in range(1000)]
    rows = "".join(f"n{number:04},nat,,body,contains,{piece},,,,,\n" for number, piece in enumerate(pieces))
    table = load_fingerprints(lists=[write(tmp_path, rows)])
    assert names(table, page({"body": "<p>block page 7 of a largish list</p>" * 1000}, "DE")) == []
    body = "x".join(["filler " * 5_000, *pieces[3::250], "\0\ud800"])
    assert names(table, page({"body": body}, "DE")) == ["n0003", "n0253", "n0503", "n0753"]


def test_several_of_a_kind_are_told_apart(tmp_path: Path) -> None:
    rows = "".join(
        f"{kind}_{number},nat,,body,{kind},<p>{number},,,,,\n"
        for kind in ("full", "prefix", "contains", "regexp")
        for number in (1, 2, 12)
    )
    table = load_fingerprints(lists=[write(tmp_path, rows)])
    assert names(table, page({"body": "<p>2"})) == ["contains_2", "full_2", "prefix_2", "regexp_2"]
    found = ["contains_1", "contains_12", "prefix_1", "prefix_12", "regexp_1", "regexp_12"]
    assert names(table, page({"body": "<p>12 more"})) == found
    assert names(table, page({"body": " <p>2"})) == ["contains_2", "regexp_2"]
    assert names(table, page({"body": "<p>3"})) == []


def test_a_body_that_hits_everything_is_not_slow(tmp_path: Path) -> None:
    rows = "".join(f"n{number},nat,,body,regexp,a.*b{{1}}{number % 7},,,,,\n" for number in range(50))
    table = load_fingerprints(lists=[write(tmp_path, rows)])
    begin = time.perf_counter()
    assert len(names(table, page({"body": "ab0ab1ab2" * 100_000}, "DE"))) == 22
    assert time.perf_counter() - begin < 10
