"""Which bridges buckets were sanitised with: the bridge table must not lose one unnoticed.

They are remembered as keyed digests: who reads the memory can neither read a bridge in it nor test a guess
of one without the key.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.bucket.files import whole_file
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.errors import BridgeTableError, BucketError

#: What a sanitised manifest says under ``facts`` when its bridges are in the memory: how many names.
FACT = "known_bridges"
_FORMAT = 1
#: So that no digest here can be the id of an entry: no entry begins like this.
_DOMAIN = b"bridge table\0"


@dataclass(frozen=True)
class KnownBridges:
    """The memory of one pipeline. ``names`` are addresses and fingerprints in one spelling each."""

    layout: Layout
    key: bytes

    @property
    def path(self) -> Path:
        return self.layout.known_bridges()

    def check(self, names: Iterable[str], table: Path, anyway: str) -> None:
        """Raise BridgeTableError where ``table`` lacks a name that a bucket was sanitised with, or where
        nobody can tell. The text says how many, never which, and the command that goes on ``anyway``."""
        try:
            known = self._read()
            if known is None and self._was_written():
                raise BridgeTableError(f"{self.path} is gone")
        except BridgeTableError as error:
            raise BridgeTableError(
                f"{error}: it remembers the bridges that buckets were sanitised with, and without it nobody "
                f"can tell whether the bridge table {table} lost any, so nothing is sanitised. Once you have "
                f"made sure that it is whole: {anyway}"
            ) from None
        missing = len((known or set()) - self._digests(names))
        if missing:
            raise BridgeTableError(
                f"the bridge table {table} lacks {missing} of the {len(known or ())} addresses and "
                "fingerprints that buckets were sanitised with, so nothing is sanitised. Put them back; if "
                f"they may be published from now on: {anyway}"
            )

    def remember(self, names: Iterable[str]) -> None:
        """Add names: call it before the proof of what was sanitised with them is written."""
        digests = self._digests(names)
        with self._alone():
            known = self._read() or set()
            if not known or digests - known:
                self._write(known | digests)

    def replace(self, names: Iterable[str]) -> None:
        """Remember these names alone, whatever the memory held: somebody has accepted it."""
        with self._alone():
            self._write(self._digests(names))

    def _digests(self, names: Iterable[str]) -> set[str]:
        return {_keyed(self.key, name.encode()) for name in names}

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return one_writer(self.layout.lock("known_bridges"))

    def _was_written(self) -> bool:
        """Whether a sanitised manifest says that there was a memory: those of older versions do not."""
        paths = [
            path(Stage.SANITISED, date)
            for dates, path in (
                (self.layout.manifest_dates, self.layout.manifest),
                (self.layout.forgotten_dates, self.layout.forgotten),
            )
            for date in dates(Stage.SANITISED)
        ]
        for path in sorted(paths, reverse=True):  # the newest first: it mostly answers
            try:
                if FACT in Manifest.read(path).facts:
                    return True
            except BucketError:  # nobody can tell
                return True
        return False

    def _read(self) -> set[str] | None:
        """The digests; None where there is no memory. Raises BridgeTableError for one that is damaged."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BridgeTableError(f"{self.path} cannot be read ({error.strerror})") from None
        try:
            memory = json.loads(raw)
            digests = [str(digest) for digest in memory["names"]]
            whole = memory["format"] == _FORMAT and hmac.compare_digest(memory["seal"], self._seal(digests))
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise BridgeTableError(f"{self.path} is damaged, or was made with another id.key")
        return set(digests)

    def _write(self, digests: set[str]) -> None:
        ordered = sorted(digests)
        with whole_file(self.path) as part:
            memory = {"format": _FORMAT, "seal": self._seal(ordered), "names": ordered}
            part.write_text(json.dumps(memory, indent=0) + "\n", encoding="ascii")

    def _seal(self, digests: list[str]) -> str:
        return _keyed(self.key, "\n".join(digests).encode())


def _keyed(key: bytes, text: bytes) -> str:
    return hmac.new(key, _DOMAIN + text, hashlib.sha256).hexdigest()
