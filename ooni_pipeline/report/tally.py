"""The count of what became of every entry of a report: nothing vanishes unnamed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.errors import RejectReason


@dataclass
class Tally:
    """Entries of one report, or of one bucket, in one stage.

    ``taken`` = ``out`` + ``duplicate`` + ``held`` + ``excluded`` + ``withdrawn`` + all of ``rejected``.
    ``notes`` counts what happened to entries that went on (a cut by its rule, a NaN that became null):
    it is no part of the sum.
    """

    taken: int = 0
    out: int = 0
    duplicate: int = 0
    held: int = 0
    excluded: int = 0
    withdrawn: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def reject(self, reason: RejectReason, entries: int = 1) -> None:
        """Count entries that were taken and rejected for a reason."""
        self.taken += entries
        self.rejected[reason.value] += entries

    def missing(self) -> int:
        """How many entries are unaccounted for: 0 when the ledger adds up."""
        gone = self.duplicate + self.held + self.excluded + self.withdrawn + sum(self.rejected.values())
        return self.taken - self.out - gone

    def add(self, other: Tally) -> None:
        """Add the counts of another tally to this one."""
        for name in ("taken", "out", "duplicate", "held", "excluded", "withdrawn"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rejected.update(other.rejected)
        self.notes.update(other.notes)

    def as_dict(self) -> dict[str, Any]:
        """The counts that are not zero, as a manifest shows them."""
        counts: dict[str, Any] = {"taken": self.taken, "out": self.out}
        for name in ("duplicate", "held", "excluded", "withdrawn"):
            if getattr(self, name):
                counts[name] = getattr(self, name)
        for name in ("rejected", "notes"):
            if getattr(self, name):
                counts[name] = dict(sorted(getattr(self, name).items()))
        return counts

    @classmethod
    def from_dict(cls, counts: dict[str, Any]) -> Tally:
        """The tally that :meth:`as_dict` wrote."""
        tally = cls(rejected=Counter(counts.get("rejected", {})), notes=Counter(counts.get("notes", {})))
        for name in ("taken", "out", "duplicate", "held", "excluded", "withdrawn"):
            setattr(tally, name, counts.get(name, 0))
        return tally
