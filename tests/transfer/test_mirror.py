"""The mirror machine's job, with the real rsync program: what it serves is whole, whatever breaks."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket import replace
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer import mirror as module
from ooni_pipeline.transfer.mirror import Pull, mirror
from tests.conftest import Start
from tests.transfer.conftest import die

if shutil.which("rsync") is None:
    pytest.skip("no rsync here: apt-get install rsync", allow_module_level=True)


class Site:
    """A public tree as the pipeline leaves it, and a mirror of it."""

    def __init__(self, root: Path) -> None:
        self.public, self.directory = root / "public", root / "mirror"
        self.public.mkdir()
        self.pulled: list[str] = []
        #: Called before each pull with its path; it may change the tree, or fail.
        self.before: Callable[[str], None] = lambda path: None
        self.after: Callable[[str, Path], None] = lambda path, destination: None
        self.buckets: dict[str, dict[str, str]] = {}

    def bucket(self, date: str, **files: str) -> None:
        """Publish a bucket with these reports, in the place of the former one."""
        fresh = self.public / f".{date}.new"
        fresh.mkdir()
        sums = ""
        for name, text in sorted({"index.json": "{}", **files}.items()):
            (fresh / name).write_text(text)
            sums += f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n"
        (fresh / "SHA256SUMS").write_text(sums)
        shutil.rmtree(self.public / date, ignore_errors=True)
        fresh.rename(self.public / date)
        self.buckets[date] = files
        self.pages()

    def pages(self, text: str = "") -> None:
        for name in ("countries", "views", "years"):
            (self.public / name).mkdir(exist_ok=True)
            (self.public / name / "index.html").write_text(f"{name} {sorted(self.buckets)}{text}")
        listed = [{"bucket_date": date} for date in sorted(self.buckets)]
        (self.public / "index.json").write_text(json.dumps({"buckets": listed}))
        for name in ("index.html", "about.html", "style.css", "changes.jsonl"):
            (self.public / name).write_text(f"{name} {sorted(self.buckets)}{text}")

    def pull(self, path: str, destination: Path, options: Sequence[str]) -> None:
        self.pulled.append(path)
        self.before(path)
        command = ["rsync", *options, f"{self.public}/{path}", f"{destination}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TransferError(f"rsync ends with {done.returncode}")
        self.after(path, destination)

    def run(self, pull: Pull | None = None) -> Any:
        self.pulled = []
        return mirror(self.directory, pull or self.pull)

    def same(self) -> bool:
        return files_of(self.directory) == files_of(self.public)

    def spool(self) -> list[str]:
        """What is left in the spool, apart from what serves the next run."""
        left = (self.directory / ".spool").iterdir()
        return sorted(path.name for path in left if path.name not in ("sums", "lock", "pages.json"))


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not str(path.relative_to(directory)).startswith(".")
    }


FIRST, SECOND = "2016-08-01", "2016-08-02"
A, B = dt.date(2016, 8, 1), dt.date(2016, 8, 2)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(replace, "_MOMENT", 0)
    made = Site(tmp_path)
    made.bucket(FIRST, one="1", two="2")
    made.bucket(SECOND, three="3")
    return made


def test_the_mirror_is_the_public_tree(site: Site) -> None:
    done = site.run()
    assert (done.taken, done.removed, done.problems) == ([A, B], [], [])
    assert site.same() and site.spool() == []
    modes = {path.stat().st_mode & 0o777 for path in site.directory.rglob("*") if ".spool" not in str(path)}
    assert modes == {0o755, 0o644}
    assert (site.directory / ".spool").stat().st_mode & 0o777 == 0o700


def test_only_what_changed_is_pulled(site: Site) -> None:
    site.run()
    before = (site.directory / SECOND / "three").stat()
    done = site.run()
    assert done.taken == [] and site.pulled == ["", ""]
    site.bucket(FIRST, one="1", two="other")
    kept = (site.directory / FIRST / "one").stat().st_ino
    done = site.run()
    assert done.taken == [A] and site.pulled == ["", "", f"{FIRST}/"]
    assert site.same()
    after = (site.directory / SECOND / "three").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (site.directory / FIRST / "one").stat().st_ino == kept, "not stored twice, nor sent again"


def test_what_was_withdrawn_goes_everywhere(site: Site) -> None:
    site.run()
    site.bucket(FIRST, one="1")
    site.run()
    assert site.same()
    everywhere = b"".join(path.read_bytes() for path in site.directory.rglob("*") if path.is_file())
    assert not list(site.directory.rglob("two")) and b"  two\n" not in everywhere


def test_a_bucket_that_went_goes(site: Site) -> None:
    site.run()
    shutil.rmtree(site.public / FIRST)
    del site.buckets[FIRST]
    done = site.run()
    assert done.removed == [] and (site.directory / FIRST).is_dir(), "the index still has it"
    site.pages()
    done = site.run()
    assert done.removed == [A] and site.same() and site.spool() == []


def test_a_source_that_is_none_empties_no_mirror(site: Site, tmp_path: Path) -> None:
    site.run()
    before = files_of(site.directory)
    site.public = tmp_path / "not mounted"
    site.public.mkdir()
    with pytest.raises(TransferError, match=r"has no index\.json of ours"):
        site.run()
    assert files_of(site.directory) == before
    site.public = tmp_path / "gone"
    with pytest.raises(TransferError):
        site.run()
    assert files_of(site.directory) == before


@pytest.mark.parametrize("fault", ["cut", "other bytes", "more", "gone", "no sums", "a link", "nonsense"])
def test_a_bucket_that_does_not_arrive_as_it_should_stays_as_it_was(site: Site, fault: str) -> None:
    site.run()
    before = files_of(site.directory / FIRST)
    site.bucket(FIRST, one="1", two="another")
    site.bucket(SECOND, three="3", four="4")

    def damage(path: str, destination: Path) -> None:
        if path != f"{FIRST}/":
            return
        file = destination / "two"
        if fault in ("cut", "other bytes"):
            file.unlink()
            file.write_text("anoth" if fault == "cut" else "Another")
        elif fault == "more":
            (destination / "more").write_text("x")
        elif fault == "gone":
            file.unlink()
        elif fault == "no sums":
            (destination / "SHA256SUMS").unlink()
        elif fault == "a link":
            file.rename(site.public.parent / "elsewhere")
            file.symlink_to(site.public.parent / "elsewhere")
        else:
            (destination / "SHA256SUMS").write_text(f"{'0' * 64}  ../../two\n")

    site.after = damage
    done = site.run()
    assert done.taken == [B] and len(done.problems) == 1
    assert f"bucket {FIRST} stays as it was" in done.problems[0]
    assert files_of(site.directory / FIRST) == before
    site.after = lambda path, destination: None
    assert site.run().taken == [A]
    assert site.same() and site.spool() == []


def test_a_bucket_that_is_replaced_meanwhile_is_pulled_once_more(site: Site) -> None:
    def replaced(path: str, destination: Path) -> None:
        if path == f"{FIRST}/" and site.pulled.count(path) == 1:
            site.bucket(FIRST, one="new", two="new")
            (destination / "one").unlink()
            (destination / "one").write_text("new")

    site.after = replaced
    assert site.run().problems == []
    assert files_of(site.directory / FIRST) == files_of(site.public / FIRST)


def test_whoever_looks_sees_whole_buckets(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace, "_MOMENT", 0.1)
    site.run()
    states: set[frozenset[str]] = set()
    for number in range(2):
        states.add(frozenset(["SHA256SUMS", "index.json", *(f"{number}-{n}" for n in range(20))]))
    site.bucket(FIRST, **{f"0-{n}": str(n) for n in range(20)})
    site.run()
    stop, odd = threading.Event(), list[Any]()

    def watch() -> None:
        while not stop.is_set():
            try:
                found = frozenset(os.listdir(site.directory / FIRST))  # noqa: PTH208
            except FileNotFoundError:
                odd.append("missing")
                continue
            if found not in states:
                odd.append(sorted(found))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in range(1, 4):
            site.bucket(FIRST, **{f"{number % 2}-{n}": str(n) for n in range(20)})
            site.run()
    finally:
        stop.set()
        watcher.join()
    assert odd == []


def test_pages_come_last_and_the_front_page_after_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    put, rename = replace.put_in_place, Path.replace

    def noted_put(fresh: Path, place: Path, former: Path) -> None:
        order.append(place.name)
        put(fresh, place, former)

    def noted_rename(path: Path, place: Path) -> Path:
        order.append(place.name)
        return rename(path, place)

    monkeypatch.setattr(module, "put_in_place", noted_put)
    monkeypatch.setattr(Path, "replace", noted_rename)
    site.run()
    assert [name for name in order if name != "pages.json"] == [  # that is our own note
        FIRST, SECOND, "style.css", "about.html", "countries", "views", "years",
        "changes.jsonl", "index.json", "index.html",
    ]  # fmt: skip


def run_and_die(site: Site, moment: str) -> None:
    patch = pytest.MonkeyPatch()
    if moment in ("top", "sums", "bucket"):
        number = {"top": 1, "sums": 2, "bucket": 3}[moment]
        site.after = lambda path, destination: die() if len(site.pulled) == number else None
    elif moment == "exchange":
        exchange = replace._exchange
        patch.setattr(replace, "_exchange", lambda one, other: die(exchange(one, other)))
    elif moment == "pages":
        put = module._put

        def put_and_die(fresh: Path, place: Path, spool: Path) -> None:
            put(fresh, place, spool)
            if place.name == "views":
                die()

        patch.setattr(module, "_put", put_and_die)
    else:
        patch.setattr(shutil, "rmtree", lambda path, **_: die() if path.name == f"{FIRST}.old" else None)
    site.run()


@pytest.mark.parametrize("moment", ["top", "sums", "bucket", "exchange", "pages", "cleaning"])
def test_killed_at_any_moment_the_next_run_ends_it(site: Site, start: Start, moment: str) -> None:
    site.run()
    former = files_of(site.directory / FIRST)
    site.bucket(FIRST, one="1", two="other", three="3")
    process = start(run_and_die, site, moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert files_of(site.directory / FIRST) in (former, files_of(site.public / FIRST))
    site.run()
    assert site.same() and site.spool() == []


def test_a_full_disk_costs_nothing_that_is_served(site: Site) -> None:
    site.run()
    before = files_of(site.directory)
    site.bucket(FIRST, one="1", two="2" * 5_000_000)

    def full(path: str, destination: Path, options: Sequence[str]) -> None:
        site.pulled.append(path)
        command = ["rsync", *options, f"{site.public}/{path}", f"{destination}/"]
        limited = ["prlimit", "--fsize=1000000", *command]  # the program cannot write more
        if subprocess.run(limited, capture_output=True, check=False).returncode:
            raise TransferError("rsync ends with 11: No space left on device")

    done = site.run(full)
    assert len(done.problems) == 1 and "No space left" in done.problems[0]
    assert files_of(site.directory / FIRST) == {
        path.removeprefix(f"{FIRST}/"): data for path, data in before.items() if path.startswith(FIRST)
    }
    site.run()
    assert site.same() and site.spool() == []


def test_buckets_of_the_first_version_are_taken_too(site: Site) -> None:
    """Their SHA256SUMS did not name the indices."""
    site.bucket(FIRST, one="1")
    sums = site.public / FIRST / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "index" not in line))
    (site.public / FIRST / "index.html").write_text("page")
    assert site.run().problems == []
    assert site.same()


def test_what_runs_that_died_left_is_not_served(site: Site) -> None:
    site.run()
    site.bucket(FIRST, one="other")
    for left in (f"{FIRST}.new", f"{FIRST}.old", "top/countries", "countries.old", f"sums/{SECOND}"):
        directory = site.directory / ".spool" / left
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "left").write_text("of another day")
    assert site.run().problems == []
    assert site.same() and site.spool() == []
    assert not list(site.directory.rglob("left"))


def as_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


def as_a_file(path: Path) -> Path:
    if path.is_dir():
        shutil.rmtree(path)
    path.write_text("x")
    return path


@pytest.mark.parametrize(
    "harm",
    [
        lambda public: as_a_file(public / FIRST),
        lambda public: as_a_file(public / "2016-08-09"),
        lambda public: as_a_directory(public / "index.html"),
        lambda public: as_a_file(public / "views"),
        lambda public: as_a_file(public / ("n" * 255)),
        lambda public: (public / ("n" * 255)).mkdir(),
        lambda public: [as_a_file(public / name) for name in ("lock", "pages.json", "-rf", "a\nb")],
    ],
    ids=[
        "bucket a file",
        "file like a bucket",
        "page a directory",
        "directory a file",
        "long",
        "long 2",
        "odd",
    ],
)
def test_whatever_the_source_becomes_the_mirror_follows_it_back(
    site: Site, harm: Callable[[Path], object]
) -> None:
    """Once it is well again: nothing that it had for a while stays here, and nothing of ours is lost."""
    site.run()
    (site.directory / "robots.txt").write_text("the operator's own")
    shutil.copytree(site.public, site.public.with_name("well"))
    harm(site.public)
    site.run()
    assert (site.directory / FIRST / "one").read_text() == "1"
    shutil.rmtree(site.public)
    site.public.with_name("well").rename(site.public)
    site.run()
    (site.directory / "robots.txt").unlink()
    assert site.same()
    assert {path.name for path in site.directory.iterdir()} == {
        ".spool",
        *(path.name for path in site.public.iterdir()),
    }
    assert site.spool() == []
