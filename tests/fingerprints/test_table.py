"""The shipped table is what the reference lists, and a slip in an edited one is named with its line."""

from __future__ import annotations

import pickle
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.fingerprints import FingerprintTable, load_fingerprints

BLOCKPAGES = "name,probe_cc,location,header,pattern,added,source,note\n"
VENDORS = "vendor,test_name,location,pattern,source,note\n"
GOOD_ROW = "ir_frame,IR,body,,%frame%,2016-02,a list,\n"
GOOD_VENDOR = "squid,http_invalid_request_line,received,%squid%,a list,\n"


def write(directory: Path, rows: str = GOOD_ROW, vendors: str = GOOD_VENDOR) -> Path:
    """A table's directory with these rows below the right first lines."""
    (directory / "blockpages.csv").write_text(BLOCKPAGES + rows, encoding="utf-8")
    (directory / "vendors.csv").write_text(VENDORS + vendors, encoding="utf-8")
    return directory


def load(directory: Path, rows: str = GOOD_ROW, vendors: str = GOOD_VENDOR) -> FingerprintTable:
    return load_fingerprints(write(directory, rows, vendors))


def test_shipped_table() -> None:
    table = load_fingerprints()
    countries = " ".join(sorted(row.probe_cc for row in table.blockpages))
    assert countries == "AE BE CN CY DK FR GB GF GR ID IN IR IT KR KR MY NO PT QA RO RU RU SA SD TR TR"
    assert sorted(row.location for row in table.blockpages) == ["body"] * 15 + ["failure"] + ["header"] * 10
    assert [rule.vendor for rule in table.vendors] == ["bluecoat", "privoxy", "squid"]
    assert all(row.source for row in table.blockpages)
    assert all(rule.source for rule in table.vendors)


def test_shipped_files_load_from_a_directory_too(tmp_path: Path) -> None:
    for name in ("blockpages.csv", "vendors.csv"):
        (tmp_path / name).write_bytes((files("ooni_pipeline.fingerprints") / "data" / name).read_bytes())
    assert load_fingerprints(tmp_path).version == load_fingerprints().version


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        ("x,IRN,body,,%a%,,s,\n", 2, "probe_cc"),
        ("x,ir,body,,%a%,,s,\n", 2, "probe_cc"),
        ("x,,body,,%a%,,s,\n", 2, "probe_cc: is empty"),
        ("x,UK,body,,%a%,,s,\n", 2, "write GB"),
        ("x,IR,body,,,,s,\n", 2, "pattern: is empty"),
        ("x,IR,body,,%_%,,s,\n", 2, "wildcards only"),
        ("x,IR,body,,a\\,,s,\n", 2, "escape"),
        ("x,IR,title,,%a%,,s,\n", 2, "location"),
        ("x,IR,body,Server,%a%,,s,\n", 2, "header: must be empty"),
        ("x,IR,header,,%a%,,s,\n", 2, "header: is empty"),
        ("x,IR,header,Ser ver,%a%,,s,\n", 2, "header"),
        ("x,IR,failure,,%a%,,s,\n", 2, "experiment_only"),
        ("X-1,IR,body,,%a%,,s,\n", 2, "name"),
        (",IR,body,,%a%,,s,\n", 2, "name: is empty"),
        ("x,IR,body,,%a%,May 2016,s,\n", 2, "added"),
        ("x,IR,body,,%a%,2016-13,s,\n", 2, "month"),
        ("x,IR,body,,%a%,2016-02-30,s,\n", 2, "day"),
        ("x,IR,body,,%a%,,,\n", 2, "source"),
        ("x,IR,body,,%a%,,s\n", 2, "7 cells, expected 8"),
        ("x,IR,body,,%a,b%,,s,\n", 2, "9 cells, expected 8"),
        ("x,IR, body,,%a%,,s,\n", 2, "spaces"),
        (GOOD_ROW + "\n" + 'x,IR,body,,"%a%,,s,\n', 4, "unexpected end"),
        (GOOD_ROW + 'y,IR,body,,"a\nb",,s,\nx,I,body,,%a%,,s,\n', 5, "probe_cc"),
        (GOOD_ROW + GOOD_ROW, 3, "ir_frame is given twice, first on line 2"),
        (
            GOOD_ROW + GOOD_ROW.replace("ir_frame", "other"),
            3,
            "rule of other is given twice, first on line 2",
        ),
        ("x,IR,header,Server,a,,s,\ny,IR,header,SERVER,a,,s,\n", 3, "given twice"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, rows: str, line: int, said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"blockpages\.csv line {line}: .*{said}"):
        load(tmp_path, rows)


@pytest.mark.parametrize(
    ("vendors", "line", "said"),
    [
        ("Blue Coat,http_invalid_request_line,received,%a%,s,\n", 2, "vendor"),
        ("squid,HTTP Invalid,received,%a%,s,\n", 2, "test_name"),
        ("squid,http_invalid_request_line,sent,%a%,s,\n", 2, "location"),
        ("squid,http_invalid_request_line,received,,s,\n", 2, "pattern: is empty"),
        ("squid,http_invalid_request_line,received,%a%,,\n", 2, "source"),
        (GOOD_VENDOR + GOOD_VENDOR.replace("squid,", "other,"), 3, "rule of other is given twice"),
    ],
)
def test_a_bad_vendor_is_named(tmp_path: Path, vendors: str, line: int, said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"vendors\.csv line {line}: .*{said}"):
        load(tmp_path, vendors=vendors)


@pytest.mark.parametrize(
    ("first_line", "said"),
    [
        (BLOCKPAGES.replace("note", "asn"), "unknown column 'asn'"),
        (BLOCKPAGES.replace(",note", ""), "column 'note' is missing"),
        (BLOCKPAGES.replace("note", "name"), "column 'note' is missing"),
        (BLOCKPAGES.strip() + ",note\n", "given twice"),
        ("", "'name' is missing"),
    ],
)
def test_bad_columns_are_named(tmp_path: Path, first_line: str, said: str) -> None:
    (write(tmp_path) / "blockpages.csv").write_text(first_line + GOOD_ROW if first_line else "")
    with pytest.raises(ConfigurationError, match=rf"blockpages\.csv line 1: .*{said}"):
        load_fingerprints(tmp_path)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    rows = (BLOCKPAGES + GOOD_ROW + "x,TR,body,,%İnternet%,,s,\n").encode("iso8859-9")
    (write(tmp_path) / "blockpages.csv").write_bytes(rows)
    with pytest.raises(ConfigurationError, match=r"blockpages\.csv line 3: is not UTF-8"):
        load_fingerprints(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "vendors.csv").unlink()
    with pytest.raises(ConfigurationError, match=r"vendors\.csv cannot be read: No such file"):
        load_fingerprints(tmp_path)


def test_spreadsheets_are_forgiven(tmp_path: Path) -> None:
    """A byte order mark, CR LF, blank lines and columns in another order mean the same table."""
    version = load(tmp_path).version
    content = "pattern,name,probe_cc,location,header,added,source,note\n\n%frame%,ir_frame,IR,body,,,x,y\n\n"
    (tmp_path / "blockpages.csv").write_bytes(b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode())
    assert load_fingerprints(tmp_path).version == version


def test_version_follows_what_decides_a_match_only(tmp_path: Path) -> None:
    other = "ru_page,RU,header,Location,http://a%,,a list,\n"
    version = load(tmp_path, GOOD_ROW + other).version
    same = [other + GOOD_ROW, GOOD_ROW + other.replace("a list,", "elsewhere,a note").replace("Loc", "loc")]
    assert {load(tmp_path, rows).version for rows in same} == {version}
    changed = [
        GOOD_ROW,
        GOOD_ROW + other.replace("ru_page", "ru_other"),
        GOOD_ROW + other.replace("RU", "BY"),
        GOOD_ROW + other.replace("Location", "Server"),
        GOOD_ROW + other.replace("http://a%", "http://a"),
        GOOD_ROW + other.replace("header,Location", "body,"),
    ]
    versions = {load(tmp_path, rows).version for rows in changed}
    versions.add(load(tmp_path, GOOD_ROW + other, GOOD_VENDOR.replace("%squid%", "%Squid%")).version)
    assert len(versions) == len(changed) + 1
    assert version not in versions
    assert len(version) == 16
    assert int(version, 16) >= 0


def test_can_be_sent_to_another_process() -> None:
    table = load_fingerprints()
    copy = pickle.loads(pickle.dumps(table))  # noqa: S301 (our own bytes)
    entry = {"test_name": "http_requests", "probe_cc": "IT", "test_keys": {}}
    entry["test_keys"] = {"requests": [{"response": {"body": "GdF Stop Page"}}]}
    assert copy.version == table.version
    assert copy.match_blockpages(entry) == table.match_blockpages(entry) == ("it_gdf_stop_page",)


def test_an_empty_table_matches_nothing(tmp_path: Path) -> None:
    table = load(tmp_path, "", "")
    assert table.countries == table.vendor_tests == frozenset()
    shutil.rmtree(tmp_path)  # nothing is read again after loading
    assert table.match_blockpages({"test_name": "http_requests", "probe_cc": "IR"}) == ()
    assert table.match_vendors({"test_name": "http_invalid_request_line"}) == ()
