from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.collectors import DirectoryCollector, inside, modified, quiet_for
from tests.conftest import Start

NOBODY = 65534


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    directory = tmp_path / "archive"
    directory.mkdir()
    return directory


def listed(archive: Path) -> dict[str, str]:
    return {file.path: file.problem for file in DirectoryCollector(archive).list()}


def test_files_are_listed_in_order_with_size_and_time(archive: Path) -> None:
    for name in ("b/2.json", "a.json", "b/1.json"):
        (archive / name).parent.mkdir(exist_ok=True)
        (archive / name).write_text("12345")
        os.utime(archive / name, (0, 1469923200))
    files = list(DirectoryCollector(archive).list())
    assert [file.path for file in files] == ["a.json", "b/1.json", "b/2.json"]
    assert {(file.size, file.modified, file.problem) for file in files} == {(5, "2016-07-31T00:00:00Z", "")}


def test_what_is_no_regular_file_is_named_and_never_followed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.json").write_text("secret")
    (archive / "link.json").symlink_to(tmp_path / "outside" / "secret.json")
    (archive / "dangling.json").symlink_to("nowhere")
    (archive / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(archive / "fifo.json")
    (archive / "directory.json").mkdir()
    (archive / "directory.json" / "in.json").touch()
    (archive / "empty").mkdir()
    place = Path.cwd()
    os.chdir(archive)  # the address of a socket is at most 107 bytes long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.json")
    os.chdir(place)
    odd = dict.fromkeys(
        ["dangling.json", "fifo.json", "folder", "link.json", "socket.json"], "not_a_regular_file"
    )
    assert listed(archive) == {**odd, "directory.json/in.json": ""}
    collector = DirectoryCollector(archive)
    for name in odd:
        assert collector.digests([name]) == {name: None}
        collector.copy({name: tmp_path / "copy"})
        assert collector.remove({name: "0" * 64}) == {name: "changed"}
        assert os.path.lexists(archive / name)
    assert not (tmp_path / "copy").exists()


def test_what_somebody_still_writes_is_left_alone(archive: Path) -> None:
    for name in (".rsync.json.Xa31", "a.json.part", "b.json.tmp", "c.json~", "d.json"):
        (archive / name).touch()
    (archive / ".partial").mkdir()
    (archive / ".partial" / "e.json").touch()
    assert listed(archive) == {"d.json": ""}


def test_any_name_that_a_file_system_takes(archive: Path, tmp_path: Path) -> None:
    names = [b"line\nbreak.json", b"\xff\xfe.json", b"-rf *.json", b"$(id).json", b"x" * 255]
    collector = DirectoryCollector(archive)
    for name in names:
        (archive / os.fsdecode(name)).write_bytes(name)
    assert sorted(os.fsencode(file.path) for file in collector.list()) == sorted(names)
    for number, file in enumerate(collector.list()):
        copy = tmp_path / str(number)
        collector.copy({file.path: copy})
        assert copy.read_bytes() == os.fsencode(file.path)
        digest = file_digest(copy)
        assert collector.digests([file.path]) == {file.path: digest}
        assert collector.remove({file.path: "0" * 64}) == {file.path: "changed"}
        assert collector.remove({file.path: digest}) == {file.path: "removed"}
        assert collector.remove({file.path: digest}) == {file.path: "gone"}
        assert collector.digests([file.path]) == {file.path: None}
    assert list(archive.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["../secret", "a/../../secret", "/etc/passwd", "", ".", "a\0b", "a/./b", "./a", "a//b", "a/"]
)
def test_no_path_leads_out_of_the_archive(archive: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    collector = DirectoryCollector(archive)
    acts = (
        lambda: inside(path),
        lambda: collector.digests([path]),
        lambda: collector.remove({path: "0" * 64}),
        lambda: collector.copy({path: tmp_path / "copy"}),
    )
    for act in acts:
        with pytest.raises(TransferError, match="refusing the path"):
            act()
    assert (tmp_path / "secret").exists()


def test_a_collector_without_archive_cannot_be_reached(archive: Path) -> None:
    for place in (archive / "nowhere", archive / "file"):
        (archive / "file").touch()
        with pytest.raises(TransferError, match=f"collector {place}: cannot list {place}"):
            list(DirectoryCollector(place).list())


def test_a_file_that_goes_while_it_is_listed(archive: Path) -> None:
    for name in ("a.json", "b.json", "c/d.json"):
        (archive / name).parent.mkdir(exist_ok=True)
        (archive / name).touch()
    files = DirectoryCollector(archive).list()
    assert next(files).path == "a.json"
    (archive / "b.json").unlink()
    shutil.rmtree(archive / "c")
    assert list(files) == []


@pytest.fixture
def open_archive() -> Iterator[Path]:
    """An archive that another user may enter (pytest's directories are ours alone)."""
    with tempfile.TemporaryDirectory(prefix="ooni-test-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def as_somebody(archive: Path) -> None:
    if os.geteuid() == 0:  # root reads everything
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    collector = DirectoryCollector(archive)
    assert {file.path: file.problem for file in collector.list()} == {
        "fine.json": "", "hidden.json": "", "locked": "unreadable"
    }  # fmt: skip
    digests = collector.digests(["hidden.json", "fine.json"])
    assert digests["hidden.json"] is None and digests["fine.json"] is not None
    collector.copy({"hidden.json": Path("/nowhere/to/be/written")})
    if os.getuid() == NOBODY:
        assert collector.remove({"fine.json": digests["fine.json"]}) == {"fine.json": "Permission denied"}


def test_what_cannot_be_read_is_named_and_costs_nothing_else(open_archive: Path, start: Start) -> None:
    for name in ("fine.json", "hidden.json"):
        (open_archive / name).write_text("x")
    (open_archive / "fine.json").chmod(0o644)
    (open_archive / "hidden.json").chmod(0)
    (open_archive / "locked").mkdir(mode=0)
    process = start(as_somebody, open_archive)
    process.join()
    (open_archive / "locked").chmod(0o700)
    assert process.exitcode == 0


def test_an_archive_that_goes_away_is_no_archive_of_changed_files(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "a.json").write_bytes(b"{}")
    collector = DirectoryCollector(archive)
    assert [listed.path for listed in collector.list()] == ["a.json"]
    (archive / "a.json").unlink()
    assert collector.digests(["a.json"]) == {"a.json": None}, "the one file is gone"
    archive.rename(tmp_path / "unmounted")
    with pytest.raises(TransferError, match="cannot list"):
        collector.digests(["a.json"])
    archive.mkdir()  # the empty mount point
    with pytest.raises(TransferError, match="not the directory that was listed"):
        collector.digests(["a.json"])


def test_what_is_written_while_it_is_looked_at_is_no_report_yet(archive: Path) -> None:
    (archive / "a.json").write_text("one")
    (archive / "b.json").write_text("one")
    collector = DirectoryCollector(archive)
    assert len(list(collector.list())) == 2
    (archive / "a.json").write_text("one and more")
    assert list(collector.digests(["a.json", "b.json"])) == ["b.json"]
    assert len(list(collector.list())) == 2
    assert list(collector.digests(["a.json", "b.json"])) == ["a.json", "b.json"]


def test_our_side_that_cannot_write_is_no_fault_of_the_collector(archive: Path, tmp_path: Path) -> None:
    (archive / "a.json").write_text("one")
    with pytest.raises(OSError, match="No space left"):
        DirectoryCollector(archive).copy({"a.json": Path("/dev/full")})


def test_how_long_a_file_was_left_alone() -> None:
    """The later of its two times counts; what is yet to come says nothing."""
    hour = 3600.0
    now = 1_000_000.0
    for modified_at, changed_at, age in [
        (now - 10, now - 10, 10),
        (now - hour, now - 5, 5),  # moved here, or touched back
        (now - 5, now - hour, 5),
        (now + hour, now - 70, 70),  # somebody chose a time to come
        (now + 1, now + 1, -1),  # the file system's clock is a little ahead
        (now + hour, now + hour, float("inf")),  # the clock was set back an hour
    ]:
        assert quiet_for(modified_at, changed_at, now) == age
        assert quiet_for(modified_at + hour, changed_at + hour, now + hour) == age, "an hour of skew"


def test_the_age_of_a_file_is_told_by_the_clock_that_is_given(archive: Path) -> None:
    (archive / "a.json").touch()
    os.utime(archive / "a.json", (0, 0))
    changed = (archive / "a.json").stat().st_ctime
    (listed_now,) = DirectoryCollector(archive, clock=lambda: changed + 30).list()
    assert listed_now.age == pytest.approx(30)
    assert modified(2.0**50) == "9999-12-31T23:59:59Z"
    assert modified(-(2.0**50)) == "1000-01-01T00:00:00Z"
