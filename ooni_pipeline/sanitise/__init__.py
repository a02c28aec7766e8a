"""What must not be public goes: bridges first of all. Fails closed.

:data:`EVERY_ENTRY` and :data:`NETTESTS` are the visible lists of steps, one module each. A step takes the
entry (a dict that it changes) and the :class:`Cuts`, where it counts what it cuts and says what else must
go from the whole entry. After the steps every address and fingerprint of a known bridge is cut wherever
it stands, and a last search makes sure of it: an entry that still holds one is held back, never
published. To add a step for another nettest, write its module and its line in ``NETTESTS``; one for every
entry goes to ``EVERY_ENTRY``, with a regular expression that finds the lines that need it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.sanitise import bridge_reachability, fields, headers, probe_ip, tcp_connect, tor
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.cuts import Cuts, cut_everywhere
from ooni_pipeline.sanitise.search import Secrets, pattern
from ooni_pipeline.sanitise.settings import Settings

#: Changes when the same entry would come out in another way; then buckets can be redone.
VERSION = "5"

Step = Callable[[dict[str, Any], Cuts], None]
Lines = Callable[[Settings], bytes]

#: Steps for entries of every nettest, and the lines that need them (as re2 understands it, in any case).
EVERY_ENTRY: tuple[tuple[Lines, Step], ...] = (
    (probe_ip.lines, probe_ip.withhold),
    (headers.lines, headers.scrub),
    (fields.lines, fields.sanitise),
)

#: Steps for the entries of one nettest: canonical test_name -> step.
NETTESTS: dict[str, Step] = {
    "bridge_reachability": bridge_reachability.sanitise,
    "tcp_connect": tcp_connect.sanitise,
    "tor": tor.sanitise,
    "torsf": tor.clean,
    "vanilla_tor": tor.clean,
}


class Sanitiser:
    """Sanitises entries with one bridge table."""

    def __init__(self, table: BridgeTable, settings: Settings | None = None) -> None:
        self.table = table
        self.settings = settings or Settings()
        self._known = Secrets(table.addresses, table.fingerprints)
        names = b"|".join(name.encode() for name in NETTESTS)
        steps = [lines(self.settings) for lines, _ in EVERY_ENTRY]
        self.wants = pattern([*self._known.alternatives, *steps, b'"test_name":"(?:' + names + b')"'])
        """Where in a chunk of lines the next thing stands that needs a look, or None, as for most lines."""

    def names_a_bridge(self, report: str) -> bool:
        """Whether a bridge of the table stands in the name of a report, which is published too."""
        return self._known.stand_in(report.encode())

    def sanitise_line(self, line: bytes, counts: Counter[str]) -> bytes | None:
        """The publishable form of one serialised entry; None when it cannot be made and must be held.

        ``counts`` grows by what was cut, by rule; the entry says the same under ``sanitised``. Where
        nothing is cut the line is what it was. An entry that makes this raise must be held too.
        """
        entry, cuts = loads(line), Cuts(self.table, self.settings)
        for _, step in EVERY_ENTRY:
            step(entry, cuts)
        if special := NETTESTS.get(str(entry.get("test_name"))):
            special(entry, cuts)
        searches = {"known_bridge": self._known}
        if own := cuts.hidden():
            searches["unknown_bridge"] = own
        text, was_cut = _written(entry, cuts), False
        for rule, secrets in searches.items():
            if secrets.stand_in(text):
                cuts.count(rule, cut_everywhere(entry, secrets))
                text, was_cut = _written(entry, cuts), True
        # The last search. Where nothing was cut, this very text has just been searched.
        if was_cut and any(secrets.stand_in(text) for secrets in searches.values()):
            return None
        counts.update(+cuts.by_rule)
        return text


def _written(entry: dict[str, Any], cuts: Cuts) -> bytes:
    """The entry as a line, with the count of its cuts, if there are any."""
    if by_rule := +cuts.by_rule:
        entry["sanitised"] = dict(sorted(by_rule.items()))
    return dump_entry(entry)
