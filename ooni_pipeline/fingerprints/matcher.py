"""The one matcher: which fingerprints and which vendors a normalised entry shows.

Loading and re-fingerprinting both go through here, so a measurement gets the same answer either way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.fingerprints.like import compile_like
from ooni_pipeline.fingerprints.response import (
    body_text,
    direct_responses,
    header_values,
    items,
    mapping,
    text,
)
from ooni_pipeline.fingerprints.rows import Fingerprint, VendorRule

#: The nettests in which block pages are looked for.
BLOCKPAGE_TESTS = frozenset({"http_requests", "web_connectivity"})
#: Which failures of the experiment count: http_requests has the first, web_connectivity the other two.
EXPERIMENT_FAILURES = ("experiment_failure", "http_experiment_failure", "dns_experiment_failure")
#: http_invalid_request_line sends four requests, so only that many answers are looked at.
RECEIVED_LOOKED_AT = 4
#: Part of the table's version. Raise it when the same rows would give other answers than before.
SEMANTICS = 1

_Rule = tuple[str, Callable[[str], bool]]


@dataclass
class _Country:
    """The rules of one country, by where they look."""

    bodies: list[_Rule] = field(default_factory=list)
    headers: dict[str, list[_Rule]] = field(default_factory=dict)  # by header name in lower case
    failures: list[str] = field(default_factory=list)


class FingerprintTable:
    """Fingerprints and vendor rules, ready to match. Immutable by convention; can be pickled.

    ``blockpages`` and ``vendors`` are the rows in canonical order. ``version`` is a digest (16
    hexadecimal digits) over all that decides a match: not the notes, nor the order of the file.
    """

    def __init__(self, blockpages: Iterable[Fingerprint], vendors: Iterable[VendorRule]) -> None:
        self.blockpages = tuple(sorted(blockpages, key=lambda row: row.name))
        self.vendors = tuple(sorted(vendors, key=_vendor_key))
        self.version = _version(self.blockpages, self.vendors)
        self._countries: dict[str, _Country] = {}
        for row in self.blockpages:
            country = self._countries.setdefault(row.probe_cc, _Country())
            if row.location == "failure":
                country.failures.append(row.name)
            elif row.location == "body":
                country.bodies.append((row.name, compile_like(row.pattern)))
            else:
                rules = country.headers.setdefault(row.header.lower(), [])
                rules.append((row.name, compile_like(row.pattern)))
        self._vendor_rules: dict[str, list[tuple[VendorRule, Callable[[str], bool]]]] = {}
        for rule in self.vendors:
            self._vendor_rules.setdefault(rule.test_name, []).append((rule, compile_like(rule.pattern)))

    def wants(self, test_name: object, probe_cc: object) -> bool:
        """False if no entry of this nettest and country can match anything: its test_keys need no look."""
        return self._rules(test_name, probe_cc) is not None or _in(self._vendor_rules, test_name)

    def match_blockpages(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        """The names, sorted, of all fingerprints that a normalised entry shows; never raises.

        Only entries of ``BLOCKPAGE_TESTS``, only fingerprints of the entry's own ``probe_cc``, and any
        response that did not come through Tor: a block page often stands at the end of redirects.
        """
        entry = mapping(entry)
        rules = self._rules(entry.get("test_name"), entry.get("probe_cc"))
        if rules is None:
            return ()
        test_keys = mapping(entry.get("test_keys"))
        found: set[str] = set()
        if rules.failures and _experiment_alone_failed(test_keys):
            found.update(rules.failures)
        if rules.bodies or rules.headers:
            for response in direct_responses(test_keys):
                if rules.headers:
                    for header, value in header_values(response, rules.headers):
                        found.update(name for name, like in rules.headers[header] if like(value))
                if rules.bodies and (body := body_text(response)) is not None:
                    found.update(name for name, like in rules.bodies if like(body))
        return tuple(sorted(found))

    def match_vendors(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        """The names, sorted, of all vendors that a normalised entry of any country shows; never raises."""
        entry = mapping(entry)
        test_name = entry.get("test_name")
        if not isinstance(test_name, str) or test_name not in self._vendor_rules:
            return ()
        test_keys = mapping(entry.get("test_keys"))
        texts = {"header_name_diff": _header_name_diff(test_keys), "received": _received(test_keys)}
        rules = self._vendor_rules[test_name]
        return tuple(sorted({rule.vendor for rule, like in rules if any(map(like, texts[rule.location]))}))

    def _rules(self, test_name: object, probe_cc: object) -> _Country | None:
        # Only ASCII: letters like the dotless i of Turkish would become plain ones in upper case.
        if not isinstance(probe_cc, str) or not probe_cc.isascii() or not _in(BLOCKPAGE_TESTS, test_name):
            return None
        return self._countries.get(probe_cc.upper())


def _in(names: Container[str], value: object) -> bool:
    return isinstance(value, str) and value in names


def _experiment_alone_failed(test_keys: Mapping[str, Any]) -> bool:
    """True if the experiment has a failure and the control is known to have none.

    Probes write ``control_failure: null`` for a control that went well. Where the key is missing nobody
    knows whether the site works at all, so that is no sign of blocking.
    """
    if "control_failure" not in test_keys or test_keys["control_failure"] is not None:
        return False
    return any(test_keys.get(key) is not None for key in EXPERIMENT_FAILURES)


def _header_name_diff(test_keys: Mapping[str, Any]) -> list[str]:
    """The header names that changed between probe and test helper (http_header_field_manipulation)."""
    names = items(mapping(test_keys.get("tampering")).get("header_name_diff"))
    return [name for name in names if isinstance(name, str)]


def _received(test_keys: Mapping[str, Any]) -> list[str]:
    """What came back for the invalid request lines, if the probe saw them changed."""
    if test_keys.get("tampering") is not True:
        return []
    answers = map(text, items(test_keys.get("received"))[:RECEIVED_LOOKED_AT])
    return [answer for answer in answers if answer is not None]


def _vendor_key(rule: VendorRule) -> tuple[str, str, str, str]:
    return rule.vendor, rule.test_name, rule.location, rule.pattern


def _version(blockpages: tuple[Fingerprint, ...], vendors: tuple[VendorRule, ...]) -> str:
    pages = [[row.name, row.probe_cc, row.location, row.header.lower(), row.pattern] for row in blockpages]
    content = [SEMANTICS, pages, [_vendor_key(rule) for rule in vendors]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
