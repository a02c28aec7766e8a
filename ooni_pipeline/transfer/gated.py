"""A collector behind ssh, whose account runs our gate (ooni_pipeline/collector/gate.py) and nothing else."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.errors import RejectReason, TransferError
from ooni_pipeline.transfer.collectors import CHANGED, GONE, REMOVED, Listed, inside, modified, quiet_for

#: The protocol of the gate that this code speaks.
PROTOCOL = 1
_SECOND = 1_000_000_000
_PROBLEMS = {reason.value for reason in (RejectReason.UNREADABLE, RejectReason.NOT_A_REGULAR_FILE)}
_SET_UP = "see README, Collectors over ssh"


class Session(Protocol):
    """Runs commands over there: lines in, lines out. Raises TransferError."""

    def run(self, command: str, requests: Iterable[bytes] = ()) -> Iterator[bytes]: ...

    def close(self) -> None: ...


#: Copies named files below a directory of ours, as far as they can be had. Raises TransferError.
Pull = Callable[[Iterable[str], Path], None]


class GatedCollector:
    """``directory`` is the one that the gate must serve. Copies arrive in ``spool``, which is on the disk of
    the raw buckets and is one writer's at a time (``lock``); what a break leaves there the next run uses."""

    def __init__(
        self, name: str, directory: str, session: Session, pull: Pull, spool: Path, lock: Path
    ) -> None:
        self.name = name
        self._directory = directory
        self._session = session
        self._pull = pull
        self._spool = spool
        self._lock = lock
        self._seen: dict[str, tuple[int, int]] = {}
        self._broke_off = False

    def list(self) -> Iterator[Listed]:
        found = []
        for path, size, written, changed, now, problem in self._ask("list"):
            self._seen[path] = size, written
            age = quiet_for(written / _SECOND, changed / _SECOND, now / _SECOND)
            reason = problem if problem in _PROBLEMS else RejectReason.UNREADABLE.value if problem else ""
            found.append(Listed(path, size, modified(written / _SECOND), reason, age))
        yield from sorted(found, key=lambda listed: listed.path)

    def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        asked = [str(inside(path)) for path in paths]
        for path, outcome, *facts in self._ask("digest", map(_line, asked), len(asked)):
            if outcome == "ok":
                digest, size, written = facts
                if self._seen.get(path, (size, written)) == (size, written):
                    found[path] = str(digest)
            elif outcome != "changing":
                found[path] = None
        return {path: found[path] for path in asked if path in found}

    def copy(self, files: Mapping[str, Path]) -> None:
        places = {path: self._spool / inside(path) for path in files}
        with one_writer(self._lock):
            self._broke_off = True
            try:
                self._pull(files, self._spool)
                self._broke_off = False
            except TransferError as error:
                raise self._told(str(error)) from None
            finally:
                for path, place in places.items():
                    if _is_plain(place):
                        place.rename(files[path])

    def remove(self, files: Mapping[str, str]) -> dict[str, str]:
        requests = [_line([str(inside(path)), digest]) for path, digest in files.items()]
        fates = {"removed": REMOVED, "gone": GONE, "changed": CHANGED}
        found = {
            path: fates.get(outcome) or _printable(why[0] if why else outcome)
            for path, outcome, *why in self._ask("remove", requests, len(requests))
        }
        if found.keys() != files.keys():
            raise self._told("its gate answers for other files than it was asked for")
        return found

    def close(self) -> None:
        """End the connection; what is left in the spool goes, unless a break left it for the next run."""
        self._session.close()
        self._seen.clear()
        if not self._broke_off and self._spool.exists():
            with one_writer(self._lock):
                shutil.rmtree(self._spool, ignore_errors=True)

    def _ask(
        self, command: str, requests: Iterable[bytes] = (), expected: int | None = None
    ) -> Iterator[Any]:
        """The answers of the gate. Raises TransferError where it is none, another one, or breaks off."""
        lines = self._session.run(command, requests)
        try:
            self._must_be_our_gate(*_first(lines))
            count = 0
            for line in lines:
                if not line:
                    continue  # a sign of life
                answer = json.loads(line)
                if isinstance(answer, list):
                    count += 1
                    yield answer
                elif "error" in answer:
                    raise self._told(f"its gate says: {_printable(answer['error'])}")
                elif answer.get("end") == count and expected in (None, count):
                    return
                else:
                    break
        except TransferError as error:
            raise self._told(str(error)) from None
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass
        raise self._told(f"its gate broke off while it answered {command}")

    def _must_be_our_gate(self, line: bytes, instead: str) -> None:
        try:
            greeting = json.loads(line)
            version, directory = greeting["ooni_gate"], greeting["directory"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise TransferError(
                f"its account does not run ooni-gate as its forced command{instead}: {_SET_UP}"
            ) from None
        if version != PROTOCOL:
            raise TransferError(
                f"its ooni-gate speaks protocol {_printable(version)}, this pipeline {PROTOCOL}: install "
                f"the gate.py of this version there, {_SET_UP}"
            )
        if directory != self._directory:
            raise TransferError(
                f"its ooni-gate serves {_printable(directory)}, [fetch] collectors names {self._directory}: "
                "they must be the same"
            )

    def _told(self, what: str) -> TransferError:
        """The fault with the collector's name in front, once."""
        before = f"collector {self.name}: "
        return TransferError(before + what.removeprefix(before))


def _first(lines: Iterator[bytes]) -> tuple[bytes, str]:
    """The first line; nothing, and what was said instead, where another program than the gate failed."""
    try:
        return next(lines, b""), ""
    except TransferError as error:
        if getattr(error, "status", None) is None:
            raise
        return b"", f" ({error})"


def _line(request: object) -> bytes:
    return json.dumps(request).encode("ascii") + b"\n"


def _printable(said: object, most: int = 200) -> str:
    """What the other side says, so that it can stand in a line of a log."""
    return "".join(char if " " <= char <= "~" else " " for char in str(said)[:most])


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
