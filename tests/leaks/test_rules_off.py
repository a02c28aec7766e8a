"""With any one rule of the sanitiser switched off, the second search finds something: it sees them all.

Each rule says by which canaries it is seen (a regular expression for what :attr:`Planted.about` says of a
report), and only those reports are sanitised again. The lists of rules are taken from the sanitiser itself:
what is added to one of them has to be planted too, or the test fails.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline import sanitise
from ooni_pipeline.sanitise import (
    Sanitiser,
    bridge_reachability,
    candidates,
    cuts,
    fields,
    headers,
    lines,
    logs,
    own,
    packets,
    paths,
    reports,
    search,
    spellings,
    strings,
    tor,
    tor_logs,
)
from ooni_pipeline.sanitise.settings import ANNOTATIONS, Settings, header_patterns
from tests.leaks.canaries import Planted
from tests.leaks.canary_reports import NO_NAME
from tests.leaks.conftest import Stages
from tests.leaks.scan import Search
from tests.leaks.sought import Hit
from tests.write_golden_reports import report_name

#: Switches one rule off; the settings to go on with.
Switch = Callable[[pytest.MonkeyPatch], Settings]

NEVER = r"(?:[^\s\S])"
NEVER_RE = re.compile(f"({NEVER})({NEVER})")


@dataclass(frozen=True)
class Rule:
    """``seen_in``: which canaries show that it is off. ``held``: the last search holds what it misses, so
    that entries are missing in place of a leak. ``released``: it holds what a person has released too."""

    switch: Switch
    seen_in: str
    held: bool = False
    released: bool = False


def settings(**changed: Any) -> Switch:
    return lambda patch: dataclasses.replace(Settings(), **changed)


def without(name: str, item: object, *modules: Any) -> Switch:
    """One item less in a visible list, which may stand in several modules under this name."""

    def switch(patch: pytest.MonkeyPatch) -> Settings:
        lesser = 0
        for module in modules:
            value = getattr(module, name)
            if isinstance(value, dict):
                less: Any = {key: one for key, one in value.items() if key != item}
            else:
                less = type(value)(one for one in value if one != item)
            lesser += len(value) - len(less)
            patch.setattr(module, name, less)
        assert lesser
        return Settings()

    return switch


def instead(*changes: tuple[Any, str, Any]) -> Switch:
    """Other values in modules."""

    def switch(patch: pytest.MonkeyPatch) -> Settings:
        for module, name, value in changes:
            patch.setattr(module, name, value)
        return Settings()

    return switch


def never(module: Any, *names: str) -> Switch:
    """Patterns that match nothing any more."""
    return instead(*((module, name, NEVER_RE) for name in names))


def _steps() -> Iterator[tuple[str, Rule]]:
    seen_in = {
        "probe_ip": r"^no address in \S+ probe_ip",
        "own": "^no address in (?!.*probe_ip)",
        "headers": "^x-real-ip in request",
        "fields": "^probe_city$",
        "logs": "^path in ",
    }
    for pair in sanitise.EVERY_ENTRY:
        name = pair[1].__module__.rpartition(".")[2]
        yield f"step {name}", Rule(without("EVERY_ENTRY", pair, sanitise), seen_in[name])
    for nettest in sanitise.NETTESTS:
        where = f"^unknown bridge (in {nettest} |among {nettest}'s targets)"
        yield f"nettest {nettest}", Rule(without("NETTESTS", nettest, sanitise), where)


def _settings() -> Iterator[tuple[str, Rule]]:
    seen_in = {
        "probe_city": "^probe_city",
        "probe_id": "^probe_id",
        "uuids": "^UUID of ",
        "near_resolvers": "^near a resolver",
        "input_urls": "^input ",
        "options": "^option ",
        "process_logs": "^path in openvpn",
        "annotations": "^annotations$",
        "headers": "^x-real-ip in request",
        "max_addresses_beside_hit": "asks, beside hundreds",
    }
    other = {
        "annotations": ANNOTATIONS | {"contact"},
        "headers": ("X-Other",),
        "max_addresses_beside_hit": 10_000,
    }
    for item in dataclasses.fields(Settings):
        changed = settings(**{item.name: other.get(item.name, False)})
        yield f"[sanitise] {item.name}", Rule(changed, seen_in[item.name])
    patterns = header_patterns()
    for pattern in patterns:
        fewer = tuple(one for one in patterns if one != pattern)
        where = f"^{re.escape(pattern.lower())} (in|as) "
        yield f"header {pattern}", Rule(settings(headers=fewer), where)


def _lists() -> Iterator[tuple[str, Rule]]:
    """Each name of each list of keys and nettests."""
    for key in sorted(own.KEYS):
        where = "ndt web100 text" if key == "remaddress" else f" {key}$"
        yield f"own.KEYS {key}", Rule(without("KEYS", key, own), f"(?i){where}")
    for names, seen_in, modules in (
        ("RESOLVERS", "^near a resolver in {}$", [own]),
        ("DIRECTIONS", "{}$", [packets]),
        ("NULLED", "^{}$", [fields]),
        ("WITH_UUIDS", "^UUID of {}$", [fields]),
        ("INPUTS", "^(?=input |option.*://).*{:.5}", [fields]),
        ("OUTPUTS", "^path in .* {}:", [logs]),
    ):
        for item in sorted(getattr(modules[0], names)):
            yield f"{names} {item}", Rule(without(names, item, *modules), seen_in.format(item))
    for key in sorted(headers.KEYS):
        yield f"headers.KEYS {key}", Rule(without("KEYS", key, headers), f"^header under {key}$")
    for helper in sorted(headers.OUR_HELPERS):
        switch = without("OUR_HELPERS", helper, headers)
        yield f"helper {helper}", Rule(switch, f"^raw echo in {helper}$")
    modules = [bridge_reachability, tor, tor_logs, logs]
    for log in sorted(tor.LOGS):
        yield f"logs of tor {log}", Rule(without("LOGS", log, *modules), f"^unknown bridge in .* {log}$")
    yield "command lines", Rule(without("COMMAND_LINES", "options", logs), "^option ")
    yield "command lines of tor", Rule(without("COMMAND_LINES", "options", logs, tor_logs), "e .*options$")


def _some(original: Callable[[str], bytes], family: str, *, off: bool = True) -> Callable[[str], bytes]:
    """The alternatives of an expression without those of a family."""

    def fewer(secret: str) -> bytes:
        parts = original(secret).split(b"|")
        return b"|".join(one for one in parts if not re.search(family.encode(), one)) or NEVER.encode()

    return fewer


def _nothing(*names: str) -> Iterator[tuple[Any, str, Any]]:
    """Functions of the search by which it finds nothing."""
    return ((candidates, name, lambda *arguments, **more: None) for name in names)


def _spellings() -> Iterator[tuple[str, Rule]]:
    for kind in ("base64", "encoded"):

        def others(line: bytes, start: int, end: int, found: str, off: str = kind) -> Any:
            return iter(()) if found == off else candidates.decodings(line, start, end, found)

        yield (
            kind,
            Rule(instead((search, "decodings", others)), "^known bridge in .* input$|^dash real_address$"),
        )
    everybodys = {
        "IPv4 as four numbers": "_ipv4",
        "IPv4 in IPv6": "_mapped",
        "IPv6": "_ipv6",
        "fingerprints in one piece": "_fingerprint",
        "fingerprints in fours": "_in_fours",
    }
    for family, name in everybodys.items():
        off = instead((candidates, name, lambda *arguments, **more: None))
        yield family, Rule(off, "^known bridge in .* failure$")
    off = instead((candidates, "_dotted_end", lambda group: b""))
    yield "IPv6 with four numbers at the end", Rule(off, "^known bridge in .* failure$")
    owns = {
        "integer": r"\A\d{9,}\Z",
        "hexadecimal": r"\A(?=.*[a-f])([0-9a-f]{8}|[0-9a-f]{32})\Z",
        "leading zeros": r"\A0\{0,2\}.*\\\.0\{0,2\}\d+\Z",
        "dashes": "0.*-|:-",
        "reversed in a host's name": r"a-z_",
        "dashes, reversed": "-",
        "ip6.arpa": r"(\w\\\.){31}",
    }
    for family, form in owns.items():
        fewer = _some(spellings.own_address_expression, form)
        changed = instead((search, "own_address_expression", fewer))
        yield f"own: {family}", Rule(changed, "^dash real_address$")
    changed = instead((search, "own_address_expression", lambda address: re.escape(address).encode()))
    yield "all own spellings", Rule(changed, "^dash real_address$")
    changed = instead((search, "own_numbers", lambda address: set()))
    yield "own numbers", Rule(changed, "as a number$", held=True)


def _sources() -> Iterator[tuple[str, Rule]]:
    """Each way in which a report reveals an address as the volunteer's."""

    def not_probe_ip(key: str) -> str:
        return "x" if key == "probe_ip" else strings.plain_key(key)

    yield "probe_ip", Rule(instead((own, "plain_key", not_probe_ip)), "probe_ip")
    yield "ndt7's client", Rule(instead((own, "_CONNECTION", "x")), "ndt7 ConnectionInfo$")
    yield "tor's guess", Rule(never(own, "_GUESSED"), " guessed")
    yield "hexadecimal of web100", Rule(never(own, "_HEXADECIMAL"), "ndt web100 hex")
    big = instead((own, "_both_orders", lambda packed: iter([".".join(map(str, packed))])))
    yield "reversed bytes of web100", Rule(big, "ndt web100 hex reversed$")
    yield "long summaries, quoted", Rule(never(packets, "_QUOTED"), "long summary$")
    yield "short summaries", Rule(never(packets, "_SHORT"), "short summary$")
    quoting = instead((packets, "_QUOTING", ()), (packets, "_QUOTING6", ()))
    yield "what routers quote", Rule(quoting, "quoted source$")
    nothing = (headers, "_named_in_json", lambda text, matches: iter(()))
    yield "what helpers echo as JSON", Rule(instead(nothing), "http_host echo$")
    none = never(headers, "_RAW_HEADER")
    yield "what helpers echo as it came", Rule(none, "raw echo$")
    alone = instead((headers, "addresses_in", lambda text: iter(())))
    yield "what a header names, in its body", Rule(alone, "a header names it$")
    later = instead((lines, "_revealed", lambda line, sanitiser: set()))
    yield "what lines reveal", Rule(later, "^dash real_address$")


def _patterns() -> Iterator[tuple[str, Rule]]:
    """The patterns and functions with which single steps look."""
    for module, name, seen_in in (
        (paths, "_HOMES", "^path in openvpn .*Max"),
        (paths, "_ABSOLUTES", "^option /srv"),
        (paths, "_RELATIVES", "^option relative"),
        (paths, "_BEFORE_A_PATH", "^option (/home|file)"),
        (fields, "_USERINFO", "^input "),
        (fields, "_USERINFO_INSIDE", "^option http"),
        (fields, "_A_URL", "^input .*#"),
        (tor_logs, "_IN_LOGS", "^unknown bridge in vanilla_tor tor_log$"),
    ):
        yield f"{module.__name__.rpartition('.')[2]}.{name}", Rule(never(module, name), seen_in)
    bridges = instead((logs, "_is_bridge", lambda argument, option, cuts: False))
    yield "bridges on command lines", Rule(bridges, "^bridge arguments in options")
    repeated = instead((fields, "_cut_everywhere", lambda entry, cut: None))
    yield "inputs that requests repeat", Rule(repeated, "^input ")
    target = instead((tor, "_hide", lambda target, table: 0))
    yield "targets of tor", Rule(target, "^unknown bridge among tor's targets")


def _leak_search() -> Iterator[tuple[str, Rule]]:
    """The parts of the search through whole entries, of the last one, and of the questions before them."""
    known = "^known bridge in .* (input|failure)$"
    no_address = instead(*_nothing("_ipv4", "_ipv6", "_mapped"))
    yield "known addresses", Rule(no_address, known)
    no_fingerprint = instead(*_nothing("_fingerprint", "_in_fours"))
    yield "known fingerprints", Rule(no_fingerprint, known)
    hidden = instead((cuts.Cuts, "hidden", lambda cuts: None))
    yield "bridges that no table knows", Rule(hidden, "^unknown bridge of the input, elsewhere")
    no_bytes = instead((cuts, "_cut_bytes", lambda *arguments, **more: 0))
    yield "bytes of packets", Rule(no_bytes, "quoted source$")
    yield "cut in strings", Rule(instead((cuts, "change_strings", lambda root, change: None)), known, True)
    keys = instead((strings, "_change_keys", lambda mapping, change: None))
    yield "cut in keys", Rule(keys, "^dash real_address$", True)
    last = instead((sanitise, "_still_leaks", lambda text, searches: False))
    yield "the last search", Rule(last, "as a negative number$")
    expected = instead((sanitise, "all_expected", lambda entry, secrets: True))
    yield "a bridge where none is expected", Rule(expected, "asks, in a ")
    beside = instead((reports, "names_more_than", lambda limit, lines: False))
    yield "hundreds of addresses beside a bridge", Rule(beside, "asks, beside hundreds")
    name = instead((Sanitiser, "names_a_bridge", lambda sanitiser, report: False))
    yield "a bridge in the name of a report", Rule(name, "asks by its name", released=True)
    leaker = instead((Sanitiser, "is_of_a_known_leaker", lambda sanitiser, line: False))
    yield "the known leaker", Rule(leaker, "^ooniprobe-android")


PARTS = (_steps, _settings, _lists, _spellings, _sources, _patterns, _leak_search)
RULES = {name: rule for part in PARTS for name, rule in part()}


@dataclass
class Compared:
    """Canary reports as they come out with every rule, each made when it is first asked for."""

    planted: Planted
    stages: Stages
    search: Search
    names: dict[str, str] = field(default_factory=dict)
    """Raw name -> report."""
    _findings: dict[str, set[tuple[int, Hit]]] = field(default_factory=dict)

    def about(self, seen_in: str) -> list[str]:
        """The reports that were made for such canaries."""
        wanted = re.compile(seen_in)
        found = []
        for raw, about in self.planted.about.items():
            if raw != NO_NAME and any(map(wanted.search, about)):
                report = report_name(Path(raw))
                if report not in self.names:
                    path = self.stages.root / raw
                    path.write_bytes(self.planted.reports[raw])
                    self.stages.run([path])
                    self.names[report] = raw
                    if self._normalised(report).exists():
                        self.search.read_private(self._normalised(report))
                found += [report] if self._normalised(report).exists() else []
        return found

    def _normalised(self, report: str) -> Path:
        return self.stages.normalised / f"{report}.json"

    def findings(self, path: Path) -> set[tuple[int, Hit]]:
        """What is found in a sanitised report."""
        return {(one.line, one.hit) for one in self.search.through(path)} if path.exists() else set()

    def found_with_every_rule(self, report: str) -> set[tuple[int, Hit]]:
        if report not in self._findings:
            self._findings[report] = self.findings(self.stages.sanitised / f"{report}.json")
        return self._findings[report]


@pytest.fixture(scope="module")
def compared(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    root = tmp_path_factory.mktemp("compared")
    search = Search(planted.sought(root))
    return Compared(planted, Stages(root, root / "known_bridges.json"), search)


def _forget() -> None:
    reports._sanitiser.cache_clear()
    headers._secrets.cache_clear()
    headers._matcher.cache_clear()


def test_every_rule_is_here() -> None:
    """By number, so that a part that yields nothing any more is seen."""
    assert len(RULES) == sum(len(dict(part())) for part in PARTS), "two rules of one name"
    assert min(len(dict(part())) for part in PARTS) > 8
    assert len(dict(_settings())) == len(dataclasses.fields(Settings)) + len(header_patterns())
    assert len(dict(_steps())) == len(sanitise.EVERY_ENTRY) + len(sanitise.NETTESTS)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_switched_off_is_seen(
    rule: str, compared: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget()
    names = compared.about(RULES[rule].seen_in)
    assert names, "no canary report is about this rule"
    before = {name: compared.found_with_every_rule(name) for name in names}
    held = sum(compared.stages.outcomes[name].counts.held for name in names)
    try:
        stages = Stages(tmp_path, compared.stages.table, RULES[rule].switch(monkeypatch))
        _forget()
        (tmp_path / "normalised").symlink_to(compared.stages.normalised)
        for name in names:
            stages.sanitise(name, released=RULES[rule].released)
            found = compared.findings(stages.sanitised / f"{name}.json") - before[name]
            if found and not RULES[rule].held:
                return
            assert not found, "the last search did not hold it"
    finally:
        monkeypatch.undo()
        _forget()
    more = sum(outcome.counts.held for outcome in stages.outcomes.values()) - held
    assert RULES[rule].held, f"nothing was found in {len(names)} reports ({more} more entries held)"
    assert more > 0
