"""An entry of any age becomes an entry in the current format.

:data:`LEGACY` and :data:`CURRENT` are the visible lists of steps, in the order in which they run. A step
takes the entry (a dict that it changes) and the :class:`Source` it came from. What is particular to one
family of nettests is one module, named in :data:`FAMILIES`; to teach the pipeline a new nettest, write
that module, add its line there, and add a folder below ``tests/fixtures/reports/``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ooni_pipeline.normalise import base, claims, http, identity, nesting, times, values
from ooni_pipeline.normalise.source import ReportContext, Source
from ooni_pipeline.report.entry import RawEntry

#: Changes when the same raw report would give another normalised one; then buckets can be redone.
VERSION = "2"

Entry = dict[str, Any]
Step = Callable[[Entry, Source], None]

#: What is particular to a family: canonical test_name -> step over an entry that is otherwise done.
#: (tcp_connect has nothing particular: ``test_keys.connection`` was the same in every version.)
FAMILIES: dict[str, Step] = {
    "http_requests": http.normalise,
    "web_connectivity": http.normalise,
}


def normalise_family(entry: Entry, source: Source) -> None:
    """What is particular to the family of the entry's nettest; nothing for one that has no line above."""
    step = FAMILIES.get(entry["test_name"])
    if step:
        step(entry, source)


#: The steps for an entry without data_format_version, or below 0.2.0.
LEGACY: tuple[Step, ...] = (
    values.binary_to_text,
    nesting.lift_report,
    claims.keep_apart,
    base.name_the_nettest,
    base.describe_the_probe,
    times.place_in_time,
    identity.name_the_report,
    identity.identify,
    nesting.flatten_options,
    base.tidy_texts,
    nesting.nest_test_keys,
    normalise_family,
    base.declare_current,
)

#: The steps for an entry of format 0.2.0 or newer: it passes through, what it says stays as it is.
CURRENT: tuple[Step, ...] = (
    values.binary_to_text,
    claims.keep_apart,
    base.name_the_nettest,
    base.describe_the_probe,
    times.complete_times,
    identity.name_the_report,
    identity.identify,
    nesting.nest_where_test_keys_are_missing,
)


def normalise_entry(raw: RawEntry, report: ReportContext) -> Entry:
    """The normalised form of one entry: the 22 base keys in their order, then what newer formats add.

    Pure: the same bytes in the same report give the same entry for ever. The parsed values of ``raw``
    may be changed in place, those of the header are only ever turned from bytes into text. No entry
    that the reader gives makes it raise; a caller that keeps going whatever happens rejects those that
    do (ValueError, TypeError and the like).
    """
    source = Source(raw, report)
    entry = source.merged()
    for step in LEGACY if base.is_legacy(entry) else CURRENT:
        step(entry, source)
    return base.arranged(entry)
