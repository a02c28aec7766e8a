"""One mutated report after the other: read, normalise, dump, sanitise, make a row; nothing may break.

What must hold for any bytes: reading raises nothing but BadReport, normalising, sanitising and the making
of rows raise nothing; every byte and every entry is accounted for; what is written can be read again by
another parser; no address of the bridge table comes out; the same bytes give the same result; memory and
time are bounded.
"""

from __future__ import annotations

import csv
import hashlib
import io
import ipaddress
import json
import random
import re
import string
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.database.rows import COLUMNS, metrics_row
from ooni_pipeline.errors import RejectReason
from ooni_pipeline.fingerprints import load_fingerprints
from ooni_pipeline.normalise.reports import normalise_report
from ooni_pipeline.report.entry import BASE_KEYS, MAX_ENTRY_BYTES, BadEntry, BadReport, RawEntry
from ooni_pipeline.report.json_lines import loads
from ooni_pipeline.report.reader import open_report, uncompressed_chunks
from ooni_pipeline.report.work import Job
from ooni_pipeline.sanitise import MustBeHeld, Sanitiser
from ooni_pipeline.sanitise.bridges import load_bridge_table
from tests.fuzz.mutate import Mutator, secrets, seeds, with_entries
from tests.test_golden_reports import leaks, secrets_of
from tests.write_golden_reports import BRIDGE_TABLE

KEY = b"a key for fuzzing"
BUCKET_DATE = "2026-11-22"
NAME = "20160801T000000-tcp_connect-x-AS1-GR-probe-0.2.0"
#: The bar of DESIGN.md, section 8, for a process whose largest entry may unfold to 64 MB.
MAX_MEMORY = 300e6 + 6 * MAX_ENTRY_BYTES
#: Seconds for one report of at most some 100 kB. An alias bomb unfolds to millions of nodes before it ends.
MAX_SECONDS = 20.0

#: What stands between entries and is none: framing lines with their comments, comments, blanks.
_FRAMING = re.compile(
    rb"(?:\xef\xbb\xbf)?"
    rb"(?:(?:---|\.\.\.)?[ \t\r]*(?:[ \t]#[^\n]*|#[^\n]*|%YAML [0-9.]+[ \t\r]*)?(?:\n|\Z|(?<=[ \t])))*"
)


class FaultError(AssertionError):
    """Something that must hold does not."""


def expect(what: str, holds: bool) -> None:
    if not holds:
        raise FaultError(what)


@dataclass
class Found:
    """What a run did, and the faults: text -> the input that showed it first."""

    reports: int = 0
    entries: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Path] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    memory: float = 0.0

    def summary(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.reasons.items()))
        return (
            f"{self.reports} reports with {self.entries} entries taken in {self.seconds:.0f} s; slowest"
            f" {self.slowest:.2f} s, at most {self.memory / 1e6:.0f} MB; rejected: {reasons};"
            f" faults: {len(self.faults)}"
        )


class Checker:
    """Takes reports through everything, below a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sanitiser = Sanitiser(load_bridge_table(BRIDGE_TABLE))
        self._fingerprints = load_fingerprints()
        # Where none of these stands there is no bridge; the whole search would take most of the time.
        self._secret = re.compile(b"|".join(re.escape(secret[:6]) for secret in secrets()), re.IGNORECASE)

    def check(self, content: bytes, extension: str) -> tuple[int, Counter[str]]:
        """How many entries of the report are taken, and the reasons for which others are not.

        Raises FaultError, or whatever the code under test should not have raised.
        """
        source = self._directory / f"{NAME}.{extension}"
        source.write_bytes(content)
        told = self._read(source)
        again = self._read(source)
        expect("the same bytes are read in another way the second time", told == again)
        directory = self._directory
        job = Job(
            NAME, BUCKET_DATE, source, directory / "out.json", directory / "rejected", directory / "held"
        )
        outcome = normalise_report(job, key=KEY)
        first = job.destination.read_bytes() if outcome.digest else b""
        outcome_again = normalise_report(job, key=KEY)
        expect("the same bytes are normalised in another way the second time", outcome == outcome_again)
        expect("the tally has entries missing", outcome.counts.missing() == 0)
        reasons = Counter(outcome.counts.rejected)
        if outcome.rejected:
            reasons[outcome.rejected] += 1
        expect("a reason is none", set(reasons) <= {reason.value for reason in RejectReason})
        if RejectReason.CANNOT_BE_NORMALISED.value in reasons:
            raise FaultError("cannot be normalised: " + self._why(job))
        lines = first.split(b"\n")[:-1]
        expect("lines are not what was counted", len(lines) == outcome.counts.out)
        expect("the report reads in one way and normalises in another", outcome.counts.out == len(told))
        for line in lines:
            self._line(line)
        return len(lines), reasons

    def _read(self, source: Path) -> list[tuple[int, bytes]]:
        """The entries, as offset and bytes, after a look at where every byte went."""
        taken = []
        try:
            plain = b"".join(uncompressed_chunks(source))
            with open_report(source) as report:
                end = plain.find(report.header.raw) + len(report.header.raw) if report.header.raw else 0
                for item in report:
                    gap = plain[end : item.offset]
                    expect("pieces overlap or run backwards", end <= item.offset)
                    # The first document begins with its own framing line, which find() may not see.
                    expect(f"bytes are lost before {type(item).__name__}", bool(_FRAMING.fullmatch(gap)))
                    end = item.offset + self._size(item, plain)
                    if isinstance(item, RawEntry):
                        taken.append((item.offset, item.raw))
                expect("bytes are lost at the end", bool(_FRAMING.fullmatch(plain[end:])))
        except BadReport:
            return []
        return taken

    @staticmethod
    def _size(item: RawEntry | BadEntry, plain: bytes) -> int:
        if isinstance(item, RawEntry):
            expect("an entry's bytes are others", plain.startswith(item.raw, item.offset))
            return len(item.raw)
        piece = plain[item.offset : item.offset + item.size]
        expect("a rejected piece has another size", len(piece) == item.size)
        expect("a rejected piece has other bytes", hashlib.sha256(piece).hexdigest() == item.digest)
        return item.size

    def _why(self, job: Job) -> str:
        (path,) = job.rejected.glob("*.jsonl")
        rows = [json.loads(row) for row in path.read_bytes().splitlines()]
        reason = RejectReason.CANNOT_BE_NORMALISED.value
        return ", ".join(sorted({str(row["detail"]) for row in rows if row["reason"] == reason}))

    def _line(self, line: bytes) -> None:
        """One normalised entry, through the stages that are still before it."""
        expect("a line is not ASCII", line.isascii())
        entry = loads(line)
        expect("the base keys are not in their order", tuple(entry)[: len(BASE_KEYS)] == BASE_KEYS)
        expect("the line is not strict JSON", _strict(line))
        clean = self._sanitised(line)
        expect("the same line is sanitised in another way the second time", clean == self._sanitised(line))
        if clean is None:
            return  # held
        expect("a sanitised line is not ASCII", clean.isascii())
        expect("a sanitised line is not strict JSON", _strict(clean))
        wanted = list(self._sanitiser.of_report().wanted(line))
        expect("a line that needs no look is changed", bool(wanted) or clean == line)
        if self._secret.search(clean):
            leaked = [found for found in leaks(clean, BRIDGE_TABLE) if not _is_another_address(found)]
            expect("a bridge of the table leaks", leaked == [])
        sanitised = loads(clean)
        self._row(metrics_row(sanitised, Counter()))
        self._fingerprints.match(sanitised)

    def _sanitised(self, line: bytes) -> bytes | None:
        """The publishable line, None for one that is held: also where sanitising says that it cannot cut."""
        try:
            return self._sanitiser.of_report().sanitise_line(line, Counter())
        except (ValueError, MustBeHeld):
            return None

    @staticmethod
    def _row(row: bytes) -> None:
        text = row.decode("utf-8")
        expect("a row holds a NUL", "\0" not in text)
        (fields,) = csv.reader(io.StringIO(text, newline=""), strict=True)
        expect("a row has not 20 fields", len(fields) == len(COLUMNS) + 1)
        for column, value in zip((*COLUMNS, "extra"), fields, strict=True):
            if value and COLUMNS.get(column, "jsonb") == "jsonb":
                expect(f"{column} of a row is not JSON", _strict(value.encode()))
                expect(f"{column} of a row holds U+0000", not re.search(r"(?<!\\)(?:\\\\)*\\u0000", value))


def _is_another_address(text: str) -> bool:
    """Whether what a search by prefixes has found goes on with digits: no address of the table then."""
    known = {ipaddress.ip_address(address) for address in secrets_of(BRIDGE_TABLE)[0]}
    if ":" not in text:
        return False
    for end in range(len(text), 1, -1):
        try:
            address = ipaddress.ip_address(text[:end])
        except ValueError:
            continue
        if address in known and text[end : end + 1] not in tuple(string.hexdigits):
            return False
    return True


def _strict(text: bytes) -> bool:
    """Whether another parser reads it, which knows no NaN; too deep for it is no fault of the text."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except RecursionError:
        return True
    except ValueError as error:
        return "integer string conversion" in str(error)  # of more digits than Python reads: PostgreSQL does
    return True


def peak_memory() -> float:
    """The most memory that this process had since the last call, in bytes (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) * 1024.0 if match else 0.0


def fuzz(seconds: float, seed: int, keep: Path, at_most: int | None = None) -> Found:
    """Go on until the time is over. Inputs that show a fault are kept, one for each fault.

    The input under way is ``current.*`` below ``keep``: whatever kills the process, it is there.
    """
    csv.field_size_limit(1 << 30)
    chance = random.Random(seed)  # noqa: S311 - the same inputs every time
    found = Found()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ooni-fuzz-") as name:
        directory = Path(name)
        mutator = Mutator(chance, [with_entries(one, directory / "seed") for one in seeds()])
        checker = Checker(directory)
        peak_memory()
        while time.monotonic() - begin < seconds and (at_most is None or found.reports < at_most):
            content, extension = mutator.report()
            current = keep / f"current.{extension}"
            current.write_bytes(content)
            started = time.monotonic()
            try:
                entries, reasons = checker.check(content, extension)
                took, memory = time.monotonic() - started, peak_memory()
                expect(f"over {MAX_SECONDS:.0f} s for one report", took <= MAX_SECONDS)
                expect(f"over {MAX_MEMORY / 1e6:.0f} MB", memory <= MAX_MEMORY)
            except Exception as error:
                fault = _described(error)
                if fault not in found.faults:
                    found.faults[fault] = keep / f"fault-{len(found.faults) + 1}.{extension}"
                    found.faults[fault].write_bytes(content)
            else:
                found.entries += entries
                found.reasons.update(reasons)
                found.slowest, found.memory = max(found.slowest, took), max(found.memory, memory)
            found.reports += 1
            current.unlink()
    found.seconds = time.monotonic() - begin
    return found


def _described(error: Exception) -> str:
    """What is wrong, and where it was raised: one line for all inputs that show the same fault."""
    if isinstance(error, FaultError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if "ooni_pipeline" in frame.filename] or list(frames)
    return f"{type(error).__name__} in {Path(last[-1].filename).name}:{last[-1].lineno}"
