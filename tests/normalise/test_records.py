"""Printed DNS records: every type that Twisted prints, and texts that only look like them.

The printed forms are those of ``twisted.names.dns`` itself (``str`` of the records, Twisted 8 to 26).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.normalise.records import FIELDS, HEADER, answer_of, fields_of, hostname_of, says_no_more
from tests.normalise.counting import steps_of


def header(kind: str, name: str = "a.example", **other: str) -> str:
    said = {"name": name, "type": kind, "class": "IN", "ttl": "60s", "auth": "False", **other}
    return f"<RR {' '.join(f'{key}={value}' for key, value in said.items())}>"


PRINTED = {
    "A": ("<A address=192.0.2.1 ttl=60>", {"ipv4": "192.0.2.1"}),
    "AAAA": ("<AAAA address=2001:db8::1 ttl=60>", {"ipv6": "2001:db8::1"}),
    "AFSDB": ("<AFSDB subtype=1 hostname=h.example ttl=60>", {"subtype": "1", "hostname": "h.example"}),
    "CNAME": ("<CNAME name=c_1.example ttl=60>", {"hostname": "c_1.example"}),
    "DNAME": ("<DNAME name=d.example ttl=60>", {"hostname": "d.example"}),
    "HINFO": ("<HINFO cpu='cpu' os='os x' ttl=60>", {"cpu": "'cpu'", "os": "'os x'"}),
    "MX": ("<MX preference=10 name=mail.example ttl=60>", {"preference": "10", "hostname": "mail.example"}),
    "NAPTR": (
        "<NAPTR order=1 preference=2 flags=S service=SIP+D2U regexp=!^.*$!sip:x@y! replacement=r.example "
        "ttl=60>",
        {
            "order": "1",
            "preference": "2",
            "flags": "S",
            "service": "SIP+D2U",
            "regexp": "!^.*$!sip:x@y!",
            "hostname": "r.example",
        },
    ),
    "NS": ("<NS name=ns.example ttl=60>", {"hostname": "ns.example"}),
    "PTR": ("<PTR name=p.example ttl=60>", {"hostname": "p.example"}),
    "SOA": (
        "<SOA mname=m.example rname=r.example serial=1 refresh=2 retry=3 expire=4 minimum=5 ttl=60>",
        {
            "hostname": "m.example",
            "responsible_name": "r.example",
            "serial_number": "1",
            "refresh_interval": "2",
            "retry_interval": "3",
            "expiration_limit": "4",
            "minimum_ttl": "5",
        },
    ),
    "SPF": ("<SPF data=['v=spf1 -all'] ttl=60>", {"text": "['v=spf1 -all']"}),
    "SRV": (
        "<SRV priority=1 weight=2 target=t.example port=3 ttl=60>",
        {"priority": "1", "weight": "2", "hostname": "t.example", "port": "3"},
    ),
    "TXT": ("<TXT data=['v=spf1 a', 'x'] ttl=60>", {"text": "['v=spf1 a', 'x']"}),
}


def test_every_type_is_tried() -> None:
    assert PRINTED.keys() == FIELDS.keys()


@pytest.mark.parametrize("kind", PRINTED)
def test_a_known_type(kind: str) -> None:
    payload, parts = PRINTED[kind]
    assert answer_of([header(kind), payload], "a.example") == {"answer_type": kind, "ttl": "60", **parts}


@pytest.mark.parametrize(
    "text",
    [
        "['a b  c']",
        "['v=spf1 include:x ~all', 'ttl=5 data=6']",
        '["it\'s", \'say "x"\']',
        "['x] y=1 z']",
        "['a>b<c']",
        "[]",
        "['" + "=" * 50 + "']",
        r"['\xc3\x28', '\n']",
        "['[[[[', ']']",
        "unquoted words = and more",
    ],
)
def test_texts_stay_whole(text: str) -> None:
    answer = answer_of([header("TXT"), f"<TXT data={text} ttl=60>"], "a.example")
    assert answer == {"answer_type": "TXT", "ttl": "60", "text": text}


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("UNKNOWN (65)", "<UNKNOWN data='abc d=e' ttl=60>"),
        ("WKS", "<WKS address=192.0.2.1 protocol=6 ttl=60>"),
        ("A6", "<A6  2001:db8::1 (0) ttl=60>"),
        ("NULL", r"<NULL payload='\x00x' ttl=60>"),
        ("A", "<CNAME name=c.example ttl=60>"),
        ("A", "<A address=192.0.2.1>"),
        ("A", "<A addr=192.0.2.1 ttl=60>"),
        ("A", "<A address=192.0.2.1 ttl=60"),
        ("A", ""),
        ("", "<A address=192.0.2.1 ttl=60>"),
    ],
)
def test_what_is_not_known_is_kept_whole(kind: str, payload: str) -> None:
    answer = answer_of([header(kind), payload], "a.example")
    assert answer == {"answer_type": kind, "ttl": "60", "payload": payload}


@pytest.mark.parametrize(
    "answer",
    [
        None, 5, "text", {}, [], ["one"], ["a", "b", "c"], ["a", 5], [None, None],
        ["<A address=192.0.2.1 ttl=60>", "<RR name=a type=A class=IN ttl=60s auth=False>"],
        ["<RR>", "<A address=192.0.2.1 ttl=60>"],
        ["<RR name=a type=A class=IN ttl=60 auth=False>", "<A address=192.0.2.1 ttl=60>"],
        {"answer_type": "A", "ipv4": "192.0.2.1"},
    ],
)  # fmt: skip
def test_what_is_no_pair_of_records_stays(answer: Any) -> None:
    assert answer_of(answer, "a.example") == answer


def test_what_differs_from_the_query_is_said() -> None:
    head = header("A", name="cdn.example", auth="True", **{"class": "CH"})
    assert answer_of([head, "<A address=192.0.2.1 ttl=61>"], "a.example") == {
        "answer_type": "A",
        "ttl": "60",
        "ipv4": "192.0.2.1",
        "payload_ttl": "61",
        "name": "cdn.example",
        "class": "CH",
        "auth": "True",
    }


def test_large_numbers_of_machines_of_32_bits() -> None:
    payload = (
        "<SOA mname=a.L rname=r serial=4294967295L refresh=2 retry=3 expire=4 minimum=5 ttl=4294967295L>"
    )
    answer = answer_of([header("SOA", ttl="4294967295s"), payload], "a.example")
    assert (answer["serial_number"], answer["hostname"]) == ("4294967295", "a.L")
    assert "payload_ttl" not in answer


VALUES = st.text(alphabet="a1 =<>[]'\"-:L.", max_size=12)


@given(
    st.sampled_from(sorted(FIELDS)),
    st.lists(VALUES, min_size=8, max_size=8),
    st.sampled_from(["6", "60", "x"]),
)
def test_a_record_is_its_parts(kind: str, values: list[str], ttl: str) -> None:
    """Put together again, the parts give the text that was taken apart: nothing is lost."""
    fields = [f"{field}={value}" for field, value in zip((*FIELDS[kind], "ttl"), values, strict=False)]
    record = f"<{kind} {' '.join(fields)}>"
    parts = fields_of(record, kind, (*FIELDS[kind], "ttl"))
    assert parts is not None
    assert f"<{kind} {' '.join(f'{field}={parts[field]}' for field in (*FIELDS[kind], 'ttl'))}>" == record


@given(st.text(alphabet="<>RAX name=type []'-", max_size=40))
def test_any_text(text: str) -> None:
    for kind, names in (("RR", HEADER), ("A", ("address", "ttl"))):
        parts = fields_of(text, kind, names)
        assert parts is None or f"<{kind} " + " ".join(f"{key}={parts[key]}" for key in names) + ">" == text


HOSTILE = ["a-----", "-" * 24, "[[[[(", "]]]])", " ttl=", " name=", "='", "<RR ", "\\'", "a=b ", "Query("]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_costs_linear_time(piece: str) -> None:
    """1 MB of it takes as many steps as 1 kB: each of them is one search through the text."""
    counts = []
    for size in (1_000, 1_000_000):
        text = (piece * size)[:size]
        pairs = [
            [text, text],
            [header("CNAME"), f"<CNAME name={text} ttl=60>"],
            [header("TXT", name=text), f"<TXT data=['{text} ttl=60>"],
            [header("SOA"), f"<SOA mname={text}>"],
        ]
        counts.append(sum(steps_of(answer_of, pair, "a.example") for pair in pairs))
        counts[-1] += steps_of(hostname_of, text) + steps_of(hostname_of, f"[Query('{text}")
    assert counts[1] <= counts[0] + 100 < 10_000


@pytest.mark.parametrize(
    ("query", "hostname"),
    [
        ("[Query('a.example', 1, 1)]", "a.example"),
        ("[Query(b'a_b.example', 28, 1)]", "a_b.example"),
        ('[Query("it\'s", 1, 1)]', "it's"),
        ("[Query('', 1, 1)]", None),
        ("[Query('a-----------------------------', 1, 1)]", "a-----------------------------"),
        ("Query('a", None),
        ("Query(", None),
        ("[<Query a.example A IN>]", None),
        ("", None),
    ],
)
def test_hostname(query: str, hostname: str | None) -> None:
    assert (hostname_of(query) or None) == hostname


@pytest.mark.parametrize(
    ("query", "kind", "no_more"),
    [
        ("[Query('a', 1, 1)]", "A", True),
        ("[Query('a', 28, 1)]", "AAAA", True),
        ("[Query('a', 28, 1)]", "A", False),
        ("[Query('a', 1, 3)]", "A", False),
        ("[Query('a', 1, 1), Query('b', 1, 1)]", "A", False),
        ("[Query('a', 255, 1)]", "ANY", False),
        ("[Query('a', 1, 1)]", ["A"], False),
        ("[Query('b', 1, 1)]", "A", False),
        ("[Query('a', 1, 1)]", None, False),
    ],
)
def test_whether_a_query_says_no_more(query: str, kind: Any, no_more: bool) -> None:
    assert says_no_more(query, "a", kind) is no_more
