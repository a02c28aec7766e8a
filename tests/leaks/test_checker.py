"""The second search itself: it finds every spelling, it does not cry wolf, it shares nothing."""

from __future__ import annotations

import ast
import base64
import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.leaks.addresses import parsed
from tests.leaks.own import own_addresses
from tests.leaks.scan import Search
from tests.leaks.sought import Sought
from tests.leaks.spellings import address_spellings, fingerprint_spellings, own_spellings

HERE = Path(__file__).parent
TOP = HERE.parents[1]
V4, V6 = "192.0.2.17", "2001:db8:0:0:7::1"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
OWN_V4, OWN_V6 = "198.51.100.77", "2001:db8:5::77"
TABLE = {
    f"{V4}:443": {"fingerprint": FINGERPRINT},
    f"[{V6}]:443": {"fingerprint": "A" * 40},
    "203.0.113.9:443": {"fingerprint": "B" * 40, "public": True},
}
NAME = "20160801T000000-tcp_connect-r-AS1-GR-probe-0.2.0"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(TABLE))
    return path


@pytest.fixture
def sought(table: Path) -> Sought:
    made = Sought()
    made.add_table(table)
    return made


def names(sought: Sought, text: str, own: tuple[str, ...] = ()) -> set[str]:
    packed = [one for address in own if (one := parsed(address))]
    return {hit.what for hit in sought.hits(text, packed)}


def checked(*arguments: object, expect: int) -> str:
    command = [sys.executable, "-m", "tests.leaks", *map(str, arguments)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_no_code_is_shared() -> None:
    """Neither the search nor the canaries import the pipeline, or anything that is not Python's own."""
    allowed = sys.stdlib_module_names | {"tests.leaks"}
    seen = 0
    for path in HERE.glob("*.py"):
        if path.name.startswith(("test_", "conftest")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name} imports by a relative name"
                modules = [node.module or ""]
            for module in modules:
                seen += 1
                assert module.split(".")[0] in allowed or module.startswith("tests.leaks"), (
                    path.name,
                    module,
                )
    assert seen > 20


def written(spelling: str, form: str) -> str:
    """A spelling as it stands in a line of a published report, or in another text."""
    line = json.dumps({"id": "x", "test_keys": {"body": f"before {spelling} behind"}})
    return {
        "line": line,
        "key": json.dumps({spelling: 1}),
        "row": f"x\t{line.replace(chr(92), chr(92) * 2)}\t5",
    }[form]


@pytest.mark.parametrize("form", ["line", "key", "row"])
@pytest.mark.parametrize(
    ("secret", "spelling"),
    [
        *((V4, spelling) for spelling in address_spellings(V4)),
        *((V6, spelling) for spelling in address_spellings(V6)),
        *((FINGERPRINT, spelling) for spelling in fingerprint_spellings(FINGERPRINT)),
    ],
)
def test_every_spelling_of_a_bridge_is_found(sought: Sought, secret: str, spelling: str, form: str) -> None:
    forms = fingerprint_spellings(secret) if secret == FINGERPRINT else address_spellings(secret)
    name = "bridge 2" if secret == V6 else "bridge 1"
    assert names(sought, written(forms[spelling], form)) == {name}, forms[spelling]


@pytest.mark.parametrize("form", ["line", "row"])
@pytest.mark.parametrize(
    ("address", "spelling"),
    [*((OWN_V4, one) for one in own_spellings(OWN_V4)), *((OWN_V6, one) for one in own_spellings(OWN_V6))],
)
def test_every_spelling_of_an_own_address_is_found(address: str, spelling: str, form: str) -> None:
    text = written(own_spellings(address)[spelling], form)
    assert names(Sought(), text, (address,)) == {"own address"}, text
    assert names(Sought(), text, ("198.51.100.78", "2001:db8:5::78")) == set(), text
    assert names(Sought(), text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.170", "1192.0.2.17", "192.0.2.1.70", "92.0.2.17", "192.0.2.7", "192.0.217", "192.0.2,17",
        "192.0.2.017", "192-0-2-17", "3221225985", "c0000211", "2001:db8:0:0:7::10", "12001:db8:0:0:7::1",
        "2001:db8:0:0:7:0:1", "2001:db8::7:0:0:2", "17.2.0.192.in-addr.arpa", "12:30:45",
        FINGERPRINT[:-1], FINGERPRINT[1:] + "8", "203.0.113.9", "B" * 40, "[scrubbed]",
        base64.b64encode(b"192.0.2.170").decode(), base64.b64encode(b"1192.0.2.17").decode(),
        "192.0.2%2E170", "::ffff:192.0.2.18", "::ffff:c000:0212",
        "a491b59b" * 5, "11.22.33.44 192.0.2", "Chrome/116.0.0.0",
    ],
)  # fmt: skip
def test_near_misses_are_none(sought: Sought, text: str) -> None:
    assert names(sought, written(text, "line")) == set()


@pytest.mark.parametrize(
    "text",
    [
        "198.51.100.7", "198.51.100.777", "77.100.51.198", "v 77-100-51-198 v", "198-51-100-770",
        "33252567810", "3325256781.5", "5.3325256781", "ac633644d", "c633644d0", "2001-db8-5--770.x",
        "the 2001-db8-5-77 of", "xjNkTQ==",
    ],
)  # fmt: skip
def test_near_misses_of_an_own_address_are_none(text: str) -> None:
    assert names(Sought(), written(text, "line"), (OWN_V4, OWN_V6)) == set()


@pytest.mark.parametrize("form", ["{}", "x{}x", "%{}", "{!r}"])
def test_canaries(form: str) -> None:
    sought = Sought()
    sought.add_canaries(["/home/Mar\u00eda/x.txt", "plain"])
    plain = "/home/Mar\u00eda/x.txt"
    percent = "".join(f"%{byte:02X}" for byte in plain.encode())
    encodings = [plain, "/HOME" + plain[5:], json.dumps(plain), json.dumps([json.dumps(plain)])]
    encodings += [base64.b64encode(before + plain.encode()).decode() for before in (b"", b"?", b"??")]
    encodings += [percent, percent.replace("%", "%25")]
    for text in encodings:
        assert names(sought, form.format(text).encode().decode("latin-1")) == {"canary 1"}, text
    assert names(sought, "/home/Maria/x.txt pla in") == set()


def quoting(source: str, destination: str = "198.51.100.1", kind: int = 11) -> str:
    """An ICMP error, as base64, that quotes a packet from a source."""
    packed = parsed(source) or b""
    outer = bytes([0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0]) + (parsed(destination) or b"") + b"\x7f\0\0\1"
    inner = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 1, 6, 0, 0]) + packed + b"\x08" * 4
    return base64.b64encode(outer + bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + inner + b"\0" * 8).decode()


def echo(**headers: list[str]) -> str:
    return json.dumps({"headers_dict": headers, "request_line": "GET / HTTP/1.1", "request_headers": []})


def answered(data: str = "", summary: str = "") -> dict[str, Any]:
    return {"answered_packets": [{"raw_packet": {"format": "base64", "data": data}, "summary": summary}]}


def echoed(**headers: list[str]) -> dict[str, Any]:
    return {"requests": [{"response": {"body": echo(**headers)}}]}


def client(address: str) -> dict[str, Any]:
    return {"download": [{"ConnectionInfo": {"Client": address, "Server": "192.0.2.9:1"}}]}


OUTER = "[<IP  version=4L src=198.51.100.1 dst=198.51.100.9 |<ICMP  type=time-exceeded |"
LONG = OUTER + "<IPerror  ttl=1 src={} dst=8.8.8.8 |<UDPerror |>>>>]"
SHORT = "IP / ICMP 10.0.1.1 > {} time-exceeded ttl-zero-during-transit\n / IPerror / TCPerror"
BOTH = {OWN_V4, "77.100.51.198"}


@pytest.mark.parametrize(
    ("test_name", "test_keys", "own"),
    [
        ("dash", {"receiver_data": [{"real_address": OWN_V4, "remote_address": "192.0.2.60"}]}, {OWN_V4}),
        ("dash", {"receiver_data": [{"internal_address": "192.168.7.7"}]}, {"192.168.7.7"}),
        ("dash", {"real_address": OWN_V4}, set()),
        ("ndt", {"web100_snap": {"RemAddress": "0xC633644D"}}, BOTH),
        ("ndt", {"a": [{"RemAddress": "4d6433c6"}]}, BOTH),
        ("ndt", {"web100_snap": {"RemAddress": OWN_V4}}, {OWN_V4}),
        ("ndt", {"web100_snap": {"RemAddress": 3325256781}}, BOTH),
        ("ndt", {"web100_snap": {"RemAddress": "C633644D" + "0" * 24 + "01"}}, BOTH),
        ("ndt", {"web100_snap": {"LocalAddress": "0xC633644D"}}, set()),
        ("ndt7", client(f"{OWN_V4}:5"), {OWN_V4}),
        ("ndt7", client(f"[{OWN_V6}]:5"), {OWN_V6}),
        ("x", {"probe_ip": OWN_V6, "legacy_legacy_probe_ip": [OWN_V4]}, {OWN_V4, OWN_V6}),
        ("x", {"probe_ip": "127.0.0.1"}, set()),
        ("x", {"probe_ip": "224.0.0.5 255.255.255.255 0.0.0.0"}, set()),
        ("x", answered(quoting(OWN_V4)), {OWN_V4}),
        ("x", answered(quoting(OWN_V4, kind=3)), {OWN_V4}),
        ("x", answered(quoting(OWN_V4, kind=0)), set()),
        ("x", answered(quoting("127.0.0.1")), set()),
        ("x", answered("RQ=="), set()),
        ("x", answered("RQ"), set()),
        ("x", answered(summary=LONG.format(OWN_V4)), {OWN_V4}),
        ("x", answered(summary=SHORT.format(OWN_V4)), {OWN_V4}),
        ("x", answered(summary=SHORT.format("127.0.0.1")), set()),
        ("x", answered(summary=f"IP / TCP 10.0.1.1:http > {OWN_V4}:http SA"), set()),
        ("vanilla_tor", {"tor_logs": [f"[notice] Guessed our IP address as {OWN_V4}."]}, {OWN_V4}),
        ("vanilla_tor", {"body": f"Guessed our IP address as {OWN_V4}"}, set()),
        ("http_host", echoed(**{"X-Forwarded-For": [f"10.0.0.5, {OWN_V4}"]}), {OWN_V4, "10.0.0.5"}),
        ("http_host", echoed(Via=[OWN_V4]), set()),
        ("http_requests", echoed(**{"X-Forwarded-For": [OWN_V4]}), set()),
    ],
)
def test_own_addresses(test_name: str, test_keys: Any, own: set[str]) -> None:
    assert own_addresses({"test_name": test_name, "test_keys": test_keys}) == {parsed(one) for one in own}


def private_and_public(tmp_path: Path, private: Any, public: Any) -> tuple[Path, Path]:
    for place, entry in (("private", private), ("public", public)):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / f"{NAME}.json").write_text(json.dumps({"id": "1", **entry}) + "\n")
    compressed = tmp_path / "public" / f"{NAME}.json"
    compressed.with_suffix(".json.gz").write_bytes(gzip.compress(compressed.read_bytes()))
    compressed.unlink()
    return tmp_path / "private", tmp_path / "public"


def request(**headers: str) -> dict[str, Any]:
    pairs = [[name.replace("_", "-"), value] for name, value in headers.items()]
    return {"test_keys": {"requests": [{"request": {"headers_list": pairs}}]}}


@pytest.mark.parametrize(
    ("private", "public", "found"),
    [
        ({"probe_ip": OWN_V4}, {"test_keys": {"body": f"you are {OWN_V4}"}}, "own address (IPv4)"),
        ({"probe_ip": OWN_V4}, {"test_keys": {"body": "you are [scrubbed]"}}, ""),
        ({"probe_ip": None}, {"test_keys": {"body": f"you are {OWN_V4}"}}, ""),
        ({"probe_ip": OWN_V4}, {"resolver_ip": "198.51.100.1"}, "resolver in the same"),
        ({"probe_ip": OWN_V4}, {"resolver_ip": "198.51.101.1"}, ""),
        ({"probe_ip": OWN_V6}, {"client_resolver": "2001:db8:5:1::9"}, "resolver in the same"),
        ({"probe_ip": OWN_V4}, {"test_keys": answered(quoting(OWN_V4))}, "bytes of a packet"),
        ({"probe_ip": OWN_V4}, {"test_keys": answered(quoting("192.0.2.9"))}, ""),
        ({}, {"x": {"response": {"headers": {"X-Real-Ip": "somebody"}}}}, "listed header"),
        ({}, request(x_up_subno="555"), "listed header"),
        ({}, request(x_up_subno="[scrubbed]", Via="x"), ""),
        ({}, {"test_keys": echoed(Forwarded=["for=x"])}, "header in an echo"),
    ],
)
def test_published_reports(tmp_path: Path, private: Any, public: Any, found: str) -> None:
    places = private_and_public(tmp_path, private, public)
    told = checked("--reports", *places, expect=1 if found else 0)
    assert found in told
    assert OWN_V4 not in told


def test_what_a_third_party_names_goes_from_its_message_alone(tmp_path: Path) -> None:
    headers = {"X-Your-Address-Is": "203.0.113.50", "Server": "x"}
    response = {"headers": headers, "body": "hello 203.0.113.50"}
    private = {"test_keys": {"requests": [{"response": response}], "hops": ["203.0.113.50"]}}
    scrubbed = {"X-Your-Address-Is": "[scrubbed]", "Server": "x"}
    for body, expect in (
        ("hello 203.0.113.50", 1),
        ("hello aG9zdCAyMDMuMC4xMTMuNTA=", 1),
        ("hello [scrubbed]", 0),
    ):
        message = {"headers": scrubbed, "body": body}
        public = {"test_keys": {"requests": [{"response": message}], "hops": ["203.0.113.50"]}}
        told = checked("--reports", *private_and_public(tmp_path, private, public), expect=expect)
        assert ("a header of the message names" in told) == bool(expect)


def test_a_row_is_held_against_its_own_report(tmp_path: Path) -> None:
    private, _ = private_and_public(tmp_path, {"probe_ip": OWN_V4}, {})
    dump = tmp_path / "dump.sql"
    other = NAME.replace("-r-", "-other-")
    dump.write_text(f"1\t2016-08-01/{other}.json\t{OWN_V4}\n")
    checked("--reports", private, dump, expect=0)
    dump.write_text(f"\n1\t2016-08-01/{NAME}.json\t{OWN_V4}\n")
    assert f"{dump}:2: own address (IPv4)" in checked("--reports", private, dump, expect=1)


def test_the_command(tmp_path: Path, table: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "log").write_bytes(b"\n\nconnect to 192.0.2.17 failed\xff\n")
    with gzip.open(place / "log.1.gz", "wt") as old:
        old.write(f"x\n${FINGERPRINT.lower()}~x")
    told = checked("--bridges", table, place, expect=1)
    assert told.splitlines() == [
        f"{place}/log:3: bridge 1 (IPv4)", f"{place}/log.1.gz:2: bridge 1 (fingerprint)", "2 found"
    ]  # fmt: skip
    assert "c0000211" in checked("--bridges", table, "--show", place, expect=1)
    (place / "log").rename(place / "192.0.2.17.log")
    assert ":0: bridge 1" in checked("--bridges", table, place, expect=1)
    checked("--address", "192.0.2.17", place, expect=1)
    canaries = tmp_path / "canaries"
    canaries.write_text("nothing\nfaiLED\n")
    assert "canary 2 (plain)" in checked("--canaries", canaries, place, expect=1)
    checked("--canary", "nothing", place, expect=0)


def test_wrong_usage_is_told(tmp_path: Path, table: Path) -> None:
    checked(expect=2)
    checked(tmp_path, expect=2)
    checked("--bridges", tmp_path / "none", tmp_path, expect=2)
    checked("--bridges", table, tmp_path / "none", expect=2)
    checked("--address", "x", tmp_path, expect=2)
    checked("--bridges", table, "--reports", tmp_path / "nothing.yaml", tmp_path, expect=2)
    table.write_text('{"192.0.2.1:443": {"fingerprint": "SECRET"}}')
    assert "SECRET" not in checked("--bridges", table, tmp_path, expect=2)
    assert "Examples:" in checked("--help", expect=0)


def test_a_damaged_gzip_file_is_read_as_far_as_it_goes(tmp_path: Path, table: Path) -> None:
    content = gzip.compress(b"192.0.2.17\n" + random.Random(5).randbytes(200_000))  # noqa: S311
    (tmp_path / "x.gz").write_bytes(content[:150_000])
    checked("--bridges", table, tmp_path / "x.gz", expect=1)


def test_a_few_hundred_megabytes_are_bearable(tmp_path: Path) -> None:
    """Ten megabytes of pages in reports, against 2,000 bridges, at over a megabyte a second."""
    chance = random.Random(5)  # noqa: S311
    table = {f"10.{n >> 8}.{n & 255}.7:443": {"fingerprint": chance.randbytes(20).hex()} for n in range(2000)}
    (tmp_path / "table.json").write_text(json.dumps(table))
    pages = sorted((TOP / "tests" / "fixtures").rglob("sanitised.json"))
    text = b"".join(path.read_bytes() for path in pages)
    (tmp_path / "report.json").write_bytes(text * (10_000_000 // len(text)))
    sought = Sought()
    sought.add_table(tmp_path / "table.json")
    begin = time.perf_counter()
    assert list(Search(sought).through(tmp_path / "report.json")) == []
    assert time.perf_counter() - begin < 10
