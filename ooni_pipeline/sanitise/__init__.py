"""What must not be public goes: bridges first of all, then what says who the volunteer is. Fails closed.

:data:`EVERY_ENTRY` and :data:`NETTESTS` are the visible lists of steps, one module each. A step takes the
entry (a dict that it changes) and the :class:`Cuts`, where it counts what it cuts and says what else must
go from the whole entry. After the steps every address of the volunteer that the report reveals, and every
address and fingerprint of a known bridge, is cut wherever it stands, and a last search makes sure of it:
an entry that still holds one is held back, never published. To add a step for another nettest, write its
module and its line in ``NETTESTS``; one for every entry goes to ``EVERY_ENTRY``, with a regular expression
that finds the lines that need it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.patterns import pattern
from ooni_pipeline.report.json_lines import dump_entry, loads
from ooni_pipeline.report.nettests import canonical_test_name
from ooni_pipeline.sanitise import (
    bridge_reachability,
    fields,
    headers,
    logs,
    own,
    probe_ip,
    tcp_connect,
    tor,
)
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.candidates import CODED, kind_of
from ooni_pipeline.sanitise.cuts import MARKER, SCRUBBED, Cuts, cut_everywhere
from ooni_pipeline.sanitise.expected import all_expected
from ooni_pipeline.sanitise.search import OwnAddresses, Secrets, after
from ooni_pipeline.sanitise.settings import Settings

#: Changes when the same entry would come out in another way; then buckets can be redone.
VERSION = "7"

Step = Callable[[dict[str, Any], Cuts], None]
Lines = Callable[[Settings], bytes]

#: Steps for entries of every nettest, and the lines that need them (as re2 understands it, in any case).
EVERY_ENTRY: tuple[tuple[Lines, Step], ...] = (
    (probe_ip.lines, probe_ip.withhold),
    (own.lines, own.withhold),
    (headers.lines, headers.scrub),
    (fields.lines, fields.sanitise),
    (logs.lines, logs.clean),
)

#: Steps for the entries of one nettest: canonical test_name -> step.
NETTESTS: dict[str, Step] = {
    "bridge_reachability": bridge_reachability.sanitise,
    "tcp_connect": tcp_connect.sanitise,
    "tor": tor.sanitise,
    "torsf": tor.clean,
    "vanilla_tor": tor.clean,
}
#: The lines that need one of these: by part of the name, however a probe wrote it, or by a key of theirs.
_NETTEST_LINES = rb'"test_name":"[^"]*(?:bridge|tcp|tor)|"bridge_address":[^n]'
#: A known leaker: it sent the volunteer's address and more in keys where nobody looks for them.
KNOWN_LEAKER = rb'"software_name":"ooniprobe-android","software_version":"2\.0\.0[-"]'


_leaker = pattern([KNOWN_LEAKER])


class MustBeHeld(Exception):  # noqa: N818 - a fact about a report, not a fault of ours
    """A person must look at the report before anybody else does."""

    def __init__(self, reason: RejectReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Sanitiser:
    """Sanitises entries with one bridge table: :meth:`of_report` for those of one report."""

    def __init__(self, table: BridgeTable, settings: Settings | None = None) -> None:
        self.table = table
        self.settings = settings or Settings()
        self.known = Secrets(table.addresses, table.fingerprints)
        steps = [(lines(self.settings), step) for lines, step in EVERY_ENTRY]
        self.steps = [(pattern([expression]), step) for expression, step in steps]
        """Each step for every entry, with the search for lines that need it."""
        revealing = [probe_ip.TO_WITHHOLD, own.revealing_lines(self.settings), KNOWN_LEAKER]
        self.reveals = pattern(revealing)
        """Where in a chunk of lines the next thing stands that may say who the volunteer is."""
        expressions = [one for one, _ in steps]
        self.static = pattern([*self.known.clear, *CODED, *expressions, _NETTEST_LINES, *revealing])

    def names_a_bridge(self, report: str) -> bool:
        """Whether a bridge of the table stands in the name of a report, which is published too."""
        return self.known.stand_in(report.encode())

    def is_of_a_known_leaker(self, line: bytes) -> bool:
        """Whether an entry says that a client wrote it of which no report may be published."""
        return _leaker(line, 0) is not None

    def of_report(self, own_addresses: Collection[str] = (), *, released: bool = False) -> ReportSanitiser:
        """For the entries of a report that reveals these addresses as the volunteer's own.

        ``released`` when a person has seen it: then nothing of it is held for what it names.
        """
        return ReportSanitiser(self, sorted(own_addresses), released)


class ReportSanitiser:
    """Sanitises the entries of one report. ``names_a_bridge`` once an entry named one of the table."""

    def __init__(self, sanitiser: Sanitiser, own_addresses: list[str], released: bool) -> None:
        self.names_a_bridge = False
        self._all = sanitiser
        self._released = released
        self._own_addresses = own_addresses
        self._own = OwnAddresses(own_addresses) if own_addresses else None
        self._searches: list[Callable[[bytes, int], int]] = [self._next]
        if self._own:
            self._searches.append(self._search_own([*self._own.clear, own.near_lines(own_addresses)]))

    def wanted(self, chunk: bytes) -> Iterator[tuple[int, int]]:
        """Where lines of a chunk begin and end that need a look: few do."""
        places = [search(chunk, 0) for search in self._searches]
        while (place := min(places)) < len(chunk):
            end = chunk.find(b"\n", place)
            end = len(chunk) if end < 0 else end
            yield chunk.rfind(b"\n", 0, place) + 1, end
            for number, search in enumerate(self._searches):
                if places[number] < end:
                    places[number] = search(chunk, end)

    def _next(self, chunk: bytes, start: int) -> int:
        """Where the next thing stands that needs a look; the end of the chunk when nothing does."""
        while place := self._all.static(chunk, start):
            kind = kind_of(chunk[place[0] : place[1]])
            if kind is None or self._all.known.at(chunk, *place, kind):
                return place[0]
            if self._own and self._own.coded_at(chunk, *place, kind):
                return place[0]
            start = after(*place)
        return len(chunk)

    @staticmethod
    def _search_own(expressions: list[bytes]) -> Callable[[bytes, int], int]:
        search = pattern(expressions)

        def following(chunk: bytes, start: int) -> int:
            place = search(chunk, start)
            return place[0] if place else len(chunk)

        return following

    def sanitise_line(self, line: bytes, counts: Counter[str]) -> bytes | None:
        """The publishable form of one serialised entry; None when it cannot be made and must be held.

        ``counts`` grows by what was cut, by rule; the entry says the same under ``sanitised``. Where
        nothing is cut the line is what it was. Raises MustBeHeld where the report as a whole must be
        held. An entry that makes this raise anything else must be held too.
        """
        entry, cuts = loads(line), Cuts(self._all.table, self._all.settings)
        cuts.by_rule.update(entry.pop("sanitised", {}))  # of probe_ip.withhold_in_lines
        for needs, step in self._all.steps:
            if needs(line, 0):
                step(entry, cuts)
        if special := _special(entry):
            special(entry, cuts)
        searches = self._secrets(entry, cuts)
        text, was_cut = _written(entry, cuts), False
        for rule, secrets, marker in searches:
            if secrets.stand_in(text) or (secrets.packed and b'"raw_packet"' in text):
                if secrets is self._all.known:
                    cuts.names_a_bridge = True
                    if not self._released and not all_expected(entry, secrets):
                        raise MustBeHeld(RejectReason.BRIDGE_ELSEWHERE)
                if count := cut_everywhere(entry, secrets, marker):
                    cuts.count(rule, count)
                    text = _written(entry, cuts)
                was_cut = True
        # The last search. Where nothing was cut, this very text has just been searched.
        if was_cut and _still_leaks(text, searches):
            return None
        self.names_a_bridge |= cuts.names_a_bridge
        counts.update(+cuts.by_rule)
        return text

    def _secrets(self, entry: dict[str, Any], cuts: Cuts) -> list[tuple[str, Secrets, str]]:
        """What must go from the whole entry: (rule, what, what stands in its place).

        Whether the table knows a bridge is not to be read from the rule.
        """
        searches: list[tuple[str, Secrets, str]] = []
        if self._own:
            searches.append(("own_address", self._own, SCRUBBED))
            if self._all.settings.near_resolvers and (near := own.near_resolvers(entry, self._own_addresses)):
                searches.append(("near_resolver", OwnAddresses(near), SCRUBBED))
        if hidden := cuts.hidden():
            searches.append(("bridge", hidden, MARKER))
        return [*searches, ("bridge", self._all.known, MARKER)]


def _still_leaks(text: bytes, searches: list[tuple[str, Secrets, str]]) -> bool:
    """The last search: whether anything that was to be cut stands in an entry as it would come out."""
    return any(secrets.stand_in(text) for _, secrets, _ in searches)


def _special(entry: dict[str, Any]) -> Step | None:
    """The step of the entry's nettest, by its name, or by a key that only one nettest has."""
    if step := NETTESTS.get(canonical_test_name(entry.get("test_name"))):
        return step
    test_keys = entry.get("test_keys")
    if isinstance(test_keys, dict) and test_keys.get("bridge_address") is not None:
        return NETTESTS["bridge_reachability"]
    return None


def _written(entry: dict[str, Any], cuts: Cuts) -> bytes:
    """The entry as a line, with the count of its cuts, if there are any."""
    if by_rule := +cuts.by_rule:
        entry["sanitised"] = dict(sorted(by_rule.items()))
    return dump_entry(entry)
