"""The gate as a program of its own, as sshd starts it."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.collector import gate
from tests.parts.sshd import GATE, PYTHON, other_clock

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"no {PYTHON} here")

#: Names that a file system takes and that some program between here and there may not.
NAMES = [
    b"line\nbreak.json", b"\xff\xfe.json", b"-rf *.json", b"$(touch x).json", b"`x`.json", b"'\".json",
    b"#c.json", b";c.json", b"\\.json", b"%s.json", b" a .json", b"caf\xc3\xa9.json", b"x...json", b"x" * 255,
]  # fmt: skip


def run(directory: Path | str, command: str | None, requests: bytes = b"", *options: str) -> Any:
    environment = {"PATH": "/usr/bin:/bin", **({} if command is None else {"SSH_ORIGINAL_COMMAND": command})}
    return subprocess.run(
        [PYTHON, "-I", str(GATE), *options, str(directory)],
        input=requests,
        env=environment,
        capture_output=True,
        check=False,
    )


def ask(directory: Path, command: str, *requests: object, status: int = 0) -> list[Any]:
    """What the gate answers between its greeting and its end."""
    ran = run(directory, command, b"".join(json.dumps(request).encode() + b"\n" for request in requests))
    assert ran.stderr == b""
    greeting, *answers = map(json.loads, ran.stdout.splitlines())
    assert (greeting["ooni_gate"], greeting["directory"]) == (1, str(directory))
    assert abs(greeting["clock"] - time.time()) < 60
    assert ran.returncode == status
    if status:
        return [answers[-1]["error"]]
    assert answers.pop() == {"end": len(answers)}
    return answers


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    directory = tmp_path / "archive"
    directory.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.json").write_text("secret")
    return directory


def test_it_is_one_file_that_an_old_python_runs() -> None:
    """3.7, and the standard library alone."""
    source = GATE.read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    imported = {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }  # what stands below TYPE_CHECKING is never imported
    assert imported == {"hashlib", "json", "os", "shlex", "stat", "sys", "time"}
    late = {"removesuffix", "removeprefix", "is_relative_to", "file_digest", "pairwise"}  # 3.9 and later
    assert not late & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert source.startswith("#!/usr/bin/python3 -I\n")
    assert os.access(GATE, os.X_OK)


def test_it_lists_what_is_there_with_the_clock_of_its_machine(archive: Path) -> None:
    (archive / "sub").mkdir()
    for name in ("a.json", "sub/b.json"):
        (archive / name).write_text("12345")
        os.utime(archive / name, (0, 1469923200))
    found = {path: facts for path, *facts in ask(archive, "list")}
    assert set(found) == {"a.json", "sub/b.json"}
    for size, modified, changed, now, problem in found.values():
        assert (size, modified, problem) == (5, 1469923200 * 10**9, "")
        assert changed <= now + 10**9 and abs(now - time.time() * 1e9) < 60e9


def test_any_name_that_a_file_system_takes_comes_and_goes(archive: Path) -> None:
    for name in NAMES:
        (archive / os.fsdecode(name)).write_bytes(name)
    paths = [path for path, *_ in ask(archive, "list")]
    assert sorted(os.fsencode(path) for path in paths) == sorted(NAMES)
    digests = {path: digest for path, outcome, digest, *_ in ask(archive, "digest", *paths)}
    assert digests == {os.fsdecode(name): hashlib.sha256(name).hexdigest() for name in NAMES}
    removed = ask(archive, "remove", *([path, digests[path]] for path in paths))
    assert removed == [[path, "removed"] for path in paths]
    assert list(archive.iterdir()) == []


def test_nothing_is_followed_out_of_the_directory(archive: Path, tmp_path: Path) -> None:
    (archive / "link.json").symlink_to(tmp_path / "outside" / "secret.json")
    (archive / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(archive / "fifo.json")
    found = {path: problem for path, *_, problem in ask(archive, "list")}
    assert found == dict.fromkeys(["link.json", "folder", "fifo.json"], "not_a_regular_file")
    names = ["link.json", "folder/secret.json", "fifo.json", "folder"]
    assert ask(archive, "digest", *names) == [[name, "unreadable"] for name in names]
    removed = ask(archive, "remove", *([name, sha("secret")] for name in names))
    assert removed == [[name, "changed"] for name in names]
    assert (tmp_path / "outside" / "secret.json").exists()
    assert len(list(archive.iterdir())) == 3


@pytest.mark.parametrize(
    "name",
    [
        "../outside/secret.json", "/etc/passwd", "", ".", "..", "a/../b", "a//b", "a/", "./a", "a\0b",
        ".hidden", "sub/.hidden/x", "x.part", "x.tmp", "x~", ".r.json.Xa31Bc", "y" * 256, "a/" * 40 + "a",
        "\ud83d", 5, None, ["a"],
    ],
)  # fmt: skip
def test_names_that_are_none_are_refused_and_nothing_is_done(archive: Path, name: object) -> None:
    (archive / "fine.json").write_text("fine")
    for request in ("digest", "remove"):
        told = ask(archive, request, name if request == "digest" else [name, sha("secret")], status=77)
        no_text = not isinstance(name, str) or name == "\ud83d"
        assert told == [f"refused: a name that is {'no text' if no_text else 'none'}"]
    assert (archive.parent / "outside" / "secret.json").exists()


@pytest.mark.parametrize(
    "requests",
    [
        b'"fine.json"\n', b'["fine.json"]\n', b'["fine.json", ""]\n', b'["fine.json", "*"]\n', b"rubbish\n",
        b'["fine.json", null]\n', b'{"fine.json": 1}\n', b'["fine.json", "' + b"A" * 64 + b'"]\n', b"\xff\n",
    ],
)  # fmt: skip
def test_a_removal_without_the_digest_is_refused_whole(archive: Path, requests: bytes) -> None:
    (archive / "fine.json").write_text("fine")
    good = json.dumps(["fine.json", sha("fine")]).encode() + b"\n"
    ran = run(archive, "remove", good + requests)
    assert b'{"error": "refused: ' in ran.stdout and ran.returncode == 77
    assert (archive / "fine.json").exists(), "all is read before anything is done"


def test_only_what_has_that_digest_goes(archive: Path) -> None:
    (archive / "same.json").write_text("same")
    (archive / "other.json").write_text("other")
    answers = ask(archive, "remove", *([f"{name}.json", sha("same")] for name in ("same", "other", "gone")))
    assert answers == [["same.json", "removed"], ["other.json", "changed"], ["gone.json", "gone"]]
    assert [path.name for path in archive.iterdir()] == ["other.json"]


@pytest.mark.parametrize("moment", ["while it is read", "after it was read", "another takes its name"])
def test_a_file_that_changes_before_it_is_removed_stays(
    archive: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive / "a.json"
    path.write_text("one")
    read, stat_of = os.read, os.stat
    done: list[bool] = []

    def more() -> None:
        if not done:
            done.append(True)
            if moment == "another takes its name":
                (archive / "b").write_text("one")
                (archive / "b").replace(path)
            else:
                with path.open("a") as file:
                    file.write(" and more")

    def reading(file: int, size: int) -> bytes:
        data = read(file, size)
        if moment == "while it is read" and not data:
            more()
        return data

    def looking(*arguments: Any, **named: Any) -> os.stat_result:
        if moment != "while it is read":
            more()
        return stat_of(*arguments, **named)

    monkeypatch.setattr(os, "read", reading)
    monkeypatch.setattr(os, "stat", looking)
    answers = io.BytesIO()
    requests = io.BytesIO(json.dumps(["a.json", sha("one")]).encode() + b"\n")
    argv = ["gate", str(archive)]
    assert gate.main(argv, {"SSH_ORIGINAL_COMMAND": "remove"}, time.time, requests, answers) == 0
    monkeypatch.undo()
    assert done and json.loads(answers.getvalue().splitlines()[1]) == ["a.json", "changed"]
    assert path.exists()


def test_a_file_that_grows_while_its_digest_is_computed_is_told(archive: Path) -> None:
    path = archive / "a.json"
    with path.open("wb") as file:
        file.truncate(300 * 2**20)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x")
                time.sleep(0.001)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        assert ask(archive, "digest", "a.json") == [["a.json", "changing"]]
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "command",
    [None, "", "sh", "list ", " list", "LIST", "list /etc", "list;sh", "digest\nsh", "remove *", "rsync",
     "rsync --server . .", "rsync --server -vlogDtpre.iLsfxC . .", "rsync --daemon", "scp -f x",
     "/usr/bin/rsync --server --sender . .", "rsync --server --sender . .\nsh", "'rsync --server --sender",
     "internal-sftp", "rsync --sender --server . ."],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(archive: Path, command: str | None) -> None:
    ran = run(archive, command, b"", "--rrsync", "/bin/echo")
    assert (ran.stdout, ran.returncode) == (b"", 77)
    assert ran.stderr == b"ooni-gate: refused. This key may list, digest, remove, and rsync from here\n"


def test_rsync_is_given_to_rrsync_which_only_reads(archive: Path) -> None:
    pull = "rsync --server --sender -e.LsfxCIvu --files-from=- --from0 . ."
    assert run(archive, pull, b"", "--rrsync", "/bin/echo").stdout == f"-ro {archive}\n".encode()
    missing = run(archive, pull, b"", "--rrsync", "/nowhere/rrsync")
    assert (missing.returncode, missing.stdout) == (74, b"")
    assert missing.stderr.startswith(b"ooni-gate: cannot run rrsync at /nowhere/rrsync (No such file")


@pytest.mark.parametrize("options", [[], ["relative"], ["--rrsync"], ["/a", "/b"]])
def test_a_line_in_authorized_keys_that_is_wrong_is_told(options: list[str]) -> None:
    ran = subprocess.run(
        [PYTHON, "-I", str(GATE), *options],
        env={"SSH_ORIGINAL_COMMAND": "list"},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (77, b"")
    assert ran.stderr.startswith(b"ooni-gate: usage: ooni-gate [--rrsync PATH] DIRECTORY")


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    for command in ("list", "digest", "remove"):
        told = ask(tmp_path / "nowhere", command, status=74)
        assert told == [f"{tmp_path}/nowhere: No such file or directory"]


def test_what_somebody_still_writes_is_not_listed(archive: Path) -> None:
    for name in (".rsync.json.Xa31", "a.json.part", "b.json.tmp", "c.json~", "d.json"):
        (archive / name).touch()
    (archive / ".partial").mkdir()
    (archive / ".partial" / "e.json").touch()
    assert [path for path, *_ in ask(archive, "list")] == ["d.json"]


def test_what_is_too_deep_is_named(archive: Path) -> None:
    deep = archive.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "x.json").touch()
    ((path, *_, problem),) = ask(archive, "list")
    assert (path, problem) == ("/".join(["d"] * 33), "unreadable")


def test_a_listing_takes_no_memory_for_what_it_listed(archive: Path) -> None:
    """Its answers leave while it lists: the largest memory is about that of an empty directory."""
    for number in range(20_000):
        (archive / f"{number:0200}.json").touch()
    peak = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )

    def kilobytes(directory: Path) -> int:
        command = [PYTHON, "-c", peak, PYTHON, "-I", str(GATE), str(directory)]
        environment = {"SSH_ORIGINAL_COMMAND": "list", "PATH": "/usr/bin:/bin"}
        return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)

    empty = archive.parent / "empty"
    empty.mkdir()
    assert kilobytes(archive) - kilobytes(empty) < 3000


def test_who_waits_hears_that_there_is_work(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank lines while a large file is read, or the other side would take us for dead."""
    monkeypatch.setattr(gate, "PATIENCE", -1.0)
    with (archive / "a.json").open("wb") as file:
        file.truncate(5 * 2**20)
    answers = io.BytesIO()
    environment = {"SSH_ORIGINAL_COMMAND": "digest"}
    assert gate.main(["gate", str(archive)], environment, time.time, io.BytesIO(b'"a.json"\n'), answers) == 0
    assert answers.getvalue().count(b"\n\n") >= 1 and answers.getvalue().split(b"\n").count(b"") >= 5


def test_a_clock_that_is_an_hour_ahead_is_that_machines(archive: Path) -> None:
    if not other_clock(0):
        pytest.skip("no faketime here")
    (archive / "a.json").touch()
    ran = subprocess.run(
        [PYTHON, "-I", str(GATE), str(archive)],
        env={"SSH_ORIGINAL_COMMAND": "list", "PATH": "/usr/bin:/bin", **other_clock(3600)},
        capture_output=True,
        check=True,
    )
    listed = json.loads(ran.stdout.splitlines()[1])
    assert 3500 < (listed[4] - time.time() * 1e9) / 1e9 < 3700
