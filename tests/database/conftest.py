"""What the tests of the database share."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - the driver's own spelling

from ooni_pipeline.database.data_directory import DATABASE
from ooni_pipeline.database.migrate import migrate

from .measurements import BUCKET, query


@pytest.fixture
def url(database_url: str) -> str:
    """A fresh database with our schema, on each PostgreSQL."""
    migrate(database_url)
    return database_url


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[Connection]:
    """A connection to such a database, for tests that commit nothing and therefore share it."""
    query(postgres_url, "DROP DATABASE IF EXISTS shared", autocommit=True)
    query(postgres_url, "CREATE DATABASE shared", autocommit=True)
    url = postgres_url.replace(f"/{DATABASE}?", "/shared?", 1)
    migrate(url)
    query(url, "SELECT ensure_metrics_partition(%s)", [BUCKET])
    opened = psycopg2.connect(url, client_encoding="UTF8")
    yield opened
    opened.close()
    query(postgres_url, "DROP DATABASE shared WITH (FORCE)", autocommit=True)
