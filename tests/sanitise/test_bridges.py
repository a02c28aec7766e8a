"""The bridge table, and what is written as a bridge."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.errors import BridgeTableError
from ooni_pipeline.sanitise.bridge_lines import parse_bridge_line
from ooni_pipeline.sanitise.bridges import hashed_fingerprint, load_bridge_table, split_address

FINGERPRINT = "2B66FD26" + "00" * 16
#: One bridge that says one thing twice.
TWICE = f'{{"192.0.2.1:443": {{"fingerprint": "{FINGERPRINT}", "fingerprint": "{FINGERPRINT[::-1]}"}}}}'
GOOD = {"fingerprint": FINGERPRINT, "distributor": "https", "transport": "obfs4"}


def table(directory: Path, content: Any) -> Path:
    path = directory / "bridge_table.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_table(tmp_path: Path) -> None:
    path = table(tmp_path, {" 192.0.2.1:443 ": GOOD, "[2001:DB8:0::1]:80": {"fingerprint": "a" * 40}})
    found = load_bridge_table(path)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(found.addresses) == ["192.0.2.1", "2001:db8::1"]
    assert sorted(found.fingerprints) == [FINGERPRINT, "a" * 40]
    bridge = found.find(("192.0.2.1", 443))
    assert bridge is not None
    assert (bridge.distributor, bridge.transport) == ("https", "obfs4")
    assert bridge.hashed_fingerprint == hashlib.sha1(bytes.fromhex(FINGERPRINT)).hexdigest()  # noqa: S324
    assert found.find(("192.0.2.1", 444)) is None
    nobody = found.find(("2001:db8::1", 80))
    assert nobody is not None
    assert nobody.distributor is nobody.transport is None


@pytest.mark.parametrize(
    "content",
    [
        "", "x", "[]", "{}", "null", "5", '"x"', "[" * 100_000, "\ufeff", "[[]]",
        {"192.0.2.1:443": None}, {"192.0.2.1:443": []}, {"192.0.2.1:443": {}}, {"192.0.2.1:443": "x"},
        {"192.0.2.1:443": {"fingerprint": None}}, {"192.0.2.1:443": {"fingerprint": "a" * 39}},
        {"192.0.2.1:443": {"fingerprint": "a" * 41}}, {"192.0.2.1:443": {"fingerprint": "g" * 40}},
        {"192.0.2.1:443": {"fingerprint": ["a" * 40]}}, {"192.0.2.1:443": {**GOOD, "distributor": 5}},
        {"192.0.2.1:443": {**GOOD, "transport": {}}}, {"192.0.2.1": GOOD}, {"192.0.2.1:": GOOD},
        {"192.0.2.1:65536": GOOD}, {"192.0.2.256:1": GOOD}, {"2001:db8::1:443": GOOD},
        {"secret.test:443": GOOD}, {"": GOOD}, {"127.0.0.1:443": GOOD}, {"[::1]:443": GOOD},
        {"0.0.0.0:443": GOOD}, {"192.0.2.1:443": {**GOOD, "public": 1}},
        {"192.0.2.1:443": {**GOOD, "public": "true"}}, {"192.0.2.1:443": {**GOOD, "public": None}},
        {"192.0.2.1:443": GOOD, "192.0.2.2:443": {"fingerprint": "short"}},
        TWICE,
    ],
)  # fmt: skip
def test_a_table_that_is_none_stops_everything_and_is_not_quoted(tmp_path: Path, content: Any) -> None:
    path = table(tmp_path, content)
    with pytest.raises(BridgeTableError) as caught:
        load_bridge_table(path)
    text = str(caught.value).replace(str(path), "")
    assert str(path) in str(caught.value)
    assert not any(part in text for part in ("192", "2001", "aaaa", "secret", "short", "127"))
    assert "\n" not in text


def test_the_text_names_the_line(tmp_path: Path) -> None:
    path = table(tmp_path, {"192.0.2.1:443": GOOD, "192.0.2.2:443": {}, "192.0.2.3:443": {}})
    with pytest.raises(BridgeTableError, match="bridge 2 of"):
        load_bridge_table(path)


def test_no_file_no_permission_no_file_at_all(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(BridgeTableError, match="cannot be read"):
            load_bridge_table(path)


def test_a_table_that_changes_is_noticed(tmp_path: Path) -> None:
    path = table(tmp_path, {"192.0.2.1:443": GOOD})
    digest = load_bridge_table(path).digest
    table(tmp_path, {"192.0.2.2:443": GOOD})
    assert load_bridge_table(path).digest != digest, "nothing is remembered between two buckets"
    with pytest.raises(BridgeTableError, match="changed"):
        load_bridge_table(path, digest)


def test_two_lines_for_one_place_are_both_protected(tmp_path: Path) -> None:
    one, other = json.dumps({**GOOD, "fingerprint": "a" * 40}), json.dumps({**GOOD, "fingerprint": "b" * 40})
    path = table(tmp_path, f'{{"192.0.2.1:443": {one}, "192.0.2.1:443": {other}}}')
    found = load_bridge_table(path)
    assert found.fingerprints == {"a" * 40, "b" * 40}
    bridge = found.find(("192.0.2.1", 443))
    assert bridge is not None
    assert bridge.fingerprint == "b" * 40


def test_public_bridges_are_not_searched_for(tmp_path: Path) -> None:
    private = {"fingerprint": "a" * 40, "public": False}
    public = {"fingerprint": "b" * 40, "distributor": "browser", "public": True}
    found = load_bridge_table(table(tmp_path, {"192.0.2.1:443": private, "192.0.2.2:443": public}))
    assert [*found.addresses, *found.fingerprints] == ["192.0.2.1", "a" * 40]
    assert [*found.public_addresses, *found.public_fingerprints] == ["192.0.2.2", "b" * 40]
    places = {address: found.find((address, 443)) for address in ("192.0.2.1", "192.0.2.2")}
    assert {address: bridge and bridge.public for address, bridge in places.items()} == {
        "192.0.2.1": False, "192.0.2.2": True
    }  # fmt: skip
    assert found.names == {"192.0.2.1", "192.0.2.2", "A" * 40, "B" * 40}


@pytest.mark.parametrize("private_first", [True, False])
def test_what_a_private_line_names_too_is_private(tmp_path: Path, private_first: bool) -> None:
    """The same place, the same address at another port, the same fingerprint in other letters."""
    private, public = {"fingerprint": "a" * 40}, {"fingerprint": "A" * 40, "public": True}
    lines = [f'"192.0.2.1:443": {json.dumps(private)}', f'"192.0.2.1:443": {json.dumps(public)}']
    lines = [*(lines if private_first else reversed(lines)), f'"192.0.2.1:80": {json.dumps(public)}']
    found = load_bridge_table(table(tmp_path, "{" + ",".join(lines) + "}"))
    assert [*found.addresses, *found.fingerprints] == ["192.0.2.1", "a" * 40]
    assert not found.public_addresses | found.public_fingerprints
    bridge = found.find(("192.0.2.1", 443))
    assert bridge is not None
    assert not bridge.public


def test_a_table_of_public_bridges_alone_protects_nobody(tmp_path: Path) -> None:
    path = table(tmp_path, {"192.0.2.1:443": {**GOOD, "public": True}})
    with pytest.raises(BridgeTableError, match=r"every bridge of .* is marked public"):
        load_bridge_table(path)


def test_hashed_fingerprint_of_another_computation() -> None:
    expected = hashlib.sha1(bytes(range(20))).hexdigest()  # noqa: S324
    assert hashed_fingerprint("000102030405060708090A0B0C0D0E0F10111213") == expected
    for bad in ("", "0" * 39, "0" * 41, "g" * 40, "0" * 40 + "\n"):
        with pytest.raises(ValueError, match="fingerprint"):
            hashed_fingerprint(bad)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("192.0.2.1:443", ("192.0.2.1", 443)),
        ("[2001:0DB8::0001]:1", ("2001:db8::1", 1)),
        ("[::ffff:192.0.2.1]:1", ("192.0.2.1", 1)),
        ("[fe80::1%eth0]:1", ("fe80::1", 1)),
    ],
)
def test_addresses(text: str, place: tuple[str, int]) -> None:
    assert split_address(text) == place


@pytest.mark.parametrize(
    "text",
    ["", ":", "192.0.2.1", "192.0.2.1:99999", "192.0.2.01:1", "192.0.2.1:\u0661", "a:1", "[192.0.2.1]:1"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        split_address(text)


@pytest.mark.parametrize(
    ("line", "places", "fingerprints"),
    [
        ("192.0.2.1:443", [("192.0.2.1", 443)], []),
        ("192.0.2.1", [("192.0.2.1", 0)], []),
        ("2001:db8::1", [("2001:db8::1", 0)], []),
        (f"Bridge obfs3 192.0.2.1:443 {FINGERPRINT} a=b", [("192.0.2.1", 443)], [FINGERPRINT]),
        (f"{FINGERPRINT.lower()}", [], [FINGERPRINT.lower()]),
        (f"${FINGERPRINT}~nick 192.0.2.1:1", [("192.0.2.1", 1)], [FINGERPRINT]),
        ("a 192.0.2.1:1 192.0.2.2:2", [("192.0.2.1", 1), ("192.0.2.2", 2)], []),
        ("www.example.test:80", [], []),
        ("", [], []),
    ],
)
def test_bridge_lines(line: str, places: list[tuple[str, int]], fingerprints: list[str]) -> None:
    found = parse_bridge_line(f" {line}\n")
    assert (list(found.places), list(found.fingerprints)) == (places, fingerprints)
