"""Every error that this project raises on purpose, and every reason for which input is rejected.

The text of an error is for the operator at 04:00: it names the bucket, the report and the next
command. It never quotes what a report contains, because logs and the luigid page are not private.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import islice


class PipelineError(Exception):
    """Something that stops a stage. One line, for the operator."""


class ConfigurationError(PipelineError):
    """An option of luigi.cfg is missing, mistyped or impossible; the text names it."""


class BucketError(PipelineError):
    """A bucket, its manifest or a file that the manifest names is missing or not what it says."""


class TransferError(PipelineError):
    """A file could not be moved between machines, or did not arrive as it was sent."""


class BridgeTableError(PipelineError):
    """The bridge table cannot be used, so nothing may be sanitised."""


class DatabaseError(PipelineError):
    """The database refuses, is not there, or has another schema than this code."""


class UnforeseenError(PipelineError):
    """Something that nobody raised on purpose: a fault of ours. The text is what :func:`told` says of it."""


#: So many steps of a traceback are told, and so many exceptions that led to another.
_STEPS, _CAUSES = 12, 4


def told(error: BaseException) -> str:
    """What may be shown of an exception to whoever sees a log, a mail or the luigid page, in one line.

    Of our own errors that is their text. Of any other it is the class, and for each step the module and
    the line, innermost first, then the same of what led to it: libraries quote what they choke on.
    """
    if isinstance(error, PipelineError):
        return str(error)
    chain = "; after ".join(_class_and_steps(one) for one in islice(_led_to(error), _CAUSES))
    return f"unforeseen {chain} (its text may quote a report, so it is not shown)"


def _led_to(error: BaseException) -> Iterator[BaseException]:
    """An exception, then those that led to it and that Python would print with it."""
    step: BaseException | None = error
    while step is not None:
        yield step
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)


def _class_and_steps(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    steps = []
    trace = error.__traceback__
    while trace is not None:
        steps.append(f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{name} at {' < '.join(steps[: -_STEPS - 1 : -1])}" if steps else name


class RejectReason(str, Enum):
    """Why an entry or a whole report could not be taken. The value is what ledgers and manifests show."""

    # of a report
    NAME_NOT_UNDERSTOOD = "name_not_understood"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    UNREADABLE = "unreadable"
    CHANGED_WHILE_COPIED = "changed_while_copied"
    EMPTY_REPORT = "empty_report"
    BAD_GZIP = "bad_gzip"
    BAD_HEADER = "bad_header"
    REPORT_TOO_LARGE = "report_too_large"
    KILLED_ITS_WORKER = "killed_its_worker"
    WITHDRAWN = "withdrawn"
    # of an entry
    NOT_YAML = "not_yaml"
    NOT_JSON = "not_json"
    NOT_A_MAPPING = "not_a_mapping"
    NULL_ENTRY = "null_entry"
    BLANK_LINE = "blank_line"
    TRUNCATED = "truncated"
    OUTSIDE_A_DOCUMENT = "outside_a_document"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_NODES = "too_many_nodes"
    UNSAFE_TAG = "unsafe_tag"
    CANNOT_BE_NORMALISED = "cannot_be_normalised"
    STILL_LEAKS = "still_leaks"
    # of a report, when it is sanitised
    BRIDGE_ELSEWHERE = "bridge_elsewhere"
    BRIDGE_IN_ITS_NAME = "bridge_in_its_name"
    ADDRESSES_BESIDE_BRIDGE = "addresses_beside_bridge"
    DROPPED_BY_A_PERSON = "dropped_by_a_person"
    KNOWN_LEAKER = "known_leaker"
    REFUSED_BY_DATABASE = "refused_by_database"
