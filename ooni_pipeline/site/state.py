"""What the site shows, noted when it was made: so the task knows whether it shows a bucket as it is now."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket.files import file_digest, whole_file
from ooni_pipeline.bucket.layout import Layout, Stage, dates_of
from ooni_pipeline.errors import BucketError
from ooni_pipeline.site.bucket_page import SUMS
from ooni_pipeline.site.front import SiteSettings

#: Grows when the pages of the site are others: then it is made again.
VERSION = 1


@dataclass(frozen=True)
class Seen:
    """A bucket on the mirror: its SHA256SUMS as stat shows it, so that nobody reads it again while that is
    the same, and its digest."""

    stat: tuple[int, int, int]
    sha256sums: str


@dataclass(frozen=True)
class SiteState:
    """The settings, the buckets that were on the mirror, and the load_id of those whose rows are shown."""

    settings: SiteSettings
    buckets: Mapping[dt.date, Seen]
    loads: Mapping[dt.date, int]

    def write(self, layout: Layout) -> None:
        """Note it. It is the proof of the site, and comes last."""
        value = {
            "version": VERSION,
            "settings": asdict(self.settings),
            "buckets": {str(date): [*seen.stat, seen.sha256sums] for date, seen in self.buckets.items()},
            "loads": {str(date): load for date, load in self.loads.items()},
        }
        with whole_file(layout.site()) as part:
            part.write_text(json.dumps(value), encoding="ascii")

    def shows(self, layout: Layout, bucket_date: dt.date, load: int | None) -> bool:
        """Whether it shows this load of the bucket, and the bucket as it lies on the mirror now."""
        seen = self.buckets.get(bucket_date)
        try:
            stat = _stat(layout.bucket(Stage.PUBLISHED, bucket_date) / SUMS)
        except OSError:
            return False
        return seen is not None and seen.stat == stat and self.loads.get(bucket_date) == load


def read_state(layout: Layout) -> SiteState | None:
    """What was noted; None where the site was never made, or by other code. It can always be made anew."""
    try:
        value: dict[str, Any] = json.loads(layout.site().read_bytes())
        if value["version"] != VERSION:
            return None
        return SiteState(
            SiteSettings(**value["settings"]),
            {
                dt.date.fromisoformat(date): Seen((int(one[0]), int(one[1]), int(one[2])), str(one[3]))
                for date, one in value["buckets"].items()
            },
            {dt.date.fromisoformat(date): int(load) for date, load in value["loads"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def look(layout: Layout, former: SiteState | None) -> dict[dt.date, Seen]:
    """The buckets that lie on the mirror. Raises BucketError for one without SHA256SUMS."""
    found = {}
    for date in dates_of(layout.public):
        path = layout.bucket(Stage.PUBLISHED, date) / SUMS
        old = former.buckets.get(date) if former else None
        try:
            stat = _stat(path)
            found[date] = old if old and old.stat == stat else Seen(stat, file_digest(path))
        except OSError as error:
            raise BucketError(
                f"bucket {date}: {path}: {error.strerror}; python -m tasks.forget publish {date} {date} and "
                "the next night make it again"
            ) from None
    return found


def _stat(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
