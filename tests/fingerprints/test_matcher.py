"""Every shipped row with an example for and against it, what counts as a match, and hostile shapes."""

from __future__ import annotations

import base64
import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.fingerprints import Fingerprint, VendorRule, load_fingerprints
from ooni_pipeline.fingerprints.charset import CODECS, META_WITHIN_BYTES, decode

TABLE = load_fingerprints()
FINGERPRINTS = {row.name: row for row in TABLE.blockpages}
RULES = {rule.vendor: rule for rule in TABLE.vendors}
#: Each file is a list of ``{"fingerprint" or "vendor": name, "matches": …, "does_not_match": …}``; the two
#: examples are the response of one exchange or, for failures and vendors, test_keys.
FIXTURES = Path(__file__).parent.parent / "fixtures" / "fingerprints"
BLOCKPAGE_EXAMPLES = json.loads((FIXTURES / "blockpages.json").read_text(encoding="utf-8"))
VENDOR_EXAMPLES = json.loads((FIXTURES / "vendors.json").read_text(encoding="utf-8"))

Json = dict[str, Any]


def base64_of(data: bytes) -> Json:
    return {"format": "base64", "data": base64.b64encode(data).decode()}


def entry(probe_cc: object = "IR", test_name: object = "web_connectivity", **test_keys: object) -> Json:
    return {"probe_cc": probe_cc, "test_name": test_name, "test_keys": test_keys}


def exchange(response: object, tor: object = None) -> Json:
    tor = {"is_tor": False, "exit_ip": None, "exit_name": None} if tor is None else tor
    return {"request": {"url": "http://example.org/", "tor": tor}, "response": response}


def page(response: object, probe_cc: str = "IR", test_name: str = "web_connectivity") -> Json:
    return entry(probe_cc, test_name, requests=[exchange(response)])


def example_entry(row: Fingerprint, example: Json, test_name: str) -> Json:
    if row.location == "failure":
        return entry(row.probe_cc, test_name, requests=[], **example)
    return page(example, row.probe_cc, test_name)


def matched(value: Json) -> tuple[str, ...]:
    return TABLE.match_blockpages(value)


IR_PAGE = '<iframe src="http://10.10.34.34">'
IR = ("ir_iframe_10_10",)
TITLE = FINGERPRINTS["tr_tib_title"].pattern.strip("%")  # its letters are what ISO 8859-9 is for
TR = ("tr_tib_title",)


# --- the shipped rows ---------------------------------------------------------------------------------


def test_no_shipped_row_lacks_examples() -> None:
    assert [example["fingerprint"] for example in BLOCKPAGE_EXAMPLES] == list(FINGERPRINTS)
    assert sorted(example["vendor"] for example in VENDOR_EXAMPLES) == list(RULES)
    for example in BLOCKPAGE_EXAMPLES + VENDOR_EXAMPLES:
        assert example["matches"]
        assert example["does_not_match"]


@pytest.mark.parametrize("test_name", ["http_requests", "web_connectivity"])
@pytest.mark.parametrize("example", BLOCKPAGE_EXAMPLES, ids=lambda example: str(example["fingerprint"]))
def test_shipped_fingerprint(example: Json, test_name: str) -> None:
    row = FINGERPRINTS[example["fingerprint"]]
    shown = example_entry(row, example["matches"], test_name)
    assert matched(shown) == (row.name,)
    assert matched(example_entry(row, example["does_not_match"], test_name)) == ()
    # What holds for every row: its own country only, and those two nettests only.
    others = {other.probe_cc for other in TABLE.blockpages} | {"DE", "UK", "ZZ", None}
    elsewhere = {cc for cc in others - {row.probe_cc} if matched({**shown, "probe_cc": cc})}
    same_pattern = {r.probe_cc for r in TABLE.blockpages if r.pattern == row.pattern} - {row.probe_cc}
    assert elsewhere == same_pattern
    assert matched({**shown, "test_name": "http_host"}) == ()


@pytest.mark.parametrize("example", VENDOR_EXAMPLES, ids=lambda example: str(example["vendor"]))
def test_shipped_vendor(example: Json) -> None:
    rule: VendorRule = RULES[example["vendor"]]
    for probe_cc in ("IR", "DE", None):
        assert TABLE.match_vendors(entry(probe_cc, rule.test_name, **example["matches"])) == (rule.vendor,)
        assert TABLE.match_vendors(entry(probe_cc, rule.test_name, **example["does_not_match"])) == ()
    for test_name in {other.test_name for other in TABLE.vendors} - {rule.test_name} | {"web_connectivity"}:
        assert TABLE.match_vendors(entry("IR", test_name, **example["matches"])) == ()


# --- which entries and which responses ----------------------------------------------------------------


def test_country_is_compared_in_upper_case() -> None:
    assert matched(entry("ir", requests=[exchange({"body": IR_PAGE})])) == IR
    assert matched(entry("\u0131r", requests=[exchange({"body": IR_PAGE})])) == ()  # dotless i
    assert matched(entry(" IR", requests=[exchange({"body": IR_PAGE})])) == ()


@pytest.mark.parametrize("position", [0, 1, 2, 7])
def test_any_response_counts(position: int) -> None:
    """Block pages stand at the end of redirects; the old views looked at the first two only."""
    exchanges = [exchange({"body": "moved"}) for _ in range(8)]
    exchanges[position] = exchange({"body": IR_PAGE})
    assert matched(entry("IR", "http_requests", requests=exchanges)) == IR


@pytest.mark.parametrize(
    ("request_part", "counts"),
    [
        ({"tor": True}, False),
        ({"tor": {"is_tor": True, "exit_ip": "192.0.2.1"}}, False),
        ({"tor": False}, True),
        ({"tor": {"is_tor": False}}, True),
        ({"tor": {"is_tor": None}}, True),
        ({"tor": {}}, True),
        ({"tor": None}, True),
        ({"tor": "true"}, True),
        ({}, True),
        (None, True),
        ("GET /", True),
    ],
)
def test_what_came_through_tor_does_not_count(request_part: object, counts: bool) -> None:
    for probe_cc, response in (
        ("IR", {"body": IR_PAGE}),
        ("SA", {"headers": {"Server": "Protected by WireFilter"}}),
    ):
        shown = entry(probe_cc, "http_requests", requests=[{"request": request_part, "response": response}])
        assert bool(matched(shown)) is counts
    without = entry("IR", "http_requests", requests=[{"response": {"body": IR_PAGE}}])
    assert matched(without) == IR


def test_all_matching_names_once_and_sorted() -> None:
    response = {"headers": {"Location": "http://www.warning.or.kr"}, "body": "to http://warning.or.kr now"}
    shown = entry("KR", requests=[exchange(response), exchange(response)])
    assert matched(shown) == ("kr_warning_or_kr_body", "kr_warning_or_kr_location")


# --- headers ------------------------------------------------------------------------------------------

WIREFILTER = "Protected by WireFilter 1.0"


@pytest.mark.parametrize(
    "response",
    [
        {"headers": {"server": WIREFILTER}},
        {"headers": {"SERVER": WIREFILTER}},
        {"headers": {"Server": ["nginx", WIREFILTER]}},
        {"headers": {"Server": base64_of(WIREFILTER.encode())}},
        {"headers": {"Server": [None, 3, base64_of(WIREFILTER.encode() + b"\xff")]}},
        {"headers": {"Server": "nginx", "server": WIREFILTER}},
        {"headers": {"Server": "nginx"}, "headers_list": [["Server", "nginx"], ["Server", WIREFILTER]]},
        {"headers_list": [["server", base64_of(WIREFILTER.encode())]]},
        {"headers": None, "headers_list": [[base64_of(b"Server"), WIREFILTER]]},
        {"headers": [["Server", [WIREFILTER]]]},
        {
            "headers": "?",
            "headers_list": [None, [], ["Server"], ["Server", "a", "b"], ["Server", WIREFILTER]],
        },
    ],
)
def test_header_values_wherever_they_stand(response: Json) -> None:
    assert matched(page(response, "SA")) == ("sa_wirefilter",)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Server": WIREFILTER},
        {"Via": WIREFILTER},
        {"Server": WIREFILTER.lower()},
        {"Server": "x" + WIREFILTER},
        {"Server": {"value": WIREFILTER}},
        {"Server": {"format": "base64", "data": WIREFILTER}},
        {"Server": [[WIREFILTER]]},
    ],
)
def test_headers_that_do_not_count(headers: Json) -> None:
    assert matched(page({"headers": headers, "body": WIREFILTER}, "SA")) == ()


# --- bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charset", "content_type", "head"),
    [
        ("utf-8", None, ""),
        ("utf-8", "text/html; charset=iso-8859-9", ""),  # wrongly declared: the bytes decide
        ("iso8859-9", "text/html; charset=iso-8859-9", ""),
        ("iso8859-9", 'text/html; Charset="ISO-8859-9"', ""),
        ("cp1254", "text/html;charset=windows-1254", ""),
        ("iso8859-9", None, '<meta charset="iso-8859-9">'),
        ("iso8859-9", None, "<META http-equiv=Content-Type content='text/html; charset=iso-8859-9'>"),
        ("iso8859-9", "text/html", "<meta name=x content=y><meta charset=iso-8859-9>"),
        ("iso8859-9", "text/html; charset=no-such", "<meta charset=punycode><meta charset = ' latin5'>"),
        ("iso8859-9", "text/html; charset=iso-8859-9", '<meta charset="koi8-r">'),
        ("utf-16-le", None, "\ufeff"),
        ("utf-16-be", "text/html; charset=iso-8859-9", "\ufeff"),
    ],
)
def test_base64_bodies_in_many_charsets(charset: str, content_type: str | None, head: str) -> None:
    data = (head + "<html>" + TITLE).encode(charset) + b"\r\n"
    headers = {} if content_type is None else {"content-type": content_type}
    assert matched(page({"body": base64_of(data), "headers": headers}, "TR")) == TR


def test_content_type_may_stand_in_headers_list() -> None:
    response = {
        "body": base64_of(TITLE.encode("iso8859-9")),
        "headers_list": [["Content-Type", "a;charset=latin5"]],
    }
    assert matched(page(response, "TR")) == TR


def test_bytes_that_fit_no_charset_still_show_their_ascii() -> None:
    response = {"body": base64_of(b"\xff\xfa\x00" + IR_PAGE.encode() + b"\x81")}
    assert matched(page(response)) == IR
    assert matched(page({**response, "headers": {"Content-Type": "text/html; charset=windows-1253"}})) == IR


def test_a_body_whose_base64_was_cut_still_counts() -> None:
    data = base64.b64encode(IR_PAGE.encode() + b"....").decode().rstrip("=")
    assert len(data) % 4
    assert matched(page({"body": {"format": "base64", "data": data}})) == IR


def test_undeclared_turkish_is_not_guessed() -> None:
    assert matched(page({"body": base64_of(TITLE.encode("iso8859-9"))}, "TR")) == ()


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        3,
        [IR_PAGE],
        {"data": IR_PAGE},
        {"format": "base64"},
        {"format": "hex", "data": "00"},
        {"format": "base64", "data": "\u0131"},
        {"format": "base64", "data": "A"},
        {"format": "base64", "data": 1},
    ],
)
def test_bodies_that_cannot_be_read(body: object) -> None:
    assert matched(page({"body": body})) == ()


def test_a_charset_is_looked_for_near_the_beginning_only() -> None:
    meta = '<meta charset="iso-8859-9">'
    for before, expected in ((META_WITHIN_BYTES - len(meta), TR), (META_WITHIN_BYTES, ())):
        data = (" " * before + meta + TITLE).encode("iso8859-9")
        assert matched(page({"body": base64_of(data)}, "TR")) == expected


def test_only_harmless_codecs_run() -> None:
    for codec in CODECS.values():
        b"".join([b"ab", b"\xff\xfe"]).decode(codec, "replace")
    for name in (
        "punycode",
        "idna",
        "zlib",
        "hex",
        "rot13",
        "unicode_escape",
        "utf-7",
        "../secret",
        "x" * 999,
    ):
        assert decode(b"a\xff", [f"text/html; charset={name}"]) == "aÿ"


def test_declaring_a_charset_cannot_be_made_slow() -> None:
    start = time.perf_counter()
    for piece in (b"<meta ", b"<meta charset=", b"<meta charset", b"charset = ", b"<meta charset=x>"):
        decode(b"\xff" + piece * 200_000, ["charset" + " " * 1_000_000, "charset" * 1_000_000])
    assert time.perf_counter() - start < 2


# --- failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test_keys", "blocked"),
    [
        ({"experiment_failure": "connection_reset_error", "control_failure": None}, True),
        ({"http_experiment_failure": "generic_timeout_error", "control_failure": None}, True),
        ({"dns_experiment_failure": "dns_lookup_error", "control_failure": None}, True),
        (
            {"http_experiment_failure": None, "dns_experiment_failure": "x", "control_failure": None},
            True,
        ),
        ({"experiment_failure": "x", "control_failure": "y"}, False),
        ({"experiment_failure": None, "control_failure": None}, False),
        ({"experiment_failure": None, "control_failure": "y"}, False),
        ({"control_failure": None}, False),
        ({"experiment_failure": "x"}, False),  # nobody knows how the control did
        ({}, False),
    ],
)
def test_experiment_only(test_keys: Json, blocked: bool) -> None:
    expected = ("cn_experiment_only",) if blocked else ()
    for test_name in ("http_requests", "web_connectivity"):
        assert matched(entry("CN", test_name, requests=None, **test_keys)) == expected
        assert matched(entry("DE", test_name, requests=None, **test_keys)) == ()


# --- vendors ------------------------------------------------------------------------------------------

LINE = "http_invalid_request_line"
HEADERS = "http_header_field_manipulation"


@pytest.mark.parametrize(
    ("test_keys", "vendors"),
    [
        ({"tampering": True, "received": ["", "", "", "a squid b"]}, ("squid",)),
        ({"tampering": True, "received": ["", "", "", "", "a squid b"]}, ()),  # four requests, four answers
        ({"tampering": True, "received": [None, 3, base64_of(b"\xff squid")]}, ("squid",)),
        ({"tampering": True, "received": ["Privoxy", "squid", "squid"]}, ("privoxy", "squid")),
        ({"tampering": True, "received": ["SQUID privoxy"]}, ()),
        ({"tampering": False, "received": ["squid"]}, ()),
        ({"tampering": None, "received": ["squid"]}, ()),
        ({"tampering": 1, "received": ["squid"]}, ()),
        ({"tampering": "true", "received": ["squid"]}, ()),
        ({"received": ["squid"]}, ()),
        ({"tampering": True, "received": "squid"}, ()),
        ({"tampering": True}, ()),
    ],
)
def test_vendors_of_received(test_keys: Json, vendors: tuple[str, ...]) -> None:
    assert TABLE.match_vendors(entry("US", LINE, **test_keys)) == vendors


@pytest.mark.parametrize(
    ("tampering", "vendors"),
    [
        ({"header_name_diff": ["X-BlueCoat-Via"]}, ("bluecoat",)),
        ({"header_name_diff": [None, 1, "X-BlueCoat-Via", "Via"]}, ("bluecoat",)),
        ({"header_name_diff": ["X-BLUECOAT-VIA", "X-BlueCoat-Via "]}, ()),
        ({"header_name_diff": "X-BlueCoat-Via"}, ()),
        ({"header_name_diff": [["X-BlueCoat-Via"]]}, ()),
        ({"header_name_diff": {"X-BlueCoat-Via": 1}}, ()),
        ({"header_field_name": ["X-BlueCoat-Via"]}, ()),
        (True, ()),
        (None, ()),
    ],
)
def test_vendors_of_header_name_diff(tampering: object, vendors: tuple[str, ...]) -> None:
    assert TABLE.match_vendors(entry("US", HEADERS, tampering=tampering)) == vendors


# --- hostile shapes -----------------------------------------------------------------------------------

JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["base64", "\ud800", "IR"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text() | st.sampled_from(["format", "data", "is_tor", "body", "headers", "Server"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
COMPLETE: list[Json] = [
    {
        "probe_cc": probe_cc,
        "test_name": test_name,
        "test_keys": {
            "requests": [
                exchange(
                    {
                        "body": base64_of(b"\xff" + IR_PAGE.encode()),
                        "headers": {"Server": ["a", base64_of(b"b")], "Location": "c", "Content-Type": "d"},
                        "headers_list": [["Server", "a"], ["Location", base64_of(b"c")]],
                    }
                )
            ],
            "experiment_failure": "x",
            "control_failure": None,
            "tampering": {"header_name_diff": ["a"]} if test_name == HEADERS else True,
            "received": ["a", base64_of(b"b")],
        },
    }
    for probe_cc in ("IR", "SA", "CN", "TR", "KR")
    for test_name in ("web_connectivity", "http_requests", LINE, HEADERS)
]


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every part of a value, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, part in inner for place in places(part, (*path, key))]


def replaced(value: Any, path: tuple[Any, ...], new: object) -> Any:
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = replaced(value[path[0]], path[1:], new)
    return value


@given(st.data())
def test_no_shape_raises(data: st.DataObject) -> None:
    """Each part of a complete entry, the entry itself included, replaced by anything that JSON can say."""
    whole = data.draw(st.sampled_from(COMPLETE))
    hostile = replaced(whole, data.draw(st.sampled_from(places(whole))), data.draw(JSON_LIKE))
    assert isinstance(TABLE.match_blockpages(hostile), tuple)
    assert isinstance(TABLE.match_vendors(hostile), tuple)


@pytest.mark.parametrize(
    "junk", [None, True, 0, -1.5, "x", "\ud800", [], [None], {}, {"format": "base64"}, b"x"]
)
def test_no_place_raises(junk: object) -> None:
    """The same without chance: every place of every complete entry, and every place left out."""
    for whole in COMPLETE:
        for path in places(whole):
            TABLE.match_blockpages(replaced(whole, path, junk))
            TABLE.match_vendors(replaced(whole, path, junk))


def test_an_entry_is_not_changed() -> None:
    for whole in COMPLETE:
        before = copy.deepcopy(whole)
        TABLE.match_blockpages(whole)
        TABLE.match_vendors(whole)
        assert whole == before
