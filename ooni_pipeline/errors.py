"""Every error that this project raises on purpose, and every reason for which input is rejected.

The text of an error is for the operator at 04:00: it names the bucket, the report and the next
command. It never quotes what a report contains, because logs and the luigid page are not private.
"""

from __future__ import annotations

from enum import Enum


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
