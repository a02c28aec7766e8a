"""Where a known bridge is expected. Elsewhere it may be a question: is this one of yours?

A censor who reports a page that names a thousand addresses learns from what is cut which of them are
bridges. So a report in which a bridge of the table stands where no probe writes one waits for a person,
and so does one that names a bridge among hundreds of other addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ooni_pipeline.report.json_lines import dumps
from ooni_pipeline.sanitise.addresses import addresses_in
from ooni_pipeline.sanitise.search import Secrets
from ooni_pipeline.sanitise.strings import plain_key

#: Keys below which bridges stand: what was tested, the command line, the logs of tor.
_KEYS = frozenset(
    {
        *("input", "bridge_address", "options", "targets"),
        *("tor_log", "tor_logs", "obfsproxy_log", "logs"),
    }
)
#: Keys of what went wrong, which says with whom.
_FAILURES = ("failure", "failures", "error", "errors")


def all_expected(entry: dict[str, Any], bridges: Secrets) -> bool:
    """Whether every bridge in an entry stands in clear where bridges are expected."""
    return all(
        is_expected and not any(found.coded for found in bridges.find(text))
        for text, is_expected in _strings(entry)
        if bridges.stand_in(text)
    )


def _strings(entry: dict[str, Any]) -> Iterator[tuple[bytes, bool]]:
    """Every string and key of an entry, as JSON, and whether a bridge is expected in it."""
    waiting: list[tuple[Any, bool]] = [(entry, False)]
    for container, is_below in waiting:
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            is_expected = is_below
            if isinstance(key, str):
                name = plain_key(key).lower()
                is_expected = is_below or name in _KEYS or name.endswith(_FAILURES)
                yield dumps(key).encode(), False
            if isinstance(value, str):
                yield dumps(value).encode(), is_expected
            elif isinstance(value, (dict, list)):
                waiting.append((value, is_expected))


def names_more_than(limit: int, lines: Iterable[bytes]) -> bool:
    """Whether the lines of a report name more distinct addresses of hosts than that."""
    seen: set[str] = set()
    for line in lines:
        for address in addresses_in(line.decode("ascii", "replace")):
            seen.add(address)
            if len(seen) > limit:
                return True
    return False
