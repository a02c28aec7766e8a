"""What the tests of the database share."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - the driver's own spelling

from tests.conftest import migrated_database

from .measurements import BUCKET, query


@pytest.fixture
def url(migrated_url: str) -> str:
    """A fresh database with our schema, on each PostgreSQL."""
    return migrated_url


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[Connection]:
    """A connection to such a database, for tests that commit nothing and therefore share it."""
    with migrated_database(postgres_url) as url:
        query(url, "SELECT ensure_metrics_partition(%s)", [BUCKET])
        opened = psycopg2.connect(url, client_encoding="UTF8")
        yield opened
        opened.close()
