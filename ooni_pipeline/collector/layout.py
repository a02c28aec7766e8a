"""Every path of a collector machine."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.errors import ConfigurationError

#: Why reports are set aside by RenameReports; each has a directory of its own.
ERRORED = ("empty", "invalid", "failed")


@dataclass(frozen=True)
class CollectorLayout:
    """All lies below ``directory``, on one file system: what is archived or renamed is never copied."""

    directory: Path

    @property
    def staging(self) -> Path:
        """Open reports, in a form that only ooni_pipeline.collector knows."""
        return self.directory / "staging"

    @property
    def archive(self) -> Path:
        """Finished reports, until RenameReports takes them."""
        return self.directory / "archive"

    @property
    def renamed(self) -> Path:
        """What the pipeline fetches and removes."""
        return self.directory / "renamed"

    @property
    def errored(self) -> Path:
        return self.directory / "errored"

    def errored_for(self, why: str) -> Path:
        """The directory of reports that were set aside because they are ``why``, one of ERRORED."""
        if why not in ERRORED:
            raise ValueError(f"reports are set aside as {ERRORED}")
        return self.errored / why

    @property
    def quarantine(self) -> Path:
        """What of staging was damaged or is not ours: kept for a person, never deleted."""
        return self.directory / "quarantine"

    @property
    def renames(self) -> Path:
        """The proofs of RenameReports, one a date."""
        return self.directory / "renames"

    @property
    def lock(self) -> Path:
        """Whoever holds it is the one collector of this directory."""
        return self.directory / "lock"

    def prepare(self) -> None:
        """Make what the collector writes to, for its account alone.

        Raises ConfigurationError for a directory that is none or lies on another file system, and where
        nothing can be made: the text names ``[collector] directory``.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for place in (self.staging, self.archive, self.quarantine):
                place.mkdir(mode=0o700, exist_ok=True)
                if place.stat().st_mode & 0o077:
                    place.chmod(0o700)
        except OSError as error:
            raise self._cannot_make(error.filename, error.strerror or type(error).__name__) from None
        self.check_one_file_system()

    def check(self) -> None:
        """Makes nothing. Raises ConfigurationError for what can be seen that :meth:`prepare` would refuse."""
        place = self.directory
        while not os.path.lexists(place):
            place = place.parent
        for found in (place, self.staging, self.archive, self.quarantine):
            if found.is_dir():
                if not os.access(found, os.W_OK | os.X_OK):
                    raise self._cannot_make(found, os.strerror(errno.EACCES))
            elif os.path.lexists(found):
                raise self._cannot_make(found, os.strerror(errno.ENOTDIR))
        if self.directory.is_dir():
            self.check_one_file_system()

    def _cannot_make(self, what: object, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"[collector] directory = {self.directory}: cannot make {what} ({why}); "
            "make it as root and give it to the account that runs ooni-collector"
        )

    def check_one_file_system(self) -> None:
        """Raises ConfigurationError where one of the directories that are there lies on another disk."""
        disk = self.directory.stat().st_dev
        places = (self.staging, self.archive, self.renamed, self.errored, self.quarantine)
        for place in (*places, *map(self.errored_for, ERRORED)):
            if place.exists() and place.stat().st_dev != disk:
                raise ConfigurationError(
                    f"[collector] directory = {self.directory}: {place.relative_to(self.directory)} is on "
                    "another file system; reports are renamed, never copied: mount one disk for all of it"
                )
