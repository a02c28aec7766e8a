#!/usr/bin/python3 -I
"""ooni-gate: all that the pipeline's key may do on a collector, and nothing else.

A forced command of ssh, copied to the collector machine and named in the authorized_keys of the account
that the pipeline uses (README, Collectors over ssh):

    restrict,command="/usr/local/bin/ooni-gate /data/bouncer/renamed" ssh-ed25519 AAAA... ooni-pipeline

What the other side asks for is in SSH_ORIGINAL_COMMAND; these are allowed, to the letter:

    list      every file of the directory
    digest    the SHA-256 of the files that standard input names, a JSON string a line
    remove    removes the files that standard input names, ["name", "SHA-256"] a line, if that is its digest
    rsync --server --sender ...    given to rrsync -ro: reading the directory, never writing

Answers are JSON, one a line: {"ooni_gate": 1, "directory": ..., "clock": ...} first, then a list for each
file, {"end": count} last; {"error": text} where it cannot go on; blank lines while it works. Names are data,
UTF-8 with surrogateescape. No symbolic link is followed in any part of a name, and no name that is hidden or
that of a temporary file is listed or taken.

One file that needs the standard library alone, Python 3.7 or newer, and no other part of the project.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # nothing of it is needed on the collector
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

PROTOCOL = 1
#: Exit status: what was asked for is not allowed; it could not be done.
REFUSED, FAILED = 77, 74
RRSYNC = "/usr/bin/rrsync"
#: So many names are taken at once, so long, and directories so deep are listed.
MOST_NAMES, LONGEST_NAME, DEEPEST = 10000, 4096, 32
#: Seconds after which somebody who waits is told that there is still work.
PATIENCE = 5.0
CHUNK = 1024 * 1024
TEMPORARY = (b".part", b".tmp", b"~")


class RefusedError(Exception):
    """Something that is not allowed."""


def main(
    argv: Sequence[str],
    environ: Mapping[str, str],
    clock: Callable[[], float],
    requests: BinaryIO,
    answers: BinaryIO,
) -> int:
    """Do what the environment asks for, once. Returns the exit status."""
    directory, rrsync = _arguments(argv)
    command = environ.get("SSH_ORIGINAL_COMMAND", "")
    if directory is None:
        sys.stderr.write("ooni-gate: usage: ooni-gate [--rrsync PATH] DIRECTORY (in authorized_keys)\n")
        return REFUSED
    work = {"list": _list, "digest": _digest, "remove": _remove}.get(command)
    if work is not None:
        return Gate(directory, clock, answers).answer(work, requests)
    if _is_pull(command):
        return _rrsync(rrsync, directory, environ)
    sys.stderr.write("ooni-gate: refused. This key may list, digest, remove, and rsync from here\n")
    return REFUSED


def _arguments(argv: Sequence[str]) -> tuple[str | None, str]:
    rest = list(argv[1:])
    rrsync = RRSYNC
    if rest[:1] == ["--rrsync"] and len(rest) > 1:
        rrsync, rest = rest[1], rest[2:]
    absolute = len(rest) == 1 and rest[0].startswith("/")
    return (os.path.normpath(rest[0]) if absolute else None), rrsync


def _is_pull(command: str) -> bool:
    """Whether it is an rsync that asks for files. What else it may say is for rrsync to judge."""
    if "\n" in command or "\0" in command:
        return False
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return words[:3] == ["rsync", "--server", "--sender"]


def _rrsync(rrsync: str, directory: str, environ: Mapping[str, str]) -> int:
    sys.stdout.flush()
    try:
        os.execve(rrsync, [rrsync, "-ro", directory], dict(environ))
    except OSError as error:
        sys.stderr.write(
            f"ooni-gate: cannot run rrsync at {rrsync} ({error.strerror}): install rsync, or name it with "
            "--rrsync in authorized_keys\n"
        )
    return FAILED


class Gate:
    """One answer about one directory."""

    def __init__(self, directory: str, clock: Callable[[], float], answers: BinaryIO) -> None:
        self.directory = directory
        self.clock = clock
        self.root = -1
        self._answers = answers
        self._flushed = time.monotonic()

    def answer(self, work: Work, requests: BinaryIO) -> int:
        """Write all that ``work`` has to say. Returns the exit status."""
        self.say({"ooni_gate": PROTOCOL, "directory": self.directory, "clock": self.clock()})
        try:
            self.root = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            count = 0
            for line in work(self, requests):
                self.say(line)
                count += 1
            self.say({"end": count})
            status = 0
        except RefusedError as error:
            self.say({"error": f"refused: {error}"})
            status = REFUSED
        except OSError as error:
            self.say({"error": f"{self.directory}: {error.strerror}"})
            status = FAILED
        self._answers.flush()
        return status

    def say(self, line: Any) -> None:
        """One line; not held back for long."""
        self._answers.write(json.dumps(line).encode("ascii") + b"\n")
        self.pulse(b"")

    def pulse(self, sign: bytes = b"\n") -> None:
        """Now and then a sign of life for somebody who waits."""
        now = time.monotonic()
        if now - self._flushed > PATIENCE:
            self._answers.write(sign)
            self._answers.flush()
            self._flushed = now

    def open_parent(self, name: Any) -> tuple[int, bytes]:
        """The directory of a file, open, no part of the way a link; and the file's own name there."""
        steps = _as_bytes(name).split(b"/")
        if not allowed(steps):
            raise RefusedError("a name that is none")
        place = os.dup(self.root)
        try:
            for step in steps[:-1]:
                deeper = os.open(step, _DIRECTORY, dir_fd=place)
                os.close(place)
                place = deeper
        except BaseException:
            os.close(place)
            raise
        return place, steps[-1]


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _as_bytes(name: Any) -> bytes:
    try:
        return bytes(name.encode("utf-8", "surrogateescape"))
    except (UnicodeEncodeError, AttributeError):
        raise RefusedError("a name that is no text") from None


def _as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def allowed(steps: Sequence[bytes]) -> bool:
    """Whether a name, cut at its slashes, stays below the directory and is not that of something hidden."""
    return (
        sum(len(step) + 1 for step in steps) <= LONGEST_NAME
        and len(steps) <= DEEPEST
        and all(len(step) <= 255 and step[:1] not in (b"", b".") and b"\0" not in step for step in steps)
        and not any(step.endswith(TEMPORARY) for step in steps)
    )


def _list(gate: Gate, requests: BinaryIO) -> Iterator[list[Any]]:
    """[name, bytes, modified, changed, now (each in ns), problem] for each file. A directory that cannot be
    read is a problem of its own."""
    return _below(gate, os.dup(gate.root), [])


def _below(gate: Gate, place: int, above: list[bytes]) -> Iterator[list[Any]]:
    with _Closing(place), os.scandir(place) as found:
        for entry in found:
            gate.pulse()
            step = os.fsencode(entry.name)
            if not allowed([step]):
                continue  # somebody is still writing it
            way = [*above, step]
            try:
                status = os.stat(step, dir_fd=place, follow_symlinks=False)
            except OSError:
                continue  # gone since it was listed
            now = int(gate.clock() * 1e9)
            facts = [_as_text(b"/".join(way)), status.st_size, status.st_mtime_ns, status.st_ctime_ns, now]
            if not allowed(way):  # as a whole it is too long
                yield [*facts, "unreadable"]
            elif stat.S_ISREG(status.st_mode):
                yield [*facts, ""]
            elif not stat.S_ISDIR(status.st_mode):
                yield [*facts, "not_a_regular_file"]
            else:
                try:
                    deeper = os.open(step, _DIRECTORY, dir_fd=place)
                except FileNotFoundError:
                    continue
                except OSError:
                    yield [*facts, "unreadable"]
                    continue
                yield from _below(gate, deeper, way)


class _Closing:
    def __init__(self, place: int) -> None:
        self.place = place

    def __enter__(self) -> int:
        return self.place

    def __exit__(self, *_: object) -> None:
        os.close(self.place)


def _requests(requests: BinaryIO) -> list[Any]:
    """What standard input asks for, to its end, before anything is done."""
    asked: list[Any] = []
    while True:
        line = requests.readline(8 * LONGEST_NAME)
        if not line:
            return asked
        try:
            asked.append(json.loads(line.decode("ascii")))
        except ValueError:
            raise RefusedError("a request that is no JSON line") from None
        if len(asked) > MOST_NAMES:
            raise RefusedError("too many names at once")


def _digest(gate: Gate, requests: BinaryIO) -> Iterator[list[Any]]:
    """[name, "ok", SHA-256, bytes, modified (ns)]; else [name, "gone", "unreadable" or "changing"]."""
    for name in _requests(requests):
        yield [name, *_digest_one(gate, name)]


def _digest_one(gate: Gate, name: Any) -> list[Any]:
    try:
        place, step = gate.open_parent(name)
        with _Closing(place):
            digest, status = _read(gate, place, step)
    except FileNotFoundError:
        return ["gone"]
    except OSError:
        return ["unreadable"]
    if digest is None:
        return ["changing"]
    return ["ok", digest, status.st_size, status.st_mtime_ns]


def _read(gate: Gate, place: int, step: bytes) -> tuple[str | None, os.stat_result]:
    """The digest of a regular file (None: somebody wrote it meanwhile) and what it was then."""
    file = os.open(step, _FILE, dir_fd=place)
    with _Closing(file):
        before = os.fstat(file)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(0, "not a regular file")
        digest = hashlib.sha256()
        while True:
            chunk = os.read(file, CHUNK)
            if not chunk:
                break
            digest.update(chunk)
            gate.pulse()
        after = os.fstat(file)
    return (digest.hexdigest() if _same(before, after) else None), after


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether it is one file of which nothing was written in between."""
    marks = [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in (one, other)]
    return marks[0] == marks[1]


def _remove(gate: Gate, requests: BinaryIO) -> Iterator[list[Any]]:
    """[name, "removed", "gone" or "changed"], or [name, "failed", why] where the system keeps it."""
    asked = _requests(requests)
    for request in asked:
        if not (isinstance(request, list) and len(request) == 2 and _is_digest(request[1])):
            raise RefusedError("a removal without its digest")
    for name, digest in asked:
        yield [name, *_remove_one(gate, name, digest)]


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


def _remove_one(gate: Gate, name: Any, digest: str) -> list[Any]:
    try:
        place, step = gate.open_parent(name)
        with _Closing(place):
            try:
                found, status = _read(gate, place, step)
            except OSError as error:
                if not stat.S_ISREG(os.stat(step, dir_fd=place, follow_symlinks=False).st_mode):
                    return ["changed"]
                return ["failed", error.strerror]
            if found != digest:
                return ["changed"]
            # The name must still be that of the file that was read: a moment ago is all that can be had.
            if not _same(status, os.stat(step, dir_fd=place, follow_symlinks=False)):
                return ["changed"]
            os.unlink(step, dir_fd=place)
    except FileNotFoundError:
        return ["gone"]
    except NotADirectoryError:  # a part of the way is a file, or a link, by now
        return ["changed"]
    except OSError as error:
        return ["failed", error.strerror]
    return ["removed"]


if TYPE_CHECKING:
    Work = Callable[[Gate, BinaryIO], Iterator[list[Any]]]

if __name__ == "__main__":
    sys.exit(main(sys.argv, os.environ, time.time, sys.stdin.buffer, sys.stdout.buffer))
