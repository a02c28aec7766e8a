"""Deleting an object with all that it ever was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote.s3.faults import code_of


@dataclass(frozen=True)
class Gone:
    """So many versions and delete markers are gone; ``kept`` are there still, because retention or a legal
    hold forbids to delete them, the last of them until ``kept_until`` (UTC; None where nobody says when)."""

    versions: int = 0
    kept: int = 0
    kept_until: dt.datetime | None = None


def erase_versions(client: Any, bucket: str, key: str) -> Gone:
    """Delete every version of one key, and no other's. Never bypasses retention."""
    gone = kept = 0
    until: dt.datetime | None = None
    endless = False
    for version in list(_versions(client, bucket, key)):
        what = {"Bucket": bucket, "Key": key, "VersionId": version}
        try:
            client.delete_object(**what)
            gone += 1
        except ClientError as error:
            if code_of(error) not in ("AccessDenied", "403", "ObjectLocked", "InvalidRequest"):
                raise
            retained, held = _retention(client, what)
            if retained is None and not held:  # it is the access key that may not
                raise
            kept += 1
            endless |= held
            until = max(filter(None, (until, retained)), default=None)
    return Gone(gone, kept, None if endless else until)


def _versions(client: Any, bucket: str, key: str) -> Iterator[str]:
    """The version ids of one key, delete markers too: ``null`` is that of a bucket without versions."""
    more: dict[str, str] = {}
    while True:
        page = client.list_object_versions(Bucket=bucket, Prefix=key, **more)
        for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            if item["Key"] == key:
                yield str(item.get("VersionId", "null"))
        if not page.get("IsTruncated"):
            return
        following = {
            "KeyMarker": page.get("NextKeyMarker", ""),
            "VersionIdMarker": page.get("NextVersionIdMarker", ""),
        }
        if following == more or not following["KeyMarker"]:
            raise TransferError(f"the list of the versions of {key} stops in its middle; run it again")
        if following["KeyMarker"] > key:
            return
        more = {name: value for name, value in following.items() if value}


def _retention(client: Any, what: dict[str, str]) -> tuple[dt.datetime | None, bool]:
    """Until when a version must stay (UTC, naive), and whether a legal hold keeps it without an end."""
    answer = client.head_object(**what)
    until = answer.get("ObjectLockRetainUntilDate")
    if until is not None:
        until = until.astimezone(dt.timezone.utc).replace(tzinfo=None)
    return until, answer.get("ObjectLockLegalHoldStatus") == "ON"
