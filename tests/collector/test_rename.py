"""Each line of the rules of renaming, and each trap."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ooni_pipeline.bucket import files
from ooni_pipeline.collector import archived
from ooni_pipeline.collector import rename as rename_module
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.outgoing_name import SetAside, outgoing_name
from ooni_pipeline.collector.rename import is_done
from ooni_pipeline.collector.renames import RenamesProof, proof_path
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.names import format_report_name, parse_report_name
from tests.collector.archives import (
    DATE,
    ENTRY,
    IN_TIME,
    NAME,
    NOW,
    SAID,
    TOO_LATE,
    became,
    json_report,
    put,
    rename,
    there,
    yaml_report,
)  # fmt: skip


@pytest.fixture
def layout(tmp_path: Path) -> CollectorLayout:
    made = CollectorLayout(tmp_path / "bouncer")
    made.archive.mkdir(parents=True)
    return made


def renamed(layout: CollectorLayout, content: bytes, name: str = "x.json") -> str:
    """The name that one report gets."""
    put(layout, name, content)
    rename(layout)
    (only,) = there(layout.renamed)
    return only


#: What the header says, and what of the name that gives: time, nettest, id, network, country, version.
NAMED: dict[str, tuple[dict[str, object], str]] = {
    "time as text": ({}, "20160731T210134-"),
    "time with a T and a Z": ({"test_start_time": "2016-07-31T21:01:34Z"}, "20160731T210134-"),
    "time as a number": ({"test_start_time": 1469998894.5}, "20160731T210134-"),
    "start_time is seconds, UTC": ({"test_start_time": ..., "start_time": 1469998894.0}, "20160731T210134-"),
    "no time in test_start_time": ({"test_start_time": "??", "start_time": 1469998894}, "20160731T210134-"),
    "nettest of old": ({"test_name": "HTTP Host"}, "-http_host-"),
    "dns tamper": ({"test_name": "DNS tamper"}, "-dns_consistency-"),
    "traceroute": ({"test_name": "traceroute"}, "-multi_protocol_traceroute-"),
    "capitalization": (
        {"test_name": "test_put_random_capitalization"},
        "-http_header_field_manipulation-",
    ),
    "unknown nettest": ({"test_name": "some_new_test"}, "-some_new_test-"),
    "spaces in the nettest": ({"test_name": "-t e"}, "-t_e-"),
    "slashes in the nettest": ({"test_name": "../../etc/passwd"}, "-etc_passwd-"),
    "hyphens of the id go": ({"report_id": "2016-07-31T210134Z_A"}, "-20160731T210134Z_A-"),
    "no id": ({"report_id": None}, "-no_report_id-"),
    "empty id": ({"report_id": ""}, "-no_report_id-"),
    "an id that is a path": ({"report_id": "../../x\0y"}, "-.._.._x_y-"),
    "no network": ({"probe_asn": None}, "-AS0-ES-"),
    "network in small letters": ({"probe_asn": "as3352"}, "-AS3352-ES-"),
    "network as a number": ({"probe_asn": 3352}, "-AS3352-ES-"),
    "no country": ({"probe_cc": None}, "-AS3352-ZZ-probe-"),
    "country left out": ({"probe_cc": ...}, "-AS3352-ZZ-probe-"),
    "country in small letters": ({"probe_cc": "es"}, "-AS3352-ES-probe-"),
    "country of the archiver": ({"probe_cc": "??"}, "-AS3352-ZZ-probe-"),
    "no version": ({"data_format_version": ...}, "-probe-0.1.0.json"),
    "a version of rubbish": ({"data_format_version": "a/b"}, "-probe-0.1.0.json"),
    "a version as a number": ({"data_format_version": 0.2}, "-probe-0.2.json"),
}


@pytest.mark.parametrize("case", NAMED)
def test_the_name_is_what_the_header_says(layout: CollectorLayout, case: str) -> None:
    said, part = NAMED[case]
    name = renamed(layout, json_report(**said))
    assert part in name or name.startswith(part)
    assert parse_report_name(name).extension == "json"
    assert not there(layout.archive) and not there(layout.errored)


def test_a_whole_name(layout: CollectorLayout) -> None:
    assert renamed(layout, json_report()) == NAME


@pytest.mark.parametrize("name", ["x.yaml", "IT/http_host-2013-05-01T101112Z-AS1-probe.yamloo", "x.1.yamloo"])
def test_yaml_and_yamloo_of_any_directory_become_yaml(layout: CollectorLayout, name: str) -> None:
    assert renamed(layout, yaml_report(), name) == NAME.replace(".json", ".yaml")
    assert became(layout) == {name: f"renamed/{NAME.replace('.json', '.yaml')}"}


def test_what_our_collector_was_told_at_first_counts_where_the_entries_do_not_say_it(
    layout: CollectorLayout,
) -> None:
    """A client need not repeat in its entries what it said when it made the report."""
    own = "20160731T210135-web_connectivity-20160731T210135Z_AS3352_told-AS3352-ES-probe-0.2.0.json"
    assert renamed(layout, b'{"input": "http://a.example/"}\n', own) == own


def test_the_names_of_the_genuine_collector_say_nothing(layout: CollectorLayout) -> None:
    name = "20160731T210135Z-web_connectivity-20160731T210135Z_AS3352_told-AS3352-ES-probe-0.2.0.json"
    put(layout, name, json_report(test_start_time=...))
    put(layout, f"a/{name}", json_report(report_id=None, probe_cc=None, probe_asn=None))
    assert rename(layout).reasons == {"no_time": 1}
    (found,) = there(layout.renamed)
    assert found == "20160731T210134-web_connectivity-no_report_id-AS0-ZZ-probe-0.2.0.json"


def test_what_the_entries_say_counts_before_that(layout: CollectorLayout) -> None:
    own = "20160731T210135-http_requests-20160731T210135Z_AS0_told-AS0-ZZ-probe-0.1.0.json"
    assert renamed(layout, json_report(), own) == NAME


@pytest.mark.parametrize("name", ["x.json.gz", "x.yaml.gz", "x.yamloo.gz"])
def test_a_compressed_report_stays_compressed_and_says_so(layout: CollectorLayout, name: str) -> None:
    content = gzip.compress(json_report() if "json" in name else yaml_report())
    ending = ".json.gz" if "json" in name else ".yaml.gz"
    assert renamed(layout, content, name) == NAME.replace(".json", ending)
    assert parse_report_name(there(layout.renamed)[0]).compressed


SET_ASIDE = {
    "a YAML header alone": ("a.yaml", yaml_report(entries=""), "empty", "header_alone"),
    "nothing": ("a.json", b"", "empty", "empty_report"),
    "nothing in YAML": ("a.yamloo", b"", "empty", "empty_report"),
    "nothing, compressed": ("a.json.gz", gzip.compress(b""), "empty", "empty_report"),
    "blank lines": ("a.json", b"\n\n  \n", "empty", "no_entry"),
    "a nettest that says nothing": ("a.json", json_report(test_name="summary"), "invalid", "no_nettest"),
    "test_get": ("a.yaml", yaml_report(test_name="test_get"), "invalid", "no_nettest"),
    "test_post": ("a.yaml", yaml_report(test_name="test_post"), "invalid", "no_nettest"),
    "test_put": ("a.yaml", yaml_report(test_name="test_put"), "invalid", "no_nettest"),
    "test_send_host_header": (
        "a.yaml", yaml_report(test_name="test_send_host_header"), "invalid", "no_nettest",
    ),
    "no nettest": ("a.json", json_report(test_name=...), "invalid", "no_nettest"),
    "no time": ("a.json", json_report(test_start_time=...), "failed", "no_time"),
    "a time that is none": ("a.json", json_report(test_start_time="yesterday"), "failed", "no_time"),
    "no JSON": ("a.json", b"<html>\n", "failed", "not_json"),
    "a list": ("a.json", b"[1, 2]\n", "failed", "not_a_mapping"),
    "no end": ("a.json", json_report()[:-20], "failed", "truncated"),
    "NUL": ("a.json", b"\0" * 100, "failed", "truncated"),
    "no header": ("a.yaml", ENTRY.encode(), "failed", "bad_header"),
    "no YAML": ("a.yaml", b"---\n{[\n...\n", "failed", "bad_header"),
    "an object": ("a.yaml", b"---\n!!python/object/apply:os.system [id]\n...\n", "failed", "bad_header"),
    "no gzip": ("a.json.gz", json_report(), "failed", "bad_gzip"),
    "a broken gzip": ("a.json.gz", gzip.compress(json_report())[:30], "failed", "bad_gzip"),
    "a name that no report may have": (
        "a.json", json_report(test_name="backend"), "failed", "name_not_understood",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SET_ASIDE)
def test_what_gets_no_name_is_set_aside_under_its_old_one(layout: CollectorLayout, case: str) -> None:
    name, content, kind, why = SET_ASIDE[case]
    put(layout, f"DE/{name}", content)
    put(layout, "good.json", json_report())
    done = rename(layout)
    assert there(layout.renamed) == [NAME]
    assert there(layout.errored) == [f"{kind}/{name}"]
    assert (layout.errored / kind / name).read_bytes() == content
    assert done.files == {"renamed": 1, kind: 1} == done.proof.files
    assert done.reasons == {why: 1} == done.proof.reasons
    assert not done.unforeseen


def test_a_report_of_empty_entries_goes_to_the_pipeline_which_counts_them(layout: CollectorLayout) -> None:
    """What ooniprobe 1.3.2 uploads again is such a report (collector.md 1.4)."""
    assert renamed(layout, yaml_report(entries="---\n...\n" * 3), "x.yaml")


def test_a_bad_first_line_costs_itself_alone(layout: CollectorLayout) -> None:
    assert renamed(layout, b"\n{torn\n" + json_report()) == NAME


def test_hostile_yaml_is_read_within_bounds(layout: CollectorLayout) -> None:
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(12))
    deep = "[" * 100_000
    for number, text in enumerate((bomb, deep, f"a: {deep}")):
        put(layout, f"{number}.yaml", f"---\n{text}\n...\n{ENTRY}".encode())
    assert rename(layout).files == {"failed": 3}


def test_what_is_no_regular_file_is_set_aside_as_it_is(layout: CollectorLayout, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(json_report())
    mode = secret.stat().st_mode
    at = (IN_TIME, IN_TIME)
    (layout.archive / "link.json").symlink_to(secret)
    os.utime(layout.archive / "link.json", at, follow_symlinks=False)
    (layout.archive / "nowhere.yaml").symlink_to("/nonexistent")
    os.utime(layout.archive / "nowhere.yaml", at, follow_symlinks=False)
    os.mkfifo(layout.archive / "fifo.json")
    os.utime(layout.archive / "fifo.json", at)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(layout.archive / "socket.json"))
    os.utime(layout.archive / "socket.json", at)
    assert rename(layout).reasons == {"not_a_regular_file": 4}
    failed = layout.errored_for("failed")
    assert there(failed) == ["fifo.json", "link.json", "nowhere.yaml", "socket.json"]
    assert (failed / "link.json").is_symlink() and secret.read_bytes() == json_report()
    assert secret.stat().st_mode == mode


def test_links_to_directories_are_not_followed_and_are_told(layout: CollectorLayout, tmp_path: Path) -> None:
    outside = CollectorLayout(tmp_path / "outside")
    put(outside, "x.json", json_report())
    (layout.archive / "out").symlink_to(outside.archive)
    assert rename(layout).proof.other == 1
    assert there(outside.archive) == ["x.json"] and there(layout.archive) == ["out"]


def test_directories_of_any_depth_end_somewhere(layout: CollectorLayout) -> None:
    put(layout, "/".join("d" * (archived.DEEPEST - 1)) + "/a.json", json_report())
    put(layout, "/".join("e" * (archived.DEEPEST + 50)) + "/b.json", json_report())
    done = rename(layout)
    assert done.files == {"renamed": 1} and done.proof.other == 1


def test_a_file_of_bad_lines_is_not_read_for_ever(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archived, "MAX_ENTRY_BYTES", 1000)
    put(layout, "a.json", b"bad\n" * 1000 + json_report())
    put(layout, "b.json", b"bad\n" * 10 + json_report())
    done = rename(layout)
    assert done.files == {"renamed": 1, "failed": 1} and done.reasons == {"not_json": 1}


def test_other_endings_stay_and_are_counted(layout: CollectorLayout) -> None:
    for name in ("a.txt", "b", "c.json.bz2", "FR/d.yaml.1", "e.JSON"):
        put(layout, name, json_report())
    assert rename(layout).proof.other == 5
    assert len(there(layout.archive)) == 5
    assert is_done(layout, DATE, NOW)


@pytest.mark.parametrize("name", ["a.json.part", "a.json.tmp", ".a.json", "a.json~", ".new/a.json"])
def test_what_is_being_written_waits(layout: CollectorLayout, name: str) -> None:
    put(layout, name, json_report())
    done = rename(layout)
    assert not done.files and there(layout.archive) == [name]
    assert done.proof.being_written == (0 if "/" in name else 1)


def test_what_changes_while_it_is_looked_at_waits(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(layout, "a.json", json_report())

    def looked(place: Path) -> dict[str, object]:
        said = archived.what_it_says(place)
        with path.open("ab") as file:
            file.write(json_report())
        os.utime(path, (IN_TIME, IN_TIME))
        return said

    monkeypatch.setattr(rename_module, "what_it_says", looked)
    done = rename(layout)
    assert not done.files and (done.proof.being_written, done.proof.changing) == (1, ["a.json"])
    assert there(layout.archive) == ["a.json"]
    assert is_done(layout, DATE, NOW)  # it comes with the next bucket
    monkeypatch.undo()
    assert rename(layout, DATE + dt.timedelta(days=1)).files == {"renamed": 1}


def test_a_report_that_goes_while_it_is_looked_at_is_no_fault(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout, "a.json", json_report())

    def looked(place: Path) -> dict[str, object]:
        said = archived.what_it_says(place)
        place.unlink()
        return said

    monkeypatch.setattr(rename_module, "what_it_says", looked)
    assert not rename(layout).files


def test_only_what_was_finalised_before_the_cut_off(layout: CollectorLayout) -> None:
    put(layout, "in-time.json", json_report(), IN_TIME)
    put(layout, "late.json", json_report(report_id="late"), TOO_LATE)
    done = rename(layout)
    assert done.files == {"renamed": 1} and done.proof.waiting == 1
    assert there(layout.archive) == ["late.json"]
    assert is_done(layout, DATE, NOW)
    assert rename(layout, DATE + dt.timedelta(days=1)).files == {"renamed": 1}
    assert not there(layout.archive)


def test_a_time_that_is_yet_to_come_does_not_keep_a_report_for_years(layout: CollectorLayout) -> None:
    put(layout, "a.json", json_report(), NOW + 40 * 365 * 86400)
    now = (layout.archive / "a.json").stat().st_ctime
    tomorrow = dt.datetime.fromtimestamp(now, dt.timezone.utc).date() + dt.timedelta(days=1)
    assert rename(layout, tomorrow, now + 10).files == {"renamed": 1}


def test_a_date_is_done_by_its_proof_and_by_what_is_left(layout: CollectorLayout) -> None:
    assert not is_done(layout, DATE, NOW)
    rename(layout)
    assert is_done(layout, DATE, NOW)
    put(layout, "a.json", json_report())
    assert not is_done(layout, DATE, NOW)
    rename(layout)
    put(layout, "b.json", json_report(report_id="b"))
    proof = rename(layout).proof
    assert proof.files == {"renamed": 2} and len(became(layout)) == 2  # both runs
    assert is_done(layout, DATE, NOW) and proof == RenamesProof.read(proof_path(layout, DATE))
    proof_path(layout, DATE).write_text("{")
    assert not is_done(layout, DATE, NOW)
    assert rename(layout).proof == proof


def test_a_clash_marks_the_later_one_and_overwrites_nothing(layout: CollectorLayout) -> None:
    contents = {json_report(input=number) for number in range(5)}
    for number, content in enumerate(sorted(contents)):
        put(layout, f"{number}.json", content)
    rename(layout)
    names = there(layout.renamed)
    assert {(layout.renamed / name).read_bytes() for name in names} == contents
    assert NAME in names
    for name in set(names) - {NAME}:
        parsed = parse_report_name(name)
        assert parsed.report_id
        plain, _, mark = parsed.report_id.rpartition("_")
        assert plain == SAID["report_id"] and len(mark) == 8 and int(mark, 16) >= 0
    assert sorted(became(layout).values()) == [f"renamed/{name}" for name in names]


def test_a_clash_of_long_ids_still_makes_names_of_their_own(layout: CollectorLayout) -> None:
    for number in range(3):
        put(layout, f"{number}.json", json_report(report_id="a" * 400, input=number))
    rename(layout)
    assert len({parse_report_name(name).report_id for name in there(layout.renamed)}) == 3


@pytest.mark.parametrize("name", ["a.json", "x" * 250 + ".json", "a.json.gz", "\u00e4" * 125 + ".json"])
def test_a_clash_among_what_was_set_aside_overwrites_nothing(layout: CollectorLayout, name: str) -> None:
    for country in ("DE", "FR", "IT"):
        put(layout, f"{country}/{name}", country.encode())
    rename(layout)
    failed = layout.errored_for("failed")
    assert {(failed / found).read_bytes() for found in there(failed)} == {b"DE", b"FR", b"IT"}
    assert name in there(failed) and all(found.endswith(name[-5:]) for found in there(failed))


def test_a_clash_where_the_file_system_can_do_no_better(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files._LIBC, "renameat2", None)
    for number in range(3):
        put(layout, f"{number}.json", json_report(input=number))
    assert rename(layout).files == {"renamed": 3}
    assert len(there(layout.renamed)) == 3 and not there(layout.archive)


@pytest.mark.parametrize("atomic", [True, False], ids=["renameat2", "link-and-unlink"])
def test_a_clash_that_comes_between_looking_and_renaming(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    put(layout, "a.json", json_report())
    rename(layout)
    put(layout, "b.json", json_report(input="another"))
    if not atomic:
        monkeypatch.setattr(files._LIBC, "renameat2", None)
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    rename(layout)
    assert (layout.renamed / NAME).read_bytes() == json_report()
    assert len(there(layout.renamed)) == 2 == len(set(became(layout).values()))


def test_who_may_read_and_write_what(layout: CollectorLayout) -> None:
    """The pipeline's account reads and removes by its group; what is set aside is for the collector alone."""
    group = os.getgid() if os.getuid() else 54321
    layout.renamed.mkdir()
    os.chown(layout.renamed, -1, group)
    path = put(layout, "a.json", json_report())
    path.chmod(0o444)  # as the archiver of old left them
    put(layout, "b.json", b"rubbish").chmod(0o600)
    rename(layout)
    status = layout.renamed.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o2770, group)
    status = (layout.renamed / NAME).stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, group)
    assert status.st_mtime == IN_TIME
    for place in (layout.errored, layout.errored_for("failed"), layout.renames):
        assert not place.stat().st_mode & 0o077
    assert not list_path_mode(layout) & 0o077


def list_path_mode(layout: CollectorLayout) -> int:
    return (layout.renames / f"{DATE}.jsonl").stat().st_mode


def as_another(account: int, layout: CollectorLayout) -> str:
    """What goes wrong when another account renames the reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # never back into pytest
        try:
            os.setgroups([])
            os.setgid(account)
            os.setuid(account)
            rename(layout)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        return said.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another")
def test_what_this_account_may_not_touch_stays_and_is_told(layout: CollectorLayout) -> None:
    """A report of another's is no failed report: the whole archive would be set aside by a wrong account."""
    other = 65534
    put(layout, "a.json", json_report())
    rename(layout)  # imports what the other account may not be able to read
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        layout = CollectorLayout(Path(directory) / "bouncer")
        put(layout, "theirs.json", json_report()).chmod(0o600)
        ours = put(layout, "ours.json", json_report(report_id="ours"))
        (layout.archive / "closed").mkdir(mode=0o700)
        shown = put(layout, "shown/a.json", json_report(report_id="shown")).parent
        shown.chmod(0o400)  # its names may be read, and nothing else
        for place in (layout.directory, layout.archive, ours, shown):
            os.chown(place, other, other)
        text = as_another(other, layout)
        assert text.startswith("BucketError: ") and "theirs" not in text
        assert "may not read or change 3 files or directories" in text
        assert there(layout.archive) == ["shown/a.json", "theirs.json"] and len(there(layout.renamed)) == 1
        assert not there(layout.errored)
        theirs = layout.archive / "theirs.json"
        aside = theirs.rename(Path(directory) / "theirs.json")
        assert not is_done(layout, DATE, NOW)  # the directory may hold another
        aside.rename(theirs)
        layout.renamed.chmod(0o755)
        os.chown(layout.renamed, 0, 0)
        assert f"{layout.renamed}: Permission denied; what is not renamed" in as_another(other, layout)
        assert rename(layout).files == {"renamed": 2} and is_done(layout, DATE, NOW)


def test_names_of_any_bytes_are_taken_and_never_shown(layout: CollectorLayout) -> None:
    for number, name in enumerate((b"\xff\xfe.json", b"a\nb.json", b"$(id).yaml", b"\x1b[2J.json")):
        put(layout, name, yaml_report(report_id=number) if b"yaml" in name else json_report(input=number))
    put(layout, b"\xffbad\n.json", b"rubbish")
    done = rename(layout)
    assert done.files == {"renamed": 4, "failed": 1} and len(became(layout)) == 5
    assert os.fsencode(there(layout.errored_for("failed"))[0]) == b"\xffbad\n.json"
    for outgoing_as in there(layout.renamed):
        parse_report_name(outgoing_as)


def test_a_fault_of_ours_costs_one_report_and_is_told_without_its_text(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(place: Path) -> dict[str, object]:
        if place.name == "bad.json":
            raise KeyError("what the report says")
        return archived.what_it_says(place)

    put(layout, "bad.json", json_report())
    put(layout, "good.json", json_report())
    monkeypatch.setattr(rename_module, "what_it_says", faulty)
    done = rename(layout)
    assert done.files == {"renamed": 1, "failed": 1} and done.reasons == {"unforeseen": 1}
    (fault,) = done.unforeseen
    assert "KeyError" in fault and "what the report says" not in fault


def test_an_archive_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BucketError, match=r"there is no .*/archive: is \[collector\] directory"):
        rename(CollectorLayout(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_a_full_disk_is_told_without_a_name_and_nothing_is_lost(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout, "secret\n.json", json_report())

    def full(source: Path, destination: Path) -> None:
        raise OSError(28, "No space left on device", str(source), None, str(destination))

    monkeypatch.setattr(rename_module, "move", full)
    with pytest.raises(BucketError, match="archive: No space left on device") as told:
        rename(layout)
    assert "secret" not in str(told.value)
    assert len(there(layout.archive)) == 1 and not became(layout)
    monkeypatch.undo()
    assert rename(layout).files == {"renamed": 1} and len(became(layout)) == 1


_VALUES = st.none() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
_NETTESTS = ["web_connectivity", "HTTP Host", "a-b", "probe", "backend", "v1"]
_SAID = st.fixed_dictionaries(
    {},
    optional={
        "test_name": _VALUES | st.sampled_from(_NETTESTS),
        "test_start_time": _VALUES | st.datetimes().map(str) | st.just("2016-07-31 21:01:34"),
        "start_time": _VALUES,
        "report_id": _VALUES | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z_AS[0-9]_\w{50}\Z"),
        "probe_asn": _VALUES | st.from_regex(r"\A(AS|as)?[0-9]{1,12}\Z"),
        "probe_cc": _VALUES | st.text(max_size=3),
        "data_format_version": _VALUES | st.from_regex(r"\A[0-9.]{1,8}\Z"),
    },
)


@given(_SAID, st.sampled_from(["json", "yaml"]), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_header_says_the_name_is_one_or_there_is_none(
    said: dict[str, object], extension: str, compressed: bool
) -> None:
    try:
        name = outgoing_name(said, "x.json", extension, compressed)  # type: ignore[arg-type]
    except SetAside:
        return
    text = format_report_name(name)
    parsed = parse_report_name(text)
    assert "/" not in text and len(text.encode()) < 250 and parsed.extension == extension
    assert (parsed.start_time or dt.datetime(1970, 1, 1)) == name.start_time
    assert parsed.test_name == name.test_name


@given(st.lists(_SAID, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_whatever_headers_say_every_report_is_somewhere_once(
    tmp_path_factory: pytest.TempPathFactory, headers: list[dict[str, object]]
) -> None:
    layout = CollectorLayout(tmp_path_factory.mktemp("bouncer"))
    layout.archive.mkdir()
    for number, said in enumerate(headers):
        put(layout, f"{number}.json", json.dumps({**said, "input": number}).encode() + b"\n")
    rename(layout)
    places = [layout.directory / to for to in became(layout).values()]
    assert sorted(json.loads(place.read_bytes())["input"] for place in places) == list(range(len(headers)))
    assert len(there(layout.renamed)) + len(there(layout.errored)) == len(headers)
    for name in there(layout.renamed):
        parse_report_name(name)
