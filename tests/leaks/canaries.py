"""Canaries: texts, bridges and addresses that stand in one place each, and are sought everywhere after it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.leaks.addresses import parsed
from tests.leaks.sought import Sought

Entry = dict[str, Any]
#: Puts a value into the place that it stands for.
Place = Callable[[Any], Entry]

#: How YAML writes bytes; JSON cannot, so a string that begins with this is turned into it.
BYTES = "!!binary "


@dataclass(frozen=True)
class Bridge:
    """A bridge of a canary report: one address, without port, and its fingerprint."""

    address: str
    fingerprint: str

    @property
    def place(self) -> str:
        return f"[{self.address}]:443" if ":" in self.address else f"{self.address}:443"


@dataclass
class Planted:
    """Canaries by where they stand, and the raw reports that hold them.

    ``known`` is a bridge table for the sanitiser, ``unknown`` one of bridges that it must not need to know.
    ``quoted`` are texts that may be published but are an entry's content: none may be in a log. ``where``
    says of each secret where it stands, ``about`` of each report for which of those it was made.
    """

    known: dict[str, dict[str, str]] = field(default_factory=dict)
    unknown: dict[str, dict[str, str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    quoted: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    reports: dict[str, bytes] = field(default_factory=dict)
    about: dict[str, set[str]] = field(default_factory=dict)
    _begun: list[str] = field(default_factory=list)
    _written: bool = False

    def text(self, where: str) -> str:
        """A new text."""
        made = f"canary{len(self.texts):05d}z"
        self.texts[made] = where
        self._remember(made, where)
        return made

    def quote(self, where: str) -> str:
        """A new text that may be published, and must not be quoted."""
        made = f"quoted{len(self.quoted):05d}z"
        self.quoted[made] = where
        self._remember(made, where)
        return made

    def address(self, where: str, version: int = 4) -> str:
        """A new address of a volunteer."""
        number = len(self.own)
        if version == 4:
            made = f"198.18.{number // 200 + 3}.{number % 200 + 11}"
        else:
            made = f"2001:db8:{number + 0x1A00:x}::5:{number + 0x3B:x}"
        self.own[made] = where
        self._remember((parsed(made) or b"").hex(), where)
        return made

    def bridge(self, where: str, *, known: bool, version: int = 4) -> Bridge:
        """A new bridge, which the table knows or not."""
        table = self.known if known else self.unknown
        number = len(table)
        if version == 4:
            address = f"{'192.88.99' if known else '198.19.201'}.{number + 3}"
        else:
            address = f"2001:db8:{'b:' if known else 'c:'}:{number + 0x51:x}:7"
        fingerprint = hashlib.sha1(f"{known} {number}".encode(), usedforsecurity=False).hexdigest().upper()
        bridge = Bridge(address, fingerprint)
        line = {"fingerprint": fingerprint, "distributor": "email", "transport": "obfs4"}
        table[bridge.place] = line
        self._remember((parsed(address) or b"").hex(), where)
        self._remember(fingerprint.lower(), where)
        return bridge

    def _remember(self, secret: str, where: str) -> None:
        """The reports that are added next are about it, until another secret is made after one of them."""
        if self._written:
            self._begun, self._written = [], False
        self._begun.append(where)
        self.where[secret] = where

    def add(self, test_name: str, entries: Iterable[dict[str, Any]], *bad: str) -> str:
        """A JSON report of entries, and of lines that are none; the name that it gets."""
        lines = [json.dumps({"test_name": test_name, **BASE, **entry}) for entry in entries]
        return self._add(test_name, "json", "\n".join([*lines, *bad]) + "\n")

    def add_yaml(
        self, test_name: str, header: dict[str, Any], entries: Iterable[dict[str, Any]], *bad: str
    ) -> str:
        """The same in YAML, of which JSON is a part."""
        documents = [{"test_name": test_name, **HEADER, **header}, *entries]
        texts = [re.sub(rf'"{BYTES}([^"]*)"', rf'{BYTES}"\1"', json.dumps(one)) for one in documents]
        return self._add(test_name, "yaml", "".join(f"---\n{text}\n...\n" for text in [*texts, *bad]))

    def _add(self, test_name: str, extension: str, content: str) -> str:
        name = f"20160801T120000Z-{test_name}-planted{len(self.reports):04d}-AS1-GR-probe-0.2.0.{extension}"
        return self.add_file(name, content)

    def add_file(self, name: str, content: str) -> str:
        """A report under a name of its own."""
        self.reports[name] = content.encode()
        self.about[name] = set(self._begun)
        self._written = True
        return name

    def write(self, directory: Path, each: int = 1) -> None:
        """Put the reports into a collector's archive: all, or each fifth, say, and those that are quoted."""
        directory.mkdir(parents=True, exist_ok=True)
        for number, (name, content) in enumerate(self.reports.items()):
            if number % each == 0 or b"quoted" in content:
                (directory / name).write_bytes(content)

    def write_one_of_each(self, directory: Path) -> None:
        """Those that are enough for everything planted to stand in one of them."""
        directory.mkdir(parents=True, exist_ok=True)
        seen: set[str] = set()
        for name, about in self.about.items():
            if not about <= seen:
                (directory / name).write_bytes(self.reports[name])
                seen |= about

    def sought(self, directory: Path, *, quoted: bool = False) -> Sought:
        """A search for everything planted. ``directory`` takes the tables as files."""
        made = Sought()
        for name, table in (("known", self.known), ("unknown", self.unknown)):
            path = directory / f"{name}_bridges.json"
            path.write_text(json.dumps(table))
            made.add_table(path)
        made.add_canaries([*self.texts, *(self.quoted if quoted else ())])
        made.own = {packed: f"own: {where}" for one, where in self.own.items() if (packed := parsed(one))}
        return made


#: What every JSON entry says of itself, and every YAML header.
BASE: dict[str, Any] = {
    "probe_asn": "AS1", "probe_cc": "GR", "probe_ip": "127.0.0.1", "software_name": "ooniprobe",
    "software_version": "2.3.0", "data_format_version": "0.2.0", "report_id": "20160801T120000Z_AS1_planted",
    "test_start_time": "2016-08-01 12:00:00", "measurement_start_time": "2016-08-01 12:00:05",
    "test_version": "0.1.0", "test_runtime": 1.5, "annotations": {"platform": "linux"}, "input": None,
}  # fmt: skip
HEADER: dict[str, Any] = {
    "probe_asn": "AS1", "probe_cc": "GR", "probe_ip": "127.0.0.1", "software_name": "ooniprobe",
    "software_version": "1.2.2", "start_time": 1470052800.0, "test_version": "0.1.0", "options": [],
}  # fmt: skip


def with_response(headers: Any = None, body: Any = None) -> Entry:
    """A request with its response, as entries keep them."""
    return {
        "request": {"url": "http://a.test/", "method": "GET", "headers": {}},
        "response": {"code": 200, "headers": headers or {}, "body": body or ""},
    }


def in_base64(raw: bytes) -> Entry:
    """Bytes, as JSON reports keep them."""
    return {"format": "base64", "data": base64.b64encode(raw).decode()}


def broken(text: str) -> list[Any]:
    """A text as no probe writes it: other types, nested, bytes, as a key."""
    encoded = base64.b64encode(text.encode()).decode()
    return [
        [text], [[text, 5]], {"a": {"b": text}}, {text: 5}, {text: [{text: None}]},
        {"format": "base64", "data": encoded}, f"{text}\n", f" {text} ", f"\u00e9{text}\u00e9",
    ]  # fmt: skip


def cut_short(test_name: str, text: str) -> list[str]:
    """Lines that are no entries: cut in the middle, no JSON, not an object, a constructor."""
    whole = json.dumps({"test_name": test_name, **BASE, "input": text, "probe_city": text, "z": "z" * 60})
    return [
        whole[:-40],
        f"Traceback: {text}",
        json.dumps([text]),
        json.dumps(text),
        '{"a": "' + text + '", "a"'[:-4],
    ]


def cut_short_yaml(text: str) -> list[str]:
    """Documents that are no entries."""
    return [
        f"input: [{text}",
        f"- {text}",
        f"input: !!python/object/apply:os.system [{text}]",
        f"{{a: '{text}",
    ]
