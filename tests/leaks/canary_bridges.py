"""Canaries that are bridges: of the table and not, in every place and spelling, valid and broken."""

from __future__ import annotations

import base64
from typing import Any

from tests.leaks.canaries import (
    BYTES,
    Bridge,
    Entry,
    Place,
    Planted,
    broken,
    cut_short,
    cut_short_yaml,
    with_response,
)
from tests.leaks.spellings import address_spellings, fingerprint_spellings


def plant(planted: Planted) -> None:
    for one in (_expected, _elsewhere, _in_yaml, _out_of_place, _tor_targets):
        one(planted)


#: Where bridges are expected: nettest, name of the place, entry.
BRIDGE_PLACES: tuple[tuple[str, str, Place], ...] = (
    ("bridge_reachability", "input", lambda text: {"input": text, "test_keys": {}}),
    ("bridge_reachability", "bridge_address", lambda text: {"test_keys": {"bridge_address": text}}),
    ("bridge_reachability", "failure", lambda text: {"test_keys": {"failure": text, "error": text}}),
    ("bridge_reachability", "tor_log", lambda text: {"test_keys": {"tor_log": text}}),
    ("bridge_reachability", "obfsproxy_log", lambda text: {"test_keys": {"obfsproxy_log": text}}),
    ("bridge_reachability", "options", lambda text: {"options": ["-b", text]}),
    ("tcp_connect", "input", lambda text: {"input": text, "test_keys": {"connection": "success"}}),
    ("tcp_connect", "failure", lambda text: {"test_keys": {"connection": "x", "failure": text}}),
    ("tcp_connect", "options", lambda text: {"options": ["-f", text]}),
    ("vanilla_tor", "tor_log", lambda text: {"test_keys": {"tor_log": text}}),
    ("vanilla_tor", "error", lambda text: {"test_keys": {"error": text, "failure": text}}),
    ("vanilla_tor", "logs", lambda text: {"test_keys": {"logs": text}}),
    ("torsf", "logs", lambda text: {"test_keys": {"logs": text}}),
    ("torsf", "tor_logs", lambda text: {"test_keys": {"tor_logs": ["Oct 01 [notice] begin", text]}}),
    ("tor", "logs", lambda text: {"test_keys": {"logs": [text]}}),
)
#: Places where whatever looks like a bridge goes, whether the table knows it or not.
LOGS = ("tor_log", "obfsproxy_log", "tor_logs", "logs")

BRIDGE_LINES = (
    "{}", "obfs3 {}", "Bridge {}", "Bridge obfs3 {}", "{} {fp}", "obfs4 {} {fp} cert=AbC+/ iat-mode=0",
    "Bridge obfs4 {} {fp} cert=AbC+/ iat-mode=0", "{}\n", "Bridge obfs3 {} {fp}\n", "  obfs3\t{}  {fp}",
)  # fmt: skip
LOG_LINES = (
    "Oct 01 12:00:00.000 [notice] Learned fingerprint {fp} for bridge {} (with transport 'obfs4').",
    "Oct 01 12:00:00.000 [notice] new bridge descriptor 'x' (fresh): ${fp}~x at {}",
    "Oct 01 12:00:00.000 [warn] Problem bootstrapping. Stuck at 10%: host {fp} at {}.",
    "Oct 01 12:00:00.000 [warn] Proxy Client: unable to connect to {} (\"general SOCKS server failure\")",
    "[notice] Bridge 'x' has both an IPv4 and an IPv6 address.  Will prefer using its IPv4 address ({}).",
    "[info] Guard ${fp}=guard ({}) is up. RSA_ID={fp}",
    "2016-08-01 12:00:00,000 [ERROR] Connection to {} failed: refused",
)  # fmt: skip


def _lines(bridge: Bridge, name: str, *, known: bool) -> list[str]:
    """Whole lines as probes and tor write them. Where no table knows it, a site's address alone is none, and
    any address may stand in a failure."""
    in_text = name in LOGS or name in ("failure", "error")
    lines: tuple[str, ...] = LOG_LINES if in_text else BRIDGE_LINES
    if not known and not in_text and name != "bridge_address":
        lines = tuple(line for line in lines if "fp" in line)
    elif not known and name not in LOGS:
        lines = ()
    return [line.format(bridge.place, fp=bridge.fingerprint) for line in lines]


def _spelled(bridge: Bridge, name: str, *, known: bool, coded: bool) -> list[str]:
    """Each spelling of the address and the fingerprint: those in clear, or those in some code.

    A bridge that no table knows goes in clear from logs, and in code where the whole value is the bridge.
    """
    whole = name in ("input", "bridge_address")
    if not (known or whole or (name in LOGS and not coded)):
        return []
    addresses, fingerprints = address_spellings(bridge.address), fingerprint_spellings(bridge.fingerprint)
    beside = f" {bridge.fingerprint}" if whole and not known else ""
    texts = [f"obfs4 {text}{beside}" for one, text in addresses.items() if _is_coded(one) == coded]
    if known or name in LOGS:
        texts += [f"for {text}" for one, text in fingerprints.items() if _is_coded(one) == coded]
    return texts


def _is_coded(spelling: str) -> bool:
    return any(word in spelling for word in ("percent", "base64", "JSON"))


def _expected(planted: Planted) -> None:
    """What is in code or in no shape is in a report of its own: it may be held, the others must not be."""
    for known in (True, False):
        for version in (4, 6):
            for test_name, name, place in BRIDGE_PLACES:
                where = f"{'known' if known else 'unknown'} bridge in {test_name} {name}"
                bridge = planted.bridge(where, known=known, version=version)
                texts = _lines(bridge, name, known=known) + _spelled(bridge, name, known=known, coded=False)
                plain = f"obfs4 {bridge.place} {bridge.fingerprint}"
                planted.add(test_name, map(place, texts), *cut_short(test_name, plain))
                planted.add(test_name, map(place, _spelled(bridge, name, known=known, coded=True)))
                if known or name not in ("failure", "error"):
                    planted.add(test_name, map(place, broken(plain)))


def _elsewhere(planted: Planted) -> None:
    """A bridge that no table knows, where its entry's input says that it is one."""
    for version in (4, 6):
        bridge = planted.bridge("unknown bridge of the input, elsewhere", known=False, version=version)
        line = f"obfs4 {bridge.place} {bridge.fingerprint}"
        for test_name in ("bridge_reachability", "tcp_connect"):
            entries = [
                {"input": line, "test_keys": {"failure": f"x {text} y"}} for text in _spellings(bridge)
            ]
            planted.add(test_name, entries)


def _spellings(bridge: Bridge) -> list[str]:
    address, fingerprint = address_spellings(bridge.address), fingerprint_spellings(bridge.fingerprint)
    return [*address.values(), *fingerprint.values()]


def _in_yaml(planted: Planted) -> None:
    for known in (True, False):
        for test_name, title in (
            ("bridge_reachability", "Bridge Reachability"),
            ("tcp_connect", "TCP Connect"),
        ):
            where = f"{'known' if known else 'unknown'} bridge in {title} in YAML"
            bridge = planted.bridge(where, known=known)
            texts = _lines(bridge, "input", known=known)
            if known:
                texts += _spelled(bridge, "input", known=True, coded=False)
            log = "\n".join(line.format(bridge.place, fp=bridge.fingerprint) for line in LOG_LINES)
            in_bytes = BYTES + base64.b64encode(b"caf\xe9 " + log.encode()).decode()
            entries: list[Entry] = [{"input": text, "success": False} for text in texts]
            if test_name == "bridge_reachability":
                logs = {"input": None, "tor_log": log, "obfsproxy_log": log}
                entries.append({**logs, "bridge_address": bridge.place})
                entries.append({"input": None, "tor_log": in_bytes, "obfsproxy_log": [log, in_bytes]})
            entries += [{"input": value} for value in broken(texts[-1])]
            header = {"test_name": title, "options": ["-b", f"obfs4 {bridge.place} {bridge.fingerprint}"]}
            planted.add_yaml(test_name, header, entries, *cut_short_yaml(bridge.place))
            planted.add_yaml(
                test_name, {"test_name": f"{test_name}_test", "report": {"input": bridge.place}}, entries
            )


def _out_of_place(planted: Planted) -> None:
    """Where nobody expects a known bridge: whether such a report is held or cut is not said here."""
    places: dict[str, Place] = {
        "body": lambda text: {"test_keys": {"requests": [with_response(body=f"<p>{text}</p>")]}},
        "header": lambda text: {
            "test_keys": {"requests": [with_response(headers={"Location": f"http://{text}/"})]}
        },
        "key": lambda text: {"test_keys": {"tampering": {text: True}}},
        "answer": lambda text: {"test_keys": {"queries": [{"answers": [{"ipv4": text}], "hostname": text}]}},
        "annotation": lambda text: {"annotations": {"platform": text, "x": text}},
        "helper": lambda text: {"test_helpers": {"backend": text}},
        "top": lambda text: {"something": [text], text: None},
        "client id": lambda text: {"id": text, "report_id": text},
        "version": lambda text: {"software_version": text, "test_version": text},
        "country": lambda text: {"probe_cc": text, "probe_asn": text},
        "url": lambda text: {"input": f"http://{text}/"},
    }
    for name, place in places.items():
        bridge = planted.bridge(f"known bridge in {name}", known=True)
        for number, text in enumerate([bridge.place, *_spellings(bridge)]):
            if number < 3 or name in ("body", "key"):
                planted.add("web_connectivity", [place(text)])


def _tor_targets(planted: Planted) -> None:
    for known in (True, False):
        for version in (4, 6):
            where = f"{'known' if known else 'unknown'} bridge among tor's targets"
            bridge = planted.bridge(where, known=known, version=version)
            target = {
                "target_address": bridge.place, "target_protocol": "obfs4", "failure": "x",
                "network_events": [{"address": bridge.place, "operation": "connect"}],
                "tcp_connect": [{"ip": bridge.address, "port": 443}],
                "summary": {"connect": {"failure": f"dial tcp {bridge.place}: i/o timeout"}},
            }  # fmt: skip
            digest = base64.b16encode((bridge.place * 3)[:32].encode()).decode().lower()
            targets: list[Any] = [
                {digest: target},
                {bridge.place: target},
                [target],
                {"x": [target]},
                bridge.place,
            ]
            if known:
                targets += [
                    {digest: {**target, "target_address": text}}
                    for text in address_spellings(bridge.address).values()
                ]
            planted.add("tor", [{"test_keys": {"targets": one}} for one in targets])
