"""The four views as CSV, a directory for each date on which they were made."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.site.bucket_page import INDEX, SUMS
from ooni_pipeline.site.changes import ADDED, Change
from ooni_pipeline.site.files import packed, replace_directory, write_if_changed
from ooni_pipeline.site.page import link, number, page, table

#: So many dates are kept.
KEEP = 7
#: Writes a view as CSV into a file and returns how many rows.
CopyView = Callable[[str, BinaryIO], int]

_WHAT = {
    "blockpage_count": "reports in which a block page was recognised",
    "blockpage_urls": "what met a known block page, once a report",
    "country_counts": "measurements by country",
    "identified_vendors": "middlebox products that were recognised, once a report",
}


def write_tables(directory: Path, date: dt.date, views: Iterable[str], copy: CopyView, change: int) -> None:
    """Write ``<directory>/<date>/``, which appears whole. ``change`` is the last one that it shows."""

    def write(fresh: Path) -> None:
        files = []
        for view in views:
            path = fresh / f"{view}.csv.gz"
            with packed(path) as file:
                rows = copy(view, file)
            size, digest = path.stat().st_size, file_digest(path)
            files.append({"file": path.name, "rows": rows, "size": size, "sha256": digest})
        index = {"date": date.isoformat(), "change": change, "files": files}
        (fresh / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="ascii")
        sums = "".join(f"{file['sha256']}  {file['file']}\n" for file in files)
        (fresh / SUMS).write_text(sums, encoding="ascii")

    replace_directory(directory / date.isoformat(), write)


def keep_tables(directory: Path, changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Delete the dates beyond the latest few, and those that show a bucket which was replaced or went since:
    they may show what was withdrawn. Returns the index of each that stays, the latest first."""
    since = max((change.number for change in changes if change.what != ADDED), default=0)
    kept: list[dict[str, Any]] = []
    for path in sorted(_dated(directory), reverse=True):
        index = _index(path)
        if index is None or index["change"] < since or len(kept) == KEEP:
            shutil.rmtree(path)
        else:
            kept.append(index)
    return kept


def write_page(directory: Path, kept: list[dict[str, Any]]) -> None:
    """The list of what there is."""
    rows = [
        (
            tables["date"],
            link(f"{tables['date']}/{file['file']}", file["file"]),
            _WHAT.get(file["file"].removesuffix(".csv.gz"), ""),
            number(file["rows"]),
            number(file["size"]),
            f"<code>{file['sha256'][:16]}…</code>",
        )
        for tables in kept
        for file in tables["files"]
    ]
    body = (
        "<p>What the database counts over all published buckets, as CSV, compressed with gzip; times are "
        f"UTC. {link('../about.html', 'What the columns mean')}. The last {KEEP} dates are kept, and none "
        "that shows a bucket which was replaced since.</p>\n"
    ) + table(("Date", "File", "What", "#Rows", "#Bytes", "SHA-256"), rows)
    write_if_changed(directory / "index.html", page("Tables", body, 1))


def _dated(directory: Path) -> list[Path]:
    return [path for path in directory.glob("[0-9]*-*-*") if path.is_dir()]


def _index(path: Path) -> dict[str, Any] | None:
    try:
        index = json.loads((path / INDEX).read_bytes())
        return index if isinstance(index["change"], int) and index["date"] == path.name else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
