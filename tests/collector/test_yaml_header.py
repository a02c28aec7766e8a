"""The header of an archived YAML report: what the client said, completed by what the request said."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooni_pipeline.collector.header import ReportHeader, new_report_id, read_side_file
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.refusals import HeaderTextError
from ooni_pipeline.collector.yaml_header import MAX_HEADER_BYTES, as_archived
from ooni_pipeline.report.yaml_documents import split_documents
from ooni_pipeline.report.yaml_reports import read_header
from tests.collector.reports import header, opened, run
from tests.corpus_reports import CORPUS, MISSING

ID = f"20161121T210040Z_AS0_{'a' * 50}"
GENUINE = CORPUS / "genuine-clients"


def said(content: str | None, **fields: Any) -> dict[str, Any]:
    """The header that the pipeline reads."""
    document = as_archived(header("yaml", content=content, **fields), ID).content
    assert document is not None
    assert document.isascii()
    value = read_header(split_documents(io.BytesIO(document.encode())), lambda: None).value
    assert isinstance(value, dict)
    return value


def test_without_a_text_it_is_the_request() -> None:
    for nothing in (None, ""):
        assert said(nothing, input_hashes=("ab", "cd")) == {
            "data_format_version": "0.1.0",
            "input_hashes": ["ab", "cd"],
            "probe_asn": "AS64496",
            "probe_cc": "FR",
            "report_id": ID,
            "software_name": "ooniprobe",
            "software_version": "2.3.0",
            "test_name": "web_connectivity",
            "test_start_time": "2016-08-01 12:00:00",
            "test_version": "0.1.0",
        }


def test_what_the_client_said_is_kept_and_nulls_are_filled() -> None:
    value = said(
        "---\nprobe_cc: DE\nprobe_city: null\nreport_id: null\nstart_time: 1470000000.5\nown: [1, {a: é}]\n"
        "test_start_time: 2015-01-01 00:00:00\nb: !!binary AAEC\nc: 1e5\nd: '1'\ne: 2016-01-01\n...\n"
    )
    assert (value["probe_cc"], value["report_id"], value["test_start_time"]) == (
        "DE",
        ID,
        "2015-01-01 00:00:00",
    )
    assert (value["probe_city"], value["start_time"], value["own"]) == (None, 1470000000.5, [1, {"a": "é"}])
    assert (value["b"], value["c"], value["d"], value["e"]) == (b"\0\1\2", "1e5", "1", "2016-01-01")
    assert said("{report_id: theirs}")["report_id"] == "theirs"


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(5)
)


@pytest.mark.parametrize(
    "text",
    ["- a", "a text", "7", "---\n...\n", "null", "{}", "a: [1", "a: !!python/object:os.system x", "\ud800: 1",
     "---\na: 1\n...\n---\nb: 1\n...\n", "a: 1\n---\nb: 2\n", "input: x\na: 1", "a: *b", LAUGHS,
     "a: " + "[" * 80 + "]" * 80, "a: " + "[" * 5000 + "]" * 5000, f"a: {'x' * MAX_HEADER_BYTES}",
     "a: [" + "1, " * 20_001 + "]"],
    ids=range(18),
)  # fmt: skip
def test_a_text_that_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(HeaderTextError) as refused:
        said(text)
    assert not re.search(r"[\[\]&*]|python|os\.system", str(refused.value))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=8), _VALUES, min_size=1, max_size=6))
def test_a_header_is_kept_as_it_is_or_refused(value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=True)
    try:
        kept = said(text)
    except HeaderTextError:
        return
    first = read_header(split_documents(io.BytesIO(f"---\n{text}\n...\n".encode())), lambda: None).value
    assert {key: kept[key] for key in first if first[key] is not None} == {
        key: one for key, one in first.items() if one is not None
    }


@given(st.text(max_size=30), st.lists(st.text(max_size=9), max_size=3), st.none() | st.text(max_size=30))
def test_a_side_file_gives_the_header_back(text: str, hashes: list[str], content: str | None) -> None:
    one = header("yaml", test_name=text, input_hashes=tuple(hashes), content=content)
    assert read_side_file(one.as_side_file(ID), ID) == one


def test_ids_are_long_and_never_the_same() -> None:
    ids = {new_report_id(header("json"), 1_479_762_040.9) for _ in range(100)}
    assert len(ids) == 100
    for one in ids:
        assert re.fullmatch(r"20161121T210040Z_AS64496_[A-Za-z0-9]{50}", one)
    assert set("".join(one.split("_")[2] for one in ids)) >= set("azAZ09")


def created(log: Path) -> dict[str, ReportHeader]:
    """The create requests of a wire log, as headers, by the genuine id."""
    found = {}
    for request, reply in re.findall(r"(?m)^>> POST /report \{.*\n(.*)\n<< 200 .*\n(.*)", log.read_text()):
        report_id = json.loads(reply)["report_id"]
        now = re.sub(r"(....)(..)(..)T(..)(..)(..)Z.*", r"\1-\2-\3 \4:\5:\6", report_id)
        fields = {
            "probe_cc": "ZZ", "data_format_version": "0.1.0", "test_start_time": now, "format": "yaml",
            **json.loads(request),
        }  # fmt: skip
        found[report_id] = ReportHeader(**fields | {"input_hashes": tuple(fields["input_hashes"])})
    return found


@pytest.mark.skipif(not GENUINE.is_dir(), reason=MISSING)
@pytest.mark.parametrize("client", ["ooniprobe-1.3.2-a", "ooniprobe-2.3.0"])
def test_what_genuine_clients_sent_is_archived_as_the_genuine_collector_did(
    tmp_path: Path, client: str
) -> None:
    layout = CollectorLayout(tmp_path)
    headers = created(GENUINE / f"wire-{client}.log")
    assert headers

    async def through(one: ReportHeader, entries: list[bytes]) -> tuple[str, Path]:
        reception = await opened(layout)
        report_id = await reception.create(one)
        for entry in entries:
            await reception.append(report_id, entry)
        assert await reception.close(report_id)
        await reception.shut()
        (path,) = (path for path in layout.archive.iterdir() if report_id in path.name)
        return report_id, path

    compared = 0
    for theirs in (GENUINE / client).iterdir():
        genuine, stored = theirs.name.split("-")[2], theirs.read_bytes()
        if theirs.suffix == ".yaml":  # the log is cut, and the genuine collector appends texts as they come
            entries = re.findall(rb"(?ms)^---\n.*?^\.\.\.\n", stored)[1:]
        else:
            entries = stored.splitlines()
        report_id, path = run(through(headers[genuine], entries))
        name = theirs.name.replace(genuine, report_id).replace("Z-", "-", 1)
        assert path.name == name.replace("-0.2.0.yaml", "-0.1.0.yaml")
        content = path.read_bytes()
        if theirs.suffix == ".yaml":
            content = content.replace(f"report_id: {report_id}\n".encode(), b"report_id: null\n", 1)
        assert content == stored
        compared += len(entries)
    assert compared > 1
