"""Names of reports and ids of measurements, against computations that share no code with ours."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import string
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooni_pipeline.normalise import normalise_entry
from ooni_pipeline.normalise.identity import generated_report_id
from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.report.entry import RawEntry
from ooni_pipeline.report.json_lines import loads
from ooni_pipeline.report.measurement_id import measurement_id
from ooni_pipeline.report.work import Job
from tests.normalise.entries import context, normalised

EPOCH = dt.datetime(1970, 1, 1)
#: reference/normalise.md, 3.5: vectors that were checked against the pipeline of 2016.
OF_NOTHING = "19700101T000000Z_KWnRnnxAmNrJfoqrTxAKhVDgGkiuSYfGDSecYaayqhcqlfOXCX"
OF_THE_UK = "19700101T000000Z_LLWQMcPHNefGtRNzxcgKlXlSjKmRuyyKLycBDGwNiNEbMztVzb"


def test_vectors_of_the_report_id() -> None:
    assert generated_report_id(EPOCH) == OF_NOTHING
    assert generated_report_id(EPOCH, probe_cc="UK", test_name="web_connectivity") == OF_THE_UK


@given(*[st.text()] * 4, st.datetimes(min_value=dt.datetime(1, 1, 1)))
def test_report_id_by_another_computation(
    cc: str, asn: str, name: str, version: str, at: dt.datetime
) -> None:
    digest = hashlib.sha512((cc + asn + name + version + "None").encode("utf-8", "surrogatepass")).digest()
    alphabet = string.ascii_lowercase + string.ascii_uppercase
    expected = at.isoformat()[:19].replace("-", "").replace(":", "") + "Z_"
    expected += "".join(alphabet[byte % 52] for byte in digest)[:50]
    assert generated_report_id(at, cc, asn, name, version) == expected


def test_report_id_is_made_from_the_names_as_submitted() -> None:
    header = {
        "start_time": 1378974600.25,
        "test_name": "HTTP Requests Test",
        "probe_cc": "in",
        "probe_asn": 5,
    }
    expected = generated_report_id(dt.datetime(2013, 9, 12, 8, 30), "in", "5", "HTTP Requests Test")
    assert normalised({"input": "a"}, header)["report_id"] == expected
    current = {"data_format_version": "0.2.0", "test_start_time": "2016-08-01 00:00:00", "test_name": "Title"}
    expected = generated_report_id(dt.datetime(2016, 8, 1), test_name="Title")
    assert normalised({**current, "report_id": None})["report_id"] == expected


def test_a_json_entry_without_a_report_id_has_that_of_its_reports_name() -> None:
    """The collector answered with it; what the entry says comes first, and a YAML header as before."""
    current = {"data_format_version": "0.2.0", "test_start_time": "2016-08-01 00:00:00", "test_name": "Title"}
    told = "20160801T000000Z_AS1_told"

    def report_id(said: dict[str, Any], header: dict[str, Any] | None = None) -> str:
        named = dataclasses.replace(context(header), named_id=told)
        entry = normalise_entry(RawEntry({**current, **said}, b"x", 0), named)
        return str(entry["report_id"])

    assert report_id({}) == report_id({"report_id": None}) == report_id({"report_id": ""}) == told
    assert report_id({"report_id": "its own"}) == "its own"
    assert report_id({}, {"start_time": 0.0, "report_id": None}).startswith("19700101T000000Z_")


def test_all_entries_of_a_yaml_report_get_the_same_report_id() -> None:
    header = {"test_name": "tcp_connect"}
    entries = (
        {"test_start_time": "2016-08-01 00:00:00"},
        {"test_start_time": "2016-08-01 00:00:09"},
        {"x": 1},
    )
    assert len({normalised(dict(entry), header)["report_id"] for entry in entries}) == 1


@pytest.mark.parametrize("report_id", [None, "", 7, [], {"a": 1}, False])
def test_what_is_no_report_id(report_id: Any) -> None:
    result = normalised({"data_format_version": "0.2.0", "report_id": report_id})
    assert isinstance(result["report_id"], str) and result["report_id"]
    assert result.get("client_report_id") == (report_id if report_id not in (None, "") else None)


def test_long_names_are_not_kept_in_memory() -> None:
    from ooni_pipeline.normalise.identity import _letters

    before = _letters.cache_info().currsize
    long = generated_report_id(EPOCH, test_name="x" * 1_000_000)
    assert _letters.cache_info().currsize == before
    assert long == generated_report_id(EPOCH, test_name="x" * 1_000_000)


def hmac_by_hand(key: bytes, message: bytes) -> bytes:
    """RFC 2104 with SHA-256, spelled out."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def test_measurement_id_of_a_json_line() -> None:
    line = b'{"test_name": "ndt", "input": null}'
    expected = str(uuid.UUID(bytes=hmac_by_hand(b"key", line)[:16]))
    assert measurement_id(b"key", b"", line) == expected
    assert measurement_id(b"key", b"", line) == measurement_id(b"key", b"", line)
    assert measurement_id(b"other", b"", line) != expected
    assert measurement_id(b"key", b"", line + b" ") != expected


def test_measurement_id_of_a_yaml_entry_covers_the_header() -> None:
    header, entry = b"probe_cc: IT\n", b"input: a\n"
    message = header + b"\n...\n---\n" + entry
    assert measurement_id(b"key", header, entry) == str(uuid.UUID(bytes=hmac_by_hand(b"key", message)[:16]))
    assert measurement_id(b"key", b"probe_cc: FR\n", entry) != measurement_id(b"key", header, entry)


def ids_of(directory: Path, name: str, content: bytes, key: bytes = b"key") -> list[str]:
    source, result = directory / name, directory / "normalised.json"
    source.write_bytes(content)
    job = Job("r", "2016-08-02", source, result, directory / "rejected", directory / "held")
    outcome = normalise_report(job, key=key)
    ids = [loads(line)["id"] for line in result.read_bytes().splitlines()]
    assert outcome.ids == b"".join(uuid.UUID(one).bytes for one in ids)
    return ids


def test_ids_through_the_stage(tmp_path: Path) -> None:
    line = b'{"data_format_version": "0.2.0", "id": "mine"}'
    expected = str(uuid.UUID(bytes=hmac.new(b"key", line, "sha256").digest()[:16]))
    assert ids_of(tmp_path, "a.json", line + b"\n") == [expected]
    assert ids_of(tmp_path, "b.json", line + b"\r\n") == [expected]
    assert ids_of(tmp_path, "c.json", line) == [expected]
    assert ids_of(tmp_path, "d.json", line + b"\n", b"another") != [expected]
    one = ids_of(tmp_path, "e.yaml", b"---\nprobe_cc: IT\n...\n---\ninput: a\n...\n---\ninput: b\n...\n")
    two = ids_of(tmp_path, "f.yaml", b"---\nprobe_cc: FR\n...\n---\ninput: a\n...\n---\ninput: b\n...\n")
    assert len({*one, *two}) == 4
    commented = b"# comment\n---\nprobe_cc: IT\n...\n---\ninput: a\n...\n...\n# x\n---\ninput: b\n...\n"
    assert ids_of(tmp_path, "g.yaml", commented) == one


def test_the_clients_own_id_is_kept_and_not_trusted() -> None:
    result = normalised({"data_format_version": "0.2.0", "id": "mine"})
    assert uuid.UUID(result["id"])
    assert result["client_id"] == "mine"
    assert result["report_filename"] == "2016-08-02/report.json"
    assert result["bucket_date"] == "2016-08-02"
