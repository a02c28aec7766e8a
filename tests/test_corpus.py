"""The whole corpus of real reports through one night; and what comes out, beside the published examples.

The corpus lies beside the project and is no part of it (``tests/corpus_reports.py``).
"""

from __future__ import annotations

import fnmatch
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.errors import RejectReason
from tests.corpus_reports import CORPUS, MISSING, CorpusReport, corpus_reports, write_reports
from tests.tasks.conftest import Pipeline
from tests.write_golden_reports import process

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING)

PROBE_DOCS = "TheTorProject__ooni-probe/embedded/docs/source/tests/"
SPEC_FORMATS = "TheTorProject__ooni-spec/embedded/data-formats/"

#: Reports that do not give what the index counts: path -> (entries that go on, what is rejected, why).
EXCEPTIONS: dict[str, tuple[int, dict[str, int], str]] = {
    f"{PROBE_DOCS}psiphon.rst.0@b05f1f0f.yaml": (
        0,
        {"bad_header": 1},
        "cut from a page of documentation with its '::' before the report: whoever can write there could "
        "put a header of theirs before that of a probe",
    ),
    f"{SPEC_FORMATS}README.md.1.yaml": (
        0,
        {"bad_header": 1},
        "JSON with commas too many in the YAML listing of a page: no report",
    ),
    f"{SPEC_FORMATS}df-000-base.md.1.yaml": (
        0,
        {"bad_header": 1},
        "JSON with commas too many in the YAML listing of a page: no report",
    ),
    "ooni__spec/embedded/nettests/ts-041-ddr.md.2@a8065be3.json": (
        1,
        {"blank_line": 1},
        "a blank line before the entry, which is whole",
    ),
}


@pytest.fixture
def corpus_pipeline(tmp_path: Path, migrated_url: str) -> Iterator[Pipeline]:
    """A pipeline whose collector has received the corpus."""
    pipeline = Pipeline(tmp_path, migrated_url)
    pipeline.configure()
    yield pipeline


@pytest.mark.one_server
def test_a_night_over_the_corpus(corpus_pipeline: Pipeline) -> None:
    """Every entry is loaded or rejected for a named reason, and each file gives what the index counts."""
    pipeline = corpus_pipeline
    reports = write_reports(pipeline.archive)
    assert len({report.name for report in reports}) == len(reports)
    pipeline.nightly()
    ledger = pipeline.verb("ledger", pipeline.today)
    assert "adds up" in ledger
    assert f"{len(reports)} received" in ledger

    raw = {record.path: record for record in pipeline.manifest(Stage.RAW).reports}
    normalised = {record.report: record for record in pipeline.manifest(Stage.NORMALISED).reports}
    sanitised = pipeline.manifest(Stage.SANITISED).tally()
    assert sanitised.held == sanitised.missing() == 0
    rows = dict(pipeline.query("SELECT report_filename, count(*) FROM metrics GROUP BY 1"))

    wrong = {}
    for report in reports:
        received = raw[report.name]
        assert not received.rejected, f"{report.path}: {received.rejected}"
        if received.duplicate_of:  # two files of the corpus with the same bytes
            continue
        record = normalised[received.report]
        found = Counter(record.counts.rejected)
        found.update([record.rejected] if record.rejected else [])
        assert set(found) <= {reason.value for reason in RejectReason}
        told = (record.counts.out + record.counts.duplicate, dict(found))
        expected = EXCEPTIONS.get(report.path, (report.measurements, {}, ""))[:2]
        if told != expected:
            wrong[report.path] = (told, expected)
        assert record.counts.missing() == 0
        filename = f"{pipeline.today}/{received.report}.json"
        assert rows.pop(filename, 0) == record.counts.out, f"rows of {report.path}"
    assert wrong == {}, "found, expected"
    assert rows == {}
    assert set(EXCEPTIONS) <= {report.path for report in reports}


# What normalising makes of legacy reports, beside the examples that were published with the specification.

EXAMPLES = CORPUS / "TheTorProject__ooni-spec" / "schema-validator" / "test-specs"

#: Mappings whose keys are data: names of headers, addresses of resolvers.
OF_DATA = ("headers", "headers_diff", "errors", "annotations", "tampering", "test_helpers")

#: What differs, and why: nettest (``*``: any), pattern of the path, reason. ``-`` before a path: published
#: and not in ours; ``+``: in ours and not published; ``!``: another type. A reason is needed for each.
DIFFERENCES = (
    ("*", "+ .time_source", "ours: which source each time is from"),
    ("*", "- .annotations", "probes had none before JSON reports"),
    ("*", "[+-] .input_hashes[[][]]", "an empty list on one side"),
    ("*", "+ .options[[][]]", "an empty list on the other side"),
    ("*", "+ .measurement_start_time", "the example is older than the key"),
    ("*", "+ .test_keys.start_time", "an old time under its old name is kept beside the one worked out"),
    ("*", "+ .test_keys.test_started", "an old time under its old name is kept beside the one worked out"),
    ("*", "+ .test_keys.legacy_options", "the mapping that options were until 2013 is kept"),
    ("*", "+ .test_keys.legacy_test_name", "the Python method that ran in 2012, as the entry says"),
    ("*", "+ .test_keys.requests[[][]].re*.headers_list*", "ours: every header, in its order"),
    ("http_requests", "- .test_keys.headers_diff[[][]]", "an empty list on one side"),
    ("dns_consistency", "! .test_keys.control_resolver", "probes wrote [address, port], later address:port"),
    ("dns_consistency", "+ .test_keys.control_resolver[[][]]", "as before"),
    ("dns_consistency", "- .test_keys.failed[[][]]", "an empty list: no resolver failed"),
    ("dns_consistency", "+ .test_keys.successful[[][]]", "an empty list in the example"),
    ("dns_consistency", "+ .test_keys.queries[[][]].answers[[][]]*", "the examples have no answer"),
    ("dns_consistency", "+ .test_keys.test_resolvers*", "what the probe was told to ask"),
    ("http_header_field_manipulation", "- .test_keys.client_resolver", "added by later probes"),
    ("http_header_field_manipulation", "- .test_keys.failure", "added by later probes"),
    ("http_header_field_manipulation", "- .test_keys.requests[[][]].failure", "added by later probes"),
    ("http_header_field_manipulation", "- .test_keys.requests[[][]].response.response_line", "later"),
    ("http_invalid_request_line", "! .test_keys.received[[][]]", "a string, or base64 where it is no text"),
    ("http_invalid_request_line", "+ .test_keys.received[[][]].*", "a string, or base64 where it is no text"),
    ("multi_protocol_traceroute", "+ .test_keys.answered_packets[[][]]*", "the example has none"),
    ("multi_protocol_traceroute", "+ .test_keys.*hops*", "the example met no router; names hold ports"),
    ("multi_protocol_traceroute", "+ .test_keys.max_ttl", "settings that older probes reported"),
    ("multi_protocol_traceroute", "+ .test_keys.timeout", "settings that older probes reported"),
)  # fmt: skip

#: Not compared: its one legacy document is the skeleton of the specification, no output of a probe.
SKELETON = "web_connectivity"

Shape = dict[str, set[str]]
KINDS = {
    type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "list",
    dict: "object",
}  # fmt: skip


def add_shape(shape: Shape, value: object, at: str = "") -> None:
    """Take note of the JSON type at every path of a value; ``[]`` stands for all items of a list."""
    shape[at].add(KINDS[type(value)])
    if isinstance(value, dict) and at.rpartition(".")[2] not in OF_DATA:
        for key, part in value.items():
            add_shape(shape, part, f"{at}.{key}")
    elif isinstance(value, list):
        for part in value:
            add_shape(shape, part, f"{at}[]")


def differences(published: Shape, ours: Shape) -> Iterator[str]:
    """Where two shapes differ below what both have. null is no type: anything may be withheld."""
    for path in sorted(published.keys() | ours.keys()):
        above = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
        if path in published and path in ours:
            kinds = [shape[path] - {"null"} for shape in (published, ours)]
            if all(kinds) and kinds[0] != kinds[1]:
                yield f"! {path}"
        elif path in published and above in ours:
            yield f"- {path}"
        elif path in ours and above in published:
            yield f"+ {path}"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Shape, Shape]]:
    """The shapes of (published examples, normalised legacy entries) of each nettest that has both."""
    published: dict[str, Shape] = defaultdict(lambda: defaultdict(set))
    for path in sorted(EXAMPLES.glob("*.json")):
        example = json.loads(path.read_bytes())
        add_shape(published[example["test_name"]], example)
    ours: dict[str, Shape] = defaultdict(lambda: defaultdict(set))
    directory = tmp_path_factory.mktemp("corpus")
    for report in write_reports(directory):
        if report.format == "yaml":
            for line in process(directory / report.name).normalised.splitlines():
                entry = json.loads(line)
                add_shape(ours[entry["test_name"]], entry)
    return {name: (published[name], ours[name]) for name in published.keys() & ours.keys()}


def test_there_are_nettests_to_compare(shapes: dict[str, tuple[Shape, Shape]]) -> None:
    assert sorted(shapes) == [
        "dns_consistency", "http_header_field_manipulation", "http_invalid_request_line", "http_requests",
        "multi_protocol_traceroute", "tcp_connect", "web_connectivity",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "nettest",
    [
        "dns_consistency", "http_header_field_manipulation", "http_invalid_request_line", "http_requests",
        "multi_protocol_traceroute", "tcp_connect",
    ],
)  # fmt: skip
def test_legacy_entries_agree_with_published_examples(
    nettest: str, shapes: dict[str, tuple[Shape, Shape]]
) -> None:
    """The same names of keys and the same JSON types, but for what is listed with its reason."""
    known = [pattern for name, pattern, _ in DIFFERENCES if name in ("*", nettest)]
    unknown = [
        difference
        for difference in differences(*shapes[nettest])
        if not any(fnmatch.fnmatchcase(difference, pattern) for pattern in known)
    ]
    assert unknown == []


def test_every_listed_difference_is_one(shapes: dict[str, tuple[Shape, Shape]]) -> None:
    """A difference that is gone goes from the list too."""
    found = {name: list(differences(*shapes[name])) for name in shapes if name != SKELETON}
    unused = [
        (name, pattern)
        for name, pattern, _ in DIFFERENCES
        if not any(fnmatch.filter(found[nettest], pattern) for nettest in found if name in ("*", nettest))
    ]
    assert unused == []


def test_every_file_of_the_corpus_is_a_report() -> None:
    """But for the logs of what went over the wire, and under a name that says what it is."""
    reports: list[CorpusReport] = corpus_reports()
    lines = (CORPUS / "INDEX.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(reports) == len(lines) - sum("\twire-log\t" in line for line in lines)
    assert all(report.name.endswith(".yaml") == (report.format == "yaml") for report in reports)
