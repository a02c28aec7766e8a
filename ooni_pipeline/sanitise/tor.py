"""vanilla_tor, torsf and tor: does Tor start, and are its entrances reachable?

Their logs and command lines are cleaned as those of bridge_reachability are. The nettest tor also tells
what it connected to, its targets: the directory authorities, which everybody knows, and bridges. The
rest is about which of the two a target is.

What samples show (2020): an authority stands in ``targets`` under its own address, with the protocol
``dir_port`` or ``or_port_dirauth`` and its name; a bridge stands under a digest, with ``obfs4`` or
``or_port``, and its address in clear inside. No sample says of a bridge that it is one shipped with the
browser, so every bridge is private that the table does not call public. ``or_port`` without a name, as the
first version wrote it for authorities, may be a bridge too: it is hidden unless the same host is an
authority of the entry. What a ``target_source`` names came from somewhere else, so it is private whatever
else it says.
"""

from __future__ import annotations

import re
from typing import Any

from ooni_pipeline.sanitise.bridge_lines import parse_bridge_line
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.cuts import MARKER, Cuts, test_keys_of
from ooni_pipeline.sanitise.strings import change_strings
from ooni_pipeline.sanitise.tor_logs import clean_log, clean_logs

LOGS = ("tor_log", "tor_logs", "obfsproxy_log", "logs")

#: The authorities of all times, as Tor's own list names them.
AUTHORITIES = frozenset(
    {
        *("moria1", "tor26", "dizum", "gabelmoo", "dannenberg", "maatuska", "longclaw"),
        *("bastet", "faravahar", "serge", "turtles", "urras"),
    }
)
#: What only authorities are asked for.
AUTHORITY_PROTOCOLS = frozenset({"dir_port", "or_port_dirauth"})
#: The key of a bridge, which tells nothing.
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def clean(entry: dict[str, Any], cuts: Cuts) -> None:
    """Clean the logs and the command line."""
    clean_logs(entry, LOGS, cuts)


def sanitise(entry: dict[str, Any], cuts: Cuts) -> None:
    """Clean the logs, and take what tells where it is from every target that is not an authority."""
    clean(entry, cuts)
    holder = test_keys_of(entry)
    targets = holder.get("targets")
    if not targets:
        return
    if not isinstance(targets, (dict, list)):  # of no form that is known
        targets = [targets]
    named = _named(targets)
    authorities = {_host(target) for key, target in named if _is_authority(key, target)}
    names: list[str] = []
    for key, target in named:
        line = parse_bridge_line(f"{key} {target.get('target_address')}")
        bridge = line.known_to(cuts.table)
        if bridge and bridge.public:
            pass  # everybody knows it
        elif not (_is_authority(key, target) or _is_first_version(key, target, authorities)):
            cuts.hide(line.addresses, ())
            cuts.count("tor_target", _hide(target, cuts.table))
            key = key if _DIGEST.match(key) else MARKER
        while key in names:
            key += " again"
        names.append(key)
    changed = [target for _, target in named]
    holder["targets"] = changed if isinstance(targets, list) else dict(zip(names, changed, strict=True))


def _named(targets: dict[str, Any] | list[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Targets with their keys; those of the first version, a list, have none but their address.

    What is no mapping of a target is put into one.
    """
    pairs = targets.items() if isinstance(targets, dict) else [(None, target) for target in targets]
    named = []
    for key, value in pairs:
        target = value if isinstance(value, dict) and "target_address" in value else {"target": value}
        named.append((str(target.get("target_address")) if key is None else key, target))
    return named


def _is_authority(key: str, target: dict[str, Any]) -> bool:
    """Whether a target says in every way that it is an authority."""
    if target.get("target_source") or key != target.get("target_address"):
        return False
    name = str(target.get("target_name")).lower()
    return name in AUTHORITIES or target.get("target_protocol") in AUTHORITY_PROTOCOLS


def _is_first_version(key: str, target: dict[str, Any], authorities: set[str]) -> bool:
    if target.get("target_source") or target.get("target_name") or key != target.get("target_address"):
        return False
    return target.get("target_protocol") == "or_port" and _host(target) in authorities


def _host(target: dict[str, Any]) -> str:
    return str(target.get("target_address")).rpartition(":")[0]


def _hide(target: dict[str, Any], table: BridgeTable) -> int:
    """Put the marker in the place of every address in a target; how many there were.

    What is not text goes too: nothing could be found in it, and a certificate is enough to find a bridge
    by scanning for it.
    """
    address, host, count = str(target.get("target_address") or ""), _host(target), 0
    if target.get("target_address"):
        target["target_address"], count = MARKER, 1

    def change(text: str) -> str:
        nonlocal count
        for name in (address, host):  # a bridge may be written as a host name
            if "." in name and name in text:
                text, count = text.replace(name, MARKER), count + 1
        return text

    waiting: list[Any] = [target]
    for container in waiting:
        for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
            if isinstance(value, dict) and value.get("format") == "base64":
                container[key], count = MARKER, count + 1
            elif isinstance(value, (dict, list)):
                waiting.append(value)
    change_strings(target, change)
    _, more = clean_log(target, table)
    return count + more
