"""Refreshing the materialised views."""

from __future__ import annotations

from ooni_pipeline.database.connect import connected, run

#: The views, in the order of the architecture.
VIEWS = ("blockpage_count", "blockpage_urls", "country_counts", "identified_vendors")


def refresh_views(url: str) -> None:
    """Refresh all four and note which loads they show, in one transaction; readers are not blocked."""
    with connected(url, repeatable_read=True, patient=True) as database:
        run(database, "views/refresh")
