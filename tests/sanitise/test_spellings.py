"""Every spelling of the closed list is found and cut, and nothing beside it."""

from __future__ import annotations

import base64
import ipaddress
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.report.json_lines import dumps
from ooni_pipeline.sanitise.search import OwnAddresses, Secrets

V4, V6 = "192.0.2.1", "2001:db8::1"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
BRIDGES = Secrets([V4, V6], [FINGERPRINT])
OWN_V4, OWN_V6 = "203.0.113.7", "2001:db8:5::a7"
OWN = OwnAddresses([OWN_V4, OWN_V6])


def cut(secrets: Secrets, text: str) -> str:
    """``text`` as a JSON string, cut, and read again."""
    line, count = secrets.cut(dumps(text).encode(), b"#")
    assert bool(count) == secrets.stand_in(dumps(text).encode())
    found = json.loads(line)
    assert isinstance(found, str)
    return found


def percent(text: str, times: int, *, every: bool) -> str:
    for _ in range(times):
        if every:
            text = "".join(f"%{ord(one):02x}" for one in text)
            every = False  # once more: of %2e only the sign is encoded
        else:
            text = text.replace("%", "%25").replace(".", "%2E").replace(":", "%3A").replace(" ", "%20")
    return text


@pytest.mark.parametrize("secret", [V4, V6, FINGERPRINT, "0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567"])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("around", ["{}", "http://a.test/?q={}&x", "x {} y", "({})", "=\n{}\n", "é{}é"])
def test_percent_encoded(secret: str, times: int, every: bool, around: str) -> None:
    text = percent(secret, times, every=every)
    assert cut(BRIDGES, around.format(text)) == around.format("#")
    assert cut(BRIDGES, around.format(text) + " " + text) == around.format("#") + " #", "both of two"


@pytest.mark.parametrize("secret", [V4, V6, "1.1.1.1", FINGERPRINT])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "at 8 ", "Bridge obfs4 "])
@pytest.mark.parametrize("behind", ["", ":", ":443", " x", "\n\n\n"])
@pytest.mark.parametrize("url", [False, True])
def test_base64(secret: str, before: str, behind: str, url: bool) -> None:
    """At the three alignments, with and without padding, in both alphabets."""
    secrets = Secrets([V4, V6, "1.1.1.1"], [FINGERPRINT])
    raw = f"\xff\xfe{before} {secret}{behind}\xff\xfe".encode("latin-1")
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    text = encode(raw).decode("ascii")
    for written in (text, text.rstrip("="), f"data:;base64,{text}", f"a/{text}/b"):
        clean = cut(secrets, written)
        assert "#" in clean
        first, last = clean.split("#")
        assert written.startswith(first)
        assert written.endswith(last), "the rest stays to the byte"
        assert len(written) - len(first) - len(last) <= -(-(len(secret) + 2) * 4 // 3), "and no more goes"


NAIVE = re.compile("|".join(rf"(?<![0-9A-Fa-f.:]){re.escape(one)}(?![0-9A-Fa-f:])" for one in (V4, V6)))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([V4, V6, "0", "9.", ":", "a", " ", "\xff", "x" * 99]), max_size=9).map(" ".join),
    st.sampled_from(["", "x", "xx", "xMTky", "%2e1"]),
)
def test_all_of_several_in_base64_go(raw: str, before: str) -> None:
    """Against a naive search of what is coded."""
    text = f"{before} " + base64.b64encode(raw.encode("latin-1")).decode("ascii")
    assert cut(BRIDGES, text).count("#") == len(NAIVE.findall(raw))


def test_a_backslash_in_decoded_text_is_no_escape() -> None:
    r"""C:\u 192.0.2.1, say: the four characters behind it are no digits."""
    assert cut(BRIDGES, base64.b64encode(rb"C:\u 192.0.2.1 ").decode()).count("#") == 1


LONG = st.text("MTkyLjAu %2e1\\u003", max_size=40).map(lambda text: text * 60)


@settings(max_examples=100, deadline=None)
@given(LONG, LONG, st.sampled_from([V4, "192%2e0%2e2%2e1", "MTkyLjAuMi4x", r"1\u00392.0\u002e2.1", V6]))
def test_among_many_candidates_one_is_found(before: str, behind: str, secret: str) -> None:
    """However long the text is that looks like it and is decoded block by block."""
    assert BRIDGES.stand_in(f"{before}\n{secret}\n{behind}".encode())


@pytest.mark.parametrize("backslashes", [1, 2, 4])
@pytest.mark.parametrize("secret", [V4, V6, FINGERPRINT])
def test_json_escapes_in_strings(secret: str, backslashes: int) -> None:
    """As JSON may escape any character, however deep in strings that JSON is."""
    escape = "\\" * backslashes + "u00"
    every = "".join(f"{escape}{ord(one):02x}" for one in secret)
    separators = secret.replace(".", f"{escape}2E").replace(":", f"{escape}3a")
    inner = json.dumps({"a": [f"at {secret}:80"]})
    assert cut(BRIDGES, f'{{"a":"{every}"}}') == '{"a":"#"}'
    assert cut(BRIDGES, f'{{"a":"{separators}"}}') == '{"a":"#"}'
    assert cut(BRIDGES, json.dumps(inner)) == json.dumps(inner).replace(secret, "#")


@pytest.mark.parametrize(
    "text", ["::ffff:192.0.2.1", "::FFFF:c000:201", "[::ffff:c000:0201]:443", "64:ff9b::192.0.2.1"]
)
def test_mapped(text: str) -> None:
    assert not re.search("192|c000", cut(BRIDGES, text))


@pytest.mark.parametrize(
    "text",
    [
        "203.000.113.007", "203-0-113-7.dyn.example.net", "ip-203-000-113-007", "7-113-0-203.example",
        "7.113.0.203.in-addr.arpa", "007.113.000.203.dsl.example.net", "3405803783", "124846283",
        "0xcb007107", "CB007107", "077100cb", "::ffff:cb00:7107", "host_203-0-113-7", '{"ip":3405803783}',
        "2001-db8-5--a7.example", "2001-0db8-0005-0000-0000-0000-0000-00a7", "2001:DB8:5:0:0::A7",
        "7.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        "20010db80005000000000000000000a7", "A70000000000000000000500b80d0120",
        "42540766411288637486002058097527357607",
        "203%2E0%2e113%2e7", base64.b64encode(b" 203.0.113.7").decode(),
        base64.b64encode(b"<i>203-0-113-7.x").decode(),
    ],
)  # fmt: skip
def test_own(text: str) -> None:
    clean = cut(OWN, text)
    assert clean.count("#") == 1
    assert "example" not in text or "example" in clean
    assert ("arpa" in text) == ("arpa" in clean)
    assert cut(OwnAddresses(["198.51.100.9", "2001:db8:6::1"]), text) == text


def test_rest_of_a_host_name_stays() -> None:
    assert cut(OWN, "x.7.113.0.203.dsl.a.test") == "x.#.dsl.a.test"
    assert cut(OWN, "7-113-0-203.a.test") == "#.a.test"
    assert cut(OWN, "a203-0-113-7.a.test:80") == "a#.a.test:80"


@pytest.mark.parametrize(
    "text",
    [
        "203.0.113.70", "1203.0.113.7", "203.0.113", "7.113.0.203", "7.113.0.203.", "7.113.0.203:80",
        "7.113.0.203.4", "34058037831", "13405803783", "3405803783.5", "0.3405803783", "fcb007107",
        "cb0071070",
        "203-0-113-70", "1203-0-113-7", "203,0,113,7", "2001:db8:5::a70", "2001:db8:5::b7", "",
        "20010db80005000000000000000000a8", "Chrome/116.0.0.0", "%32%30%33", "MjAz",
    ],
)  # fmt: skip
def test_what_is_not_own(text: str) -> None:
    assert cut(OWN, text) == text


@pytest.mark.parametrize(
    "text", ["3221225985", "c0000201", "192-0-2-1", "192.000.002.001", "1.2.0.192.x.arpa"]
)
def test_spellings_of_own_addresses_are_not_looked_for_of_bridges(text: str) -> None:
    """They would be found by chance: 2,000 bridges, and any eight digits of a digest."""
    assert cut(BRIDGES, text) == text


IPV4 = st.integers(1 << 24, (1 << 32) - 1).map(lambda number: str(ipaddress.IPv4Address(number)))
#: (As addresses of hosts are. What is shorter than 1.1.1.1, such as 1:1::, is not looked for in base64.)
IPV6 = st.integers(0x2000 << 112, 0x3FFF << 112).map(lambda number: str(ipaddress.IPv6Address(number)))
IPV6 = IPV6.filter(lambda address: len(address) > 6)


@settings(deadline=None)
@given(IPV4 | IPV6, st.data())
def test_any_own_address_in_any_spelling(address: str, data: st.DataObject) -> None:
    ip = ipaddress.ip_address(address)
    written = [
        address, address.upper(), ip.exploded, str(int(ip)), str(int.from_bytes(ip.packed, "little")),
        ip.packed.hex(), ip.packed[::-1].hex().upper(), f"0x{ip.packed.hex()}", ip.reverse_pointer,
        ip.exploded.replace(":", "-").replace(".", "-"), percent(address, 1, every=True),
        percent(address, 2, every=False), base64.b64encode(f"={address} ".encode()).decode(),
        base64.b64encode(f"{address} ".encode()).decode(),
        base64.b64encode(f"=={address}\n".encode()).decode(),
    ]  # fmt: skip
    if ip.version == 4:
        written.append(".".join(f"{number:03}" for number in ip.packed))
    text = data.draw(st.sampled_from(written))
    before, behind = data.draw(st.sampled_from([("", ""), ("<", ">"), ('"', '"'), (" ", ","), ("\n", "\n")]))
    clean = cut(OwnAddresses([address]), before + text + behind)
    assert clean.startswith(before + ("0x" if text.startswith("0x") else "")) or "=" in text
    assert clean.endswith(behind)
    assert clean.count("#") == 1


@pytest.mark.parametrize("address", [OWN_V4, OWN_V6])
def test_own_numbers(address: str) -> None:
    ip = ipaddress.ip_address(address)
    assert {int(ip), int.from_bytes(ip.packed, "little")} <= OWN.numbers
    assert ip.packed in OWN.packed
    assert not BRIDGES.numbers
    assert not BRIDGES.packed
