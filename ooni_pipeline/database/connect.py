"""Connections, and errors that tell what happened without telling what a report or a URL contains."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import (
    ISOLATION_LEVEL_READ_COMMITTED,
    ISOLATION_LEVEL_REPEATABLE_READ,
    connection,
    make_dsn,
    parse_dsn,
)

from ooni_pipeline.database.statements import statement
from ooni_pipeline.errors import DatabaseError

Connection = connection
Value = str | int | dt.date | None


class NoSchemaError(DatabaseError):
    """The database is there but has not our tables yet."""


@contextlib.contextmanager
def connected(url: str, *, repeatable_read: bool = False) -> Iterator[Connection]:
    """A connection of one's own for one block: one transaction, committed when the block ends well.

    Open it where it is used, never before a fork. Raises DatabaseError for everything that goes wrong.
    """
    options = f"{_parts(url).get('options', '')} -c timezone=UTC".strip()
    with told_safely():
        opened = psycopg2.connect(
            url,
            connect_timeout=10,
            application_name="ooni-pipeline",
            client_encoding="UTF8",
            options=options,
        )
    try:
        level = ISOLATION_LEVEL_REPEATABLE_READ if repeatable_read else ISOLATION_LEVEL_READ_COMMITTED
        with told_safely(), opened:
            opened.set_session(isolation_level=level)
            yield opened
    finally:
        opened.close()


def _parts(url: str) -> dict[str, str]:
    """What libpq makes of the URL. A password with a bare ``/`` or ``@`` becomes part of the host, the
    port or the name, which libpq's own errors would quote; so such a URL is refused here, unquoted."""
    try:
        parts = parse_dsn(url)
    except psycopg2.ProgrammingError:
        parts = {"port": "not understood"}
    if "@" in parts.get("host", "") + parts.get("dbname", "") or re.search("[^0-9,]", parts.get("port", "")):
        raise DatabaseError(
            "the URL of the database is not like postgresql://user:password@host:5432/name "
            "(a password's own / @ : % are written %2F %40 %3A %25)"
        )
    return parts


def without_password(url: str) -> tuple[str, str]:
    """What libpq connects to, without the password, and the password (empty where there is none)."""
    parts = _parts(url)
    password = parts.pop("password", "")
    return make_dsn(**parts), password


@contextlib.contextmanager
def told_safely() -> Iterator[None]:
    """Turn the driver's errors into ours: SQLSTATE and primary message only, because the detail and the
    context that PostgreSQL adds quote the row. Of a data error (class 22) the message quotes it too."""
    try:
        yield
    except psycopg2.Error as error:
        if error.pgcode is None:
            reason = str(error).strip().splitlines()
            raise DatabaseError(
                f"cannot reach the database: {reason[0] if reason else 'no reason given'}"
            ) from None
        of_data = error.pgcode.startswith(errorcodes.CLASS_DATA_EXCEPTION)
        message = "it cannot take a value" if of_data else error.diag.message_primary
        text = f"the database answers {error.pgcode}: {message}"
        if error.pgcode == errorcodes.UNDEFINED_TABLE:
            raise NoSchemaError(f"{text}; run python -m tasks.migrate") from None
        raise DatabaseError(text) from None


def run(
    database: Connection, name: str, parameters: Mapping[str, Value] | None = None
) -> list[tuple[Any, ...]]:
    """Run the statements of ``sql/<name>.sql`` and return the rows of the last one, if it gives rows."""
    with database.cursor() as cursor:
        cursor.execute(statement(name), parameters or None)
        return cursor.fetchall() if cursor.description else []
