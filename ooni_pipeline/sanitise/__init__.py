"""What must not be public goes: bridges first of all. Fails closed.

:data:`NETTESTS` is the visible list of structural edits, one module a nettest. After them every address
and fingerprint of a known bridge is cut wherever it stands in the entry, and a last search makes sure of
it: an entry that still holds one is held back, never published. To add a step for another nettest, write
its module and its line here; to add one for every entry, put it into :meth:`Sanitiser._edit`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.sanitise import bridge_reachability, tcp_connect
from ooni_pipeline.sanitise.bridge_lines import MARKER
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.search import Secrets, pattern

#: Changes when the same entry would come out in another way; then buckets can be redone.
VERSION = "1"

Edit = Callable[[dict[str, Any], BridgeTable, "Counter[str]"], "Secrets | None"]

#: Structural edits: canonical test_name -> what is done to its entries.
NETTESTS: dict[str, Edit] = {
    "bridge_reachability": bridge_reachability.sanitise,
    "tcp_connect": tcp_connect.sanitise,
}

WITHHELD_IP = "127.0.0.1"


class Sanitiser:
    """Sanitises entries with one bridge table."""

    def __init__(self, table: BridgeTable) -> None:
        self.table = table
        bridges = table.bridges.values()
        self._known = Secrets([b.address for b in bridges], [b.fingerprint for b in bridges])
        names = b"|".join(name.encode() for name in NETTESTS)
        self.wants = pattern(
            [*self._known.alternatives(), b'"test_name":"(?:' + names + b')"', _other_than_withheld()]
        )
        """Where in a chunk of lines stands the next thing that needs a look, or -1: most lines have none."""

    def sanitise_line(self, line: bytes, cuts: Counter[str]) -> bytes | None:
        """The publishable form of one serialised entry; None when it cannot be made and must be held.

        ``cuts`` counts what was cut, by rule; the entry says the same under ``sanitised``.
        """
        own: Counter[str] = Counter()
        entry = loads(line)
        secrets = self._edit(entry, own)
        line, count = self._known.cut(dump_entry(entry), MARKER.encode())
        own["known_bridge"] += count
        if secrets:
            line, count = secrets.cut(line, MARKER.encode())
            own["unknown_bridge"] += count
        if +own:
            try:
                entry = loads(line)  # still JSON after the cuts
            except ValueError:
                return None
            entry["sanitised"] = dict(sorted((+own).items()))
            line = dump_entry(entry)
        if next(self._known.find(line), None):
            return None
        cuts.update(+own)
        return line

    def _edit(self, entry: dict[str, Any], cuts: Counter[str]) -> Secrets | None:
        if entry.get("probe_ip") not in (None, WITHHELD_IP):
            entry["probe_ip"] = WITHHELD_IP
            cuts["probe_ip"] += 1
        edit = NETTESTS.get(str(entry.get("test_name")))
        return edit(entry, self.table, cuts) if edit else None


def _other_than_withheld() -> bytes:
    """A regular expression for a probe_ip that is neither null nor the one that means withheld."""
    withheld = WITHHELD_IP.encode() + b'"'
    others = [
        withheld[:place].replace(b".", rb"\.") + b"[^" + withheld[place : place + 1] + b"]"
        for place in range(len(withheld))
    ]
    return b'"probe_ip":(?:[^"n]|"(?:' + b"|".join(others) + b"))"
