from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket import files
from ooni_pipeline.bucket.files import (
    copy_plain,
    file_digest,
    link_or_copy,
    only,
    set_aside,
    settle,
    sweep_parts,
    whole_file,
)
from ooni_pipeline.report.writer import part_of
from tests.conftest import Start

LONG = "x" * 250 + ".json"  # as long as a file system takes


def write_half_and_die(path: Path) -> None:
    with whole_file(path) as part:
        part.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def write_many(path: Path, text: str) -> None:
    for _ in range(50):
        with whole_file(path) as part:
            part.write_text(text)


@pytest.mark.parametrize("name", ["2016-08-01.json", LONG])
def test_a_killed_writer_leaves_nothing_visible(tmp_path: Path, start: Start, name: str) -> None:
    path = tmp_path / "new" / name
    process = start(write_half_and_die, path)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not path.exists()
    assert [left.name[0] for left in path.parent.iterdir()] == ["."]
    with whole_file(path) as part:
        assert part.read_text() == ""
        part.write_text("whole")
    assert [left.name for left in path.parent.iterdir()] == [name]
    assert path.read_text() == "whole"
    start(write_half_and_die, path).join()
    assert path.read_text() == "whole"


def test_an_error_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("former")
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_take_turns(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "file"
    texts = ["a" * 100_000, "b" * 70_000, "c" * 40_000]
    writers = [start(write_many, path, text) for text in texts]
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert path.read_text() in texts
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_knows_no_locks_and_flushes_no_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(os, "fsync", files_only)
    with whole_file(tmp_path / "file") as part:
        part.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_settle_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, path = tmp_path / "part", tmp_path / "path"
    part.write_text("new")
    settle(part, path)
    assert (part.exists(), path.read_text()) == (False, "new")

    def no_links(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    for link in (os.link, no_links):
        monkeypatch.setattr(os, "link", link)
        part.write_text("newer")
        with pytest.raises(FileExistsError):
            settle(part, path)
        assert (part.read_text(), path.read_text()) == ("newer", "new")
    settle(part, tmp_path / "other")
    assert (tmp_path / "other").read_text() == "newer"


def test_the_same_bytes_at_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_text("one")
    for _ in range(2):
        link_or_copy(source, copy)
        assert copy.samefile(source)

    def no_links(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    link_or_copy(source, copy)
    assert copy.read_text() == "one"
    assert not copy.samefile(source)


def test_what_is_in_the_way_is_renamed(tmp_path: Path) -> None:
    for name in ("report.json", LONG, os.fsdecode(b"\xff" * 255)):
        path = tmp_path / name
        for text in ("first", "second"):
            path.write_text(text)
            assert set_aside(path).read_text() == text
        assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 6


def test_only_deletes_the_rest_whatever_it_is(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    directory = tmp_path / "bucket"
    (directory / "folder" / "deep").mkdir(parents=True)
    (directory / "link").symlink_to(outside)
    for name in ("keep", "go", ".hidden"):
        (directory / name).touch()
    only(directory, {"keep", "never was"})
    assert [path.name for path in directory.iterdir()] == ["keep"]
    assert (outside / "file").exists()
    only(tmp_path / "nowhere", set())


def test_the_sweep_takes_parts_alone(tmp_path: Path) -> None:
    part_of(tmp_path / "x").touch()
    for name in (".x.part", "x.part", ".hidden", "report.json"):
        (tmp_path / name).touch()
    sweep_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".hidden", ".x.part", "report.json", "x.part"
    ]  # fmt: skip
    sweep_parts(tmp_path / "nowhere")


def a_link(path: Path) -> None:
    path.with_name("target").write_text("secret")
    path.symlink_to(path.with_name("target"))


@pytest.mark.parametrize("make", [a_link, os.mkfifo, Path.mkdir, lambda path: None])
def test_only_regular_files_are_read_and_nothing_is_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    make(path)
    done = threading.Timer(10, os._exit, [1])  # a fifo that is opened waits for ever
    done.start()
    try:
        with pytest.raises(OSError):
            file_digest(path)
        with pytest.raises(OSError):
            copy_plain(path, tmp_path / "copy")
    finally:
        done.cancel()
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("number", [0, errno.EINVAL, errno.ENOSYS])
def test_a_new_name_is_never_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Also on a file system that cannot do it in one step."""
    if number:

        def refuses(*_: object) -> int:
            ctypes.set_errno(number)
            return -1

        monkeypatch.setattr(files._LIBC, "renameat2", refuses, raising=False)
    source, taken, link = tmp_path / "source", tmp_path / "taken", tmp_path / "link"
    source.write_text("source")
    taken.write_text("taken")
    link.symlink_to("nowhere")
    for there in (taken, link):
        with pytest.raises(FileExistsError):
            files.rename_new(source, there)
    assert (source.read_text(), taken.read_text()) == ("source", "taken")
    with pytest.raises(FileNotFoundError):
        files.rename_new(tmp_path / "none", tmp_path / "new")
    files.rename_new(source, tmp_path / "new")
    assert ((tmp_path / "new").read_text(), source.exists()) == ("source", False)
