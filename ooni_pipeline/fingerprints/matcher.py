"""The one matcher: which fingerprints and which vendors a normalised entry shows.

Loading and re-fingerprinting both go through here, so a measurement gets the same answer either way.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from ooni_pipeline.fingerprints.like import compile_like
from ooni_pipeline.fingerprints.response import (
    as_answer,
    body_text,
    direct_responses,
    dns_answers,
    header_values,
    items,
    mapping,
    text,
)
from ooni_pipeline.fingerprints.rows import Fingerprint, Rule, VendorRule
from ooni_pipeline.fingerprints.texts import TextRules

#: The nettests in which block pages are looked for.
BLOCKPAGE_TESTS = frozenset({"http_requests", "web_connectivity"})
#: Which failures of the experiment count: http_requests has the first, web_connectivity the other two.
EXPERIMENT_FAILURES = ("experiment_failure", "http_experiment_failure", "dns_experiment_failure")
#: http_invalid_request_line sends four requests, so only that many answers are looked at.
RECEIVED_LOOKED_AT = 4
#: Part of the table's version. Raise it when the same rows would give other answers than before.
SEMANTICS = 2
#: In this nettest the answers of resolvers are looked at.
DNS_TEST = "web_connectivity"


class _Place:
    """The rules for the measurements of one country, or of all, by where they look."""

    def __init__(self, rules: list[Rule]) -> None:
        by_header: dict[str, list[Rule]] = {}
        for rule in rules:
            if rule.location == "header":
                by_header.setdefault(rule.header, []).append(rule)
        self.failures = [rule.name for rule in rules if rule.location == "failure"]
        self.headers = {header: TextRules(some) for header, some in by_header.items()}
        self.bodies = _text_rules(rule for rule in rules if rule.location == "body")
        self.answers = _text_rules(_as_answer(rule) for rule in rules if rule.location == "dns")

    def found_in(self, test_name: object, test_keys: Mapping[str, Any]) -> Iterator[str]:
        if self.failures and _experiment_alone_failed(test_keys):
            yield from self.failures
        if self.bodies or self.headers:
            for response in direct_responses(test_keys):
                if self.headers:
                    for header, value in header_values(response, self.headers):
                        yield from self.headers[header].found_in(value)
                if self.bodies and (body := body_text(response)) is not None:
                    yield from self.bodies.found_in(body)
        if self.answers and test_name == DNS_TEST:
            for answer in dns_answers(test_keys):
                yield from self.answers.found_in(answer)


class FingerprintTable:
    """Fingerprints and vendor rules, ready to match. Immutable by convention; can be pickled.

    ``blockpages`` and ``vendors`` are the shipped rows in canonical order, ``listed`` the rules of other
    lists, ``rules`` all but the vendors'. ``version`` is a digest (16 hexadecimal digits) over all that
    decides a match: not the notes, nor the order of the files.
    """

    def __init__(
        self, blockpages: Iterable[Fingerprint], vendors: Iterable[VendorRule], listed: Iterable[Rule] = ()
    ) -> None:
        self.blockpages = tuple(sorted(blockpages, key=lambda row: row.name))
        self.vendors = tuple(sorted(vendors, key=_vendor_key))
        self.listed = tuple(sorted(listed, key=lambda rule: rule.name))
        self.rules = tuple(sorted((*(row.rule() for row in self.blockpages), *self.listed), key=_by_name))
        self.version = _version(self.rules, self.vendors)
        self._kinds = {rule.name: rule.kind for rule in self.rules}
        everywhere = [rule for rule in self.rules if not rule.countries]
        self._everywhere = _Place(everywhere) if everywhere else None
        by_country: dict[str, list[Rule]] = {}
        for rule in self.rules:
            for country in rule.countries:
                by_country.setdefault(country, []).append(rule)
        self._countries = {country: _Place(rules) for country, rules in by_country.items()}
        self._vendor_rules: dict[str, list[tuple[VendorRule, Callable[[str], bool]]]] = {}
        for vendor in self.vendors:
            self._vendor_rules.setdefault(vendor.test_name, []).append((vendor, compile_like(vendor.pattern)))

    @property
    def countries(self) -> frozenset[str] | None:
        """The countries whose measurements can show a fingerprint, None: those of all."""
        return None if self._everywhere else frozenset(self._countries)

    @property
    def vendor_tests(self) -> frozenset[str]:
        """The nettests whose measurements can show a vendor."""
        return frozenset(self._vendor_rules)

    def match(self, entry: Mapping[str, Any]) -> list[tuple[str, str]]:
        """``(kind, name)``, sorted, of all fingerprints and vendors that a normalised entry shows; never
        raises."""
        found = [(self._kinds[name], name) for name in self._names(mapping(entry))]
        return sorted(found + [("vendor", vendor) for vendor in self.match_vendors(entry)])

    def match_blockpages(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        """The names, sorted, of all block pages that a normalised entry shows; never raises.

        Only entries of ``BLOCKPAGE_TESTS``, only fingerprints of the entry's own ``probe_cc`` or of all
        countries, and any response that did not come through Tor: a block page often stands at the end of
        redirects.
        """
        return tuple(sorted(name for name in self._names(mapping(entry)) if self._kinds[name] == "blockpage"))

    def _names(self, entry: Mapping[str, Any]) -> set[str]:
        test_name, found = entry.get("test_name"), set[str]()
        for place in self._places(test_name, entry.get("probe_cc")):
            found.update(place.found_in(test_name, mapping(entry.get("test_keys"))))
        return found

    def explained(self) -> list[dict[str, Any]]:
        """What each match of this version means: kind, name, the number of the rule among those of its name,
        and the rule."""
        rows = [
            {"kind": rule.kind, "name": rule.name, "number": 1, "rule": rule.explained()}
            for rule in self.rules
        ]
        numbers: Counter[str] = Counter()
        for vendor in self.vendors:
            numbers[vendor.vendor] += 1
            rule = {key: value for key, value in asdict(vendor).items() if value and key != "vendor"}
            rows.append(
                {"kind": "vendor", "name": vendor.vendor, "number": numbers[vendor.vendor], "rule": rule}
            )
        return rows

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

    def _places(self, test_name: object, probe_cc: object) -> list[_Place]:
        if not _in(BLOCKPAGE_TESTS, test_name):
            return []
        places = [self._everywhere] if self._everywhere else []
        # Only ASCII: letters like the dotless i of Turkish would become plain ones in upper case.
        if isinstance(probe_cc, str) and probe_cc.isascii() and probe_cc.upper() in self._countries:
            places.append(self._countries[probe_cc.upper()])
        return places


def _text_rules(rules: Iterable[Rule]) -> TextRules | None:
    some = list(rules)
    return TextRules(some) if some else None


def _as_answer(rule: Rule) -> Rule:
    """A rule for answers as :func:`dns_answers` gives them; an expression stays as it is written."""
    match rule.pattern_type:
        case "regexp":
            return rule
        case "full":
            return replace(rule, pattern=as_answer(rule.pattern))
        case _:  # a part of an address, whose last dot counts
            return replace(rule, pattern=rule.pattern.lower())


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


def _by_name(rule: Rule) -> str:
    return rule.name


def _version(rules: tuple[Rule, ...], vendors: tuple[VendorRule, ...]) -> str:
    content = [SEMANTICS, [rule.decides() for rule in rules], [_vendor_key(rule) for rule in vendors]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
