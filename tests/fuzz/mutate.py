"""Making hostile reports of real ones: bytes flipped, spliced, cut, doubled; tokens that parsers dislike;
values of other types where a value was."""

from __future__ import annotations

import gzip
import ipaddress
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooni_pipeline.normalise import FAMILIES
from ooni_pipeline.report.entry import RawEntry
from ooni_pipeline.report.json_lines import dump_entry
from ooni_pipeline.report.nettests import CANONICAL_NAMES
from ooni_pipeline.report.reader import open_report
from ooni_pipeline.sanitise import NETTESTS
from tests.corpus_reports import CORPUS, content_of, corpus_reports
from tests.write_golden_reports import BRIDGE_TABLE, cases, raw_of

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
#: Longer seeds are cut to this: more inputs tell more than long ones.
MAX_SEED_BYTES = 40_000


def secrets() -> list[bytes]:
    """What must not come out, in the ways in which it may be written."""
    made = []
    for place, bridge in json.loads(BRIDGE_TABLE.read_bytes()).items():
        address = ipaddress.ip_address(place.rpartition(":")[0].strip("[]"))
        fingerprint = bridge["fingerprint"]
        made += [place, place.upper(), str(address), address.exploded, fingerprint, fingerprint.lower()]
        made += [f"{address}0 {address}", "".join(f"\\u{ord(letter):04x}" for letter in str(address))]
        made += [" ".join(fingerprint[at : at + 4] for at in range(0, 40, 4)), f"${fingerprint}~name"]
    return [text.encode() for text in made]


TOKENS: tuple[bytes, ...] = (
    *(b"\n---\n", b"\n...\n", b"---", b"..."),
    *(b"--- ", b"\n--- a\n", b"%YAML 1.1\n", b"%TAG ! tag:yaml.org,2002:\n"),
    *(b"&a ", b"*a", b"*a\n", b"<<: *a\n", b"<<: ", b"? ", b"? [a, *a]\n: ", b": ", b"- ", b"\n- ", b"\n  "),
    *(b"[", b"]", b"{", b"}", b"{a: [", b", ", b"|\n "),
    *(b">-\n ", b"'", b'"', b"\\", b"#", b" # ", b"\t", b"@", b"`"),
    *(b"!!binary ", b"!!binary /w==", b"!!set {"),
    *(b"!!python/tuple [", b"!!python/complex 1j", b"!!omap [", b"!a "),
    *(b"!!python/object/apply:os.system [id]", b"!!float ", b"!!int x"),
    *(b"!!bool ", b"!!null ", b"!!timestamp "),
    *(b"\\u0000", b"\\ud800", b"\\udfff", b"\\ud83d\\ude00", b"\\x00", b"\\N", b"\\uE000", b"\\u00", b"\x00"),
    *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b"\xf4\x90\x80\x80", b"\xc2\x85", b"\xe2\x80\xa8", b"\xee\x80\x80"),
    *(b"\r", b"\r\n", b"\n\n", b"\x1f\x8b", b"\x7f", b"\x1b[0m"),
    *(b"NaN", b"-Infinity", b"1e400", b"-0.0", b"0x_", b"0b"),
    *(b"017", b"190:20:30.5", b"+", b".", b".inf", b"1_0"),
    *(b"7" * 400, b"7" * 5000, b"1e308", b"18446744073709551616", b"-9223372036854775809"),
    *(b"null", b"~", b"{}", b"[]", b"true"),
    *(b"No", b'""', b"''", b"[[[[", b"[" * 1100, b"{a: " * 1100, b"- " * 1100),
    *(b"[" * 990 + b"]" * 990, b"'" * 100, b"a" * 10_000, b"-" * 5000, b"\xc3\xa9" * 3000),
    *(b"report: {", b"\nreport: *a\n", b"\nid: 1\n"),
    *(b"\nbucket_date: 1\n", b"\nclient_id: 1\n", b"\nsanitised: 1\n"),
    *(b"\nstart_time: .nan\n", b"\ntest_start_time: 1e400\n", b"\ntest_started: -1\n", b"\ntest_keys: *a\n"),
    *(b'"id":1,', b'"sanitised":[],', b'"time_source":1,', b'"report":{}', b'"test_keys":null,'),
    *(b'"data_format_version":"0.1.0",', b'"data_format_version":null,', b"\ndata_format_version: 0.3.4\n"),
    *(b"203.0.113.77:443", b"[2001:db8::9]:9001", b"A" * 40, b"obfs4 203.0.113.7:1 ", b"AS1"),
    *secrets(),
)  # fmt: skip

#: What may stand where another value stood.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 2**63, 10**400, "", "a", "\0", "\ud800", "\ufffd", "é" * 3000,
    [], {},
    [[]], [None], [5, "x"], [["a", "b"]], [["a", ["b", "c"]], []], {"": ""}, {"a": {"b": [1]}},
    {"\0": {"\ud800": 1}},
    {"data": "/w==", "format": "base64"}, {"is_tor": "yes"}, {"is_tor": True, "exit_ip": 5},
    "2016-08-01 00:00:00", "20160801T000000Z", "9999-12-31 23:59:59", "0000-00-00 00:00:00", 1470009600, 1e12,
    "[Query('a-b.test', 1, 1)]", "<RR name=a type=A class=IN ttl=9s auth=False>",
    "<A address=192.0.2.1 ttl=9>",
    "127.0.0.1", "9.9.9.9", "203.0.113.5:443", "obfs4 203.0.113.5:443 " + "A" * 40, "[2001:db8::5]:443",
    "A" * 40,
    *(text.decode() for text in secrets()),
    ["-u", "http://a.test"], "shttp://a.test", "0.1.0", "0.3.4", 0.2, "v", "0.2.0", "../../x", "a-b/c",
    "ZZ", "it",
)  # fmt: skip
NAMES = tuple(sorted({*CANONICAL_NAMES, *FAMILIES, *NETTESTS, "web_connectivity", "ndt"}))
KEYS = (
    *("test_name", "input", "requests", "queries", "report"),
    *("options", "tampering", "test_keys", "headers", "body"),
    *("request", "response", "tor_log", "bridge_address"),
    *("sent_packets", "answers", "resolver", "probe_ip", "failure"),
    *("start_time", "test_start_time", "report_id", "probe_cc"),
    *("probe_asn", "annotations", "headers_list", "tor"),
    *("session_key", "cert_serial_no", "received"),
    *("data_format_version", "test_helpers", "transport_name", "code"),
)  # fmt: skip


@dataclass(frozen=True)
class Seed:
    """A real report: its uncompressed bytes, its format, and its entries as parsed."""

    content: bytes
    extension: str
    entries: tuple[dict[str, Any], ...]


def seeds() -> list[Seed]:
    """Every golden case, the demo's reports, and the corpus where it is."""
    paths = [*map(raw_of, cases()), *(FIXTURES / "demo" / "collector" / "archive").glob("*.*")]
    contents = [(path.read_bytes(), path.name) for path in sorted(paths)]
    if CORPUS.is_dir():
        contents += [(content_of(report), report.name) for report in corpus_reports()]
    made = []
    for content, name in contents:
        try:
            plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        except (OSError, EOFError, zlib.error):
            continue
        plain = plain[:MAX_SEED_BYTES]
        if plain:
            extension = "yaml" if ".yaml" in name else "json"
            made.append((plain, extension))
    return [Seed(*one, ()) for one in dict.fromkeys(made)]


def with_entries(seed: Seed, path: Path) -> Seed:
    """The seed with its entries parsed; ``path`` is a place for its bytes."""
    path = path.with_suffix(f".{seed.extension}")
    path.write_bytes(seed.content)
    try:
        with open_report(path) as report:
            entries = tuple(item.value for item in report if isinstance(item, RawEntry))
    except Exception:  # a seed that is no report serves with its bytes
        entries = ()
    path.unlink()
    return Seed(seed.content, seed.extension, entries)


class Mutator:
    """Makes one hostile report after the other, the same ones for the same ``chance``."""

    def __init__(self, chance: random.Random, known: list[Seed]) -> None:
        self._chance = chance
        self._seeds = known
        self._with_entries = [seed for seed in known if seed.entries]
        self._byte_steps: tuple[Callable[[bytearray], None], ...] = (
            self._flip, self._flip, self._overwrite, self._delete, self._double, self._splice, self._token,
            self._token, self._token, self._token_at_line, self._swap_lines, self._truncate,
        )  # fmt: skip

    def report(self) -> tuple[bytes, str]:
        """The bytes of a report and its extension (``json`` or ``yaml``)."""
        chance = self._chance
        if chance.random() < 0.5:
            content, extension = self._of_values()
        else:
            seed = chance.choice(self._seeds)
            content, extension = bytearray(seed.content), seed.extension
        if chance.random() < 0.75:
            for _ in range(chance.choice((1, 1, 2, 3, 8))):
                chance.choice(self._byte_steps)(content)
        if chance.random() < 0.03:
            content = bytearray(gzip.compress(bytes(content), 1, mtime=0))
            if chance.random() < 0.7:
                chance.choice((self._flip, self._delete, self._truncate, self._double))(content)
        if chance.random() < 0.02:
            extension = "yaml" if extension == "json" else "json"
        return bytes(content), extension

    def _of_values(self) -> tuple[bytearray, str]:
        """A report whose entries got other values and were written as JSON, which YAML reads too."""
        chance = self._chance
        entries = [
            dict(chance.choice(self._with_entries).entries[0]) for _ in range(chance.choice((1, 2, 4)))
        ]
        entries = [self._changed(entry) for entry in entries]
        if chance.random() < 0.5:
            return bytearray(b"".join(self._dumped(entry) + b"\n" for entry in entries)), "json"
        documents = [self._changed({"probe_cc": "GR", "test_name": chance.choice(NAMES)}), *entries]
        return bytearray(b"".join(b"---\n" + self._dumped(one) + b"\n...\n" for one in documents)), "yaml"

    def _dumped(self, entry: dict[str, Any]) -> bytes:
        try:
            return dump_entry(entry)
        except (OverflowError, ValueError, TypeError):
            return b"{}"

    def _changed(self, entry: dict[str, Any]) -> dict[str, Any]:
        chance = self._chance
        if chance.random() < 0.4:
            entry["test_name"] = chance.choice(NAMES)
        if chance.random() < 0.3:  # legacy rules for entries of any age
            entry.pop("data_format_version", None)
        for _ in range(chance.choice((1, 2, 2, 5))):
            entry = self._with_other_value(entry, 0)
        return entry

    def _with_other_value(self, value: Any, depth: int) -> Any:
        """A copy of a container in which one value, somewhere below, is another one."""
        chance = self._chance
        value = value.copy()
        if isinstance(value, dict):
            place = chance.choice([*value, *chance.sample(KEYS, 3)])
            old = value.get(place)
        elif value:
            place = chance.randrange(len(value))
            old = value[place]
        else:
            value.append(chance.choice(VALUES))
            return value
        if isinstance(old, (dict, list)) and depth < 8 and chance.random() < 0.8:
            value[place] = self._with_other_value(old, depth + 1)
        elif isinstance(old, (dict, list)) and chance.random() < 0.3:
            value[place] = [old] if chance.random() < 0.5 else {"a": old}
        else:
            value[place] = chance.choice(VALUES)
        return value

    def _place(self, content: bytearray) -> int:
        return self._chance.randrange(len(content) + 1)

    def _span(self, content: bytearray) -> slice:
        start = self._place(content)
        return slice(start, start + self._chance.choice((1, 2, 5, 30, 500)))

    def _flip(self, content: bytearray) -> None:
        if content:
            content[self._chance.randrange(len(content))] ^= 1 << self._chance.randrange(8)

    def _overwrite(self, content: bytearray) -> None:
        if content:
            content[self._chance.randrange(len(content))] = self._chance.randrange(256)

    def _delete(self, content: bytearray) -> None:
        del content[self._span(content)]

    def _double(self, content: bytearray) -> None:
        span = self._span(content)
        content[span.start : span.start] = content[span] * self._chance.choice((1, 1, 3, 40))

    def _splice(self, content: bytearray) -> None:
        other = bytearray(self._chance.choice(self._seeds).content)
        content[self._span(content)] = other[self._span(other)]

    def _token(self, content: bytearray) -> None:
        place = self._place(content)
        content[place:place] = self._chance.choice(TOKENS)

    def _token_at_line(self, content: bytearray) -> None:
        place = content.find(b"\n", self._place(content)) + 1
        content[place:place] = self._chance.choice(TOKENS)

    def _swap_lines(self, content: bytearray) -> None:
        lines = content.split(b"\n")
        one, other = self._chance.randrange(len(lines)), self._chance.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        content[:] = b"\n".join(lines)

    def _truncate(self, content: bytearray) -> None:
        del content[self._place(content) :]
