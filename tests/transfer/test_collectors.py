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
from ooni_pipeline.transfer.collectors import DirectoryCollector, inside
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
        assert collector.digest(name) is None
        with pytest.raises(TransferError, match=f"cannot copy '{name}'"):
            collector.copy(name, tmp_path / "copy")
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
        collector.copy(file.path, copy)
        assert copy.read_bytes() == os.fsencode(file.path)
        assert collector.digest(file.path) == file_digest(copy)
        collector.remove(file.path)
        collector.remove(file.path)
        assert collector.digest(file.path) is None
    assert list(archive.iterdir()) == []


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "", ".", "a\0b"])
def test_no_path_leads_out_of_the_archive(archive: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    collector = DirectoryCollector(archive)
    for act in (inside, collector.digest, collector.remove):
        with pytest.raises(TransferError, match="refusing the path"):
            act(path)
    with pytest.raises(TransferError, match="refusing the path"):
        collector.copy(path, tmp_path / "copy")
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
    assert collector.digest("hidden.json") is None
    assert collector.digest("fine.json") is not None
    with pytest.raises(TransferError, match=r"cannot copy 'hidden\.json': Permission denied"):
        collector.copy("hidden.json", Path("/nowhere"))
    if os.getuid() == NOBODY:
        with pytest.raises(TransferError, match=r"cannot remove 'fine\.json'"):
            collector.remove("fine.json")


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
    assert collector.digest("a.json") is None, "the one file is gone"
    archive.rename(tmp_path / "unmounted")
    with pytest.raises(TransferError, match="cannot list"):
        collector.digest("a.json")
    archive.mkdir()  # the empty mount point
    with pytest.raises(TransferError, match="not the directory that was listed"):
        collector.digest("a.json")
