"""With any one rule of the sanitiser switched off, the second search finds something: it sees them all."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline import sanitise
from ooni_pipeline.sanitise import (
    cuts,
    fields,
    headers,
    logs,
    own,
    packets,
    reports,
    search,
    spellings,
    tor,
    tor_logs,
)
from ooni_pipeline.sanitise.settings import ANNOTATIONS, Settings, header_patterns
from tests.leaks.canaries import Planted
from tests.leaks.conftest import Stages
from tests.leaks.scan import Search
from tests.leaks.sought import Hit

#: Switches one rule off; the settings to go on with.
Switch = Callable[[pytest.MonkeyPatch], Settings]

NEVER = r"(?:[^\s\S])"


def settings(**changed: Any) -> Switch:
    return lambda patch: dataclasses.replace(Settings(), **changed)


def without(module: Any, name: str, item: object) -> Switch:
    """One item less in a visible list."""

    def switch(patch: pytest.MonkeyPatch) -> Settings:
        value = getattr(module, name)
        if isinstance(value, dict):
            less: Any = {key: one for key, one in value.items() if key != item}
        else:
            less = type(value)(one for one in value if one != item)
        assert len(less) == len(value) - 1
        patch.setattr(module, name, less)
        return Settings()

    return switch


def instead(*changes: tuple[Any, str, Any]) -> Switch:
    """Other values in modules."""

    def switch(patch: pytest.MonkeyPatch) -> Settings:
        for module, name, value in changes:
            patch.setattr(module, name, value)
        return Settings()

    return switch


def _steps() -> Iterator[tuple[str, Switch]]:
    for pair in sanitise.EVERY_ENTRY:
        yield f"step {pair[1].__module__.rpartition('.')[2]}", without(sanitise, "EVERY_ENTRY", pair)
    for nettest in sanitise.NETTESTS:
        yield f"nettest {nettest}", without(sanitise, "NETTESTS", nettest)


def _settings() -> Iterator[tuple[str, Switch]]:
    for item in dataclasses.fields(Settings):
        if item.type == "bool":
            yield f"[sanitise] {item.name}", settings(**{item.name: False})
    yield "[sanitise] annotations", settings(annotations=ANNOTATIONS | {"contact"})
    patterns = header_patterns()
    for pattern in patterns:
        yield f"header {pattern}", settings(headers=tuple(one for one in patterns if one != pattern))


def _lists() -> Iterator[tuple[str, Switch]]:
    for module, name, items in (
        (own, "KEYS", ("real_address", "internal_address", "remaddress")),
        (own, "RESOLVERS", ("resolver_ip", "client_resolver")),
        (packets, "DIRECTIONS", ("answered_packets",)),
        (headers, "KEYS", ("headers", "headers_list")),
        (headers, "OUR_HELPERS", ("http_host", "http_header_field_manipulation")),
        (fields, "NULLED", fields.NULLED),
        (fields, "WITH_UUIDS", fields.WITH_UUIDS),
        (fields, "INPUTS", fields.INPUTS),
        (logs, "OUTPUTS", logs.OUTPUTS),
        (tor_logs, "COMMAND_LINES", ("options",)),
    ):
        for item in items:
            yield f"{module.__name__.rpartition('.')[2]}.{name} {item}", without(module, name, item)
    for log in ("tor_log", "obfsproxy_log", "tor_logs"):
        both = [(module, "LOGS", tuple(one for one in module.LOGS if one != log)) for module in (logs, tor)]
        yield f"logs of tor {log}", instead(*both)
    yield "tor.LOGS logs", without(tor, "LOGS", "logs")


def _spellings() -> Iterator[tuple[str, Switch]]:
    for name in ("IN_BASE64", "PERCENT_ENCODED"):
        off = (search, name, NEVER.encode()), (search, f"_{name}", re.compile(NEVER.encode()))
        yield name, instead(*off)
    yield "own spellings", instead((search, "own_address_expression", spellings.address_expression))
    yield "bytes of packets", instead((cuts, "_cut_bytes", lambda *arguments, **more: 0))
    yield "any address", instead((search, "address_expression", lambda address: NEVER.encode()))
    yield "any fingerprint", instead((search, "fingerprint_expression", lambda digits: NEVER.encode()))


def _sources() -> Iterator[tuple[str, Switch]]:
    never = re.compile(NEVER)
    yield "tor's guess", instead((own, "_GUESSED", never))
    yield "hexadecimal of web100", instead((own, "_HEXADECIMAL", never))
    yield "long summaries", instead((packets, "_QUOTED", never))
    yield "short summaries", instead((packets, "_SHORT", never))
    yield "what routers quote", instead((packets, "_QUOTING", ()), (packets, "_QUOTING6", ()))
    yield "the known leaker", instead((reports, "_LEAKER", re.compile(NEVER.encode())))
    yield "what a header names", instead((headers, "addresses_in", lambda text: iter(())))


RULES = dict([*_steps(), *_settings(), *_lists(), *_spellings(), *_sources()])


class Compared:
    """The reports as they come out with every rule, and what is found in them."""

    def __init__(self, planted: Planted, root: Path) -> None:
        planted.write(root / "raw")
        self.search = Search(planted.sought(root))
        self.stages = Stages(root, root / "known_bridges.json")
        self.stages.run(path for path in sorted((root / "raw").iterdir()) if path.name != NO_NAME)
        self.search.read_private(self.stages.normalised)

    def new_leak(self, root: Path, changed: Settings) -> Hit | None:
        """The first thing that is found with these settings, and is not with every rule."""
        stages = Stages(root, self.stages.table, changed)
        (root / "normalised").symlink_to(self.stages.normalised)
        for name in sorted(path.stem for path in self.stages.normalised.iterdir()):
            stages.sanitise(name)
            path, before = stages.sanitised / f"{name}.json", self.stages.sanitised / f"{name}.json"
            if not path.exists() or (before.exists() and path.read_bytes() == before.read_bytes()):
                continue
            known = {(one.line, one.hit) for one in self.search.through(before)} if before.exists() else set()
            for finding in self.search.through(path):
                if (finding.line, finding.hit) not in known:
                    return finding.hit
        return None


@pytest.fixture(scope="module")
def compared(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    reports._sanitiser.cache_clear()
    return Compared(planted, tmp_path_factory.mktemp("compared"))


def test_nothing_changes_by_itself(compared: Compared, tmp_path: Path) -> None:
    assert compared.new_leak(tmp_path, Settings()) is None


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_switched_off_is_seen(
    rule: str, compared: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        changed = RULES[rule](monkeypatch)
        reports._sanitiser.cache_clear()
        assert compared.new_leak(tmp_path, changed) is not None
    finally:
        reports._sanitiser.cache_clear()
