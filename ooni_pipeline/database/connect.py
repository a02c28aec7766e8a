"""Connections, and errors that tell what happened without telling what a report or a URL contains."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import time
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

#: Classes of SQLSTATE whose messages name objects and conditions, never a value of a row. Of all others
#: (data exceptions quote the value, a trigger's RAISE whatever it likes) only the condition's name is told.
_QUOTES_NOTHING = (
    errorcodes.CLASS_CONNECTION_EXCEPTION,
    errorcodes.CLASS_INTEGRITY_CONSTRAINT_VIOLATION,
    errorcodes.CLASS_INVALID_TRANSACTION_STATE,
    errorcodes.CLASS_INVALID_AUTHORIZATION_SPECIFICATION,
    errorcodes.CLASS_INVALID_CATALOG_NAME,
    errorcodes.CLASS_TRANSACTION_ROLLBACK,
    errorcodes.CLASS_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
    errorcodes.CLASS_INSUFFICIENT_RESOURCES,
    errorcodes.CLASS_PROGRAM_LIMIT_EXCEEDED,
    errorcodes.CLASS_OBJECT_NOT_IN_PREREQUISITE_STATE,
    errorcodes.CLASS_OPERATOR_INTERVENTION,
    errorcodes.CLASS_SYSTEM_ERROR,
)

#: How long (seconds; the last one milliseconds) a machine that does not answer is waited for: while
#: connecting, and later, when it or the network has gone without a word. Left alone, the kernel asks after
#: two hours. A busy server is not gone, as long as its machine answers. The URL may say otherwise.
PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "300000",
}
#: The same for the server's side, which else keeps the locks of a client that is gone.
_SERVERS_PATIENCE = (
    "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=6 "
    "-c tcp_user_timeout=300000 -c client_connection_check_interval=10000"
)

Connection = connection
Value = str | int | dt.date | None

#: So long (seconds) work waits for a lock of somebody else's session, such as another machine's load of the
#: same bucket, and so long a question does: whoever asks has better things to do.
WORK_WAITS, QUESTION_WAITS = 3600, 10


class NoSchemaError(DatabaseError):
    """The database is there but has not our tables yet."""


#: What the driver says of a session that the server has ended.
_LOST = ("connection already closed", "invalid socket")
#: What a server says that starts, recovers from a crash, or is about to be started again.
_SOON = re.compile("the database system is (?:starting up|in recovery|not yet accepting|shutting down)")
#: So long (seconds) does a load or a refresh wait for that: after a crash the server replays its log.
RECOVERY_TIMEOUT = 300.0


@contextlib.contextmanager
def connected(
    url: str, *, repeatable_read: bool = False, patient: bool = False, lock_wait: int = WORK_WAITS
) -> Iterator[Connection]:
    """A connection of one's own for one block: one transaction, committed when the block ends well.

    ``patient``: wait, up to RECOVERY_TIMEOUT, for a server that starts or recovers. A statement that waits
    for a lock for more than ``lock_wait`` seconds is an error. Open it where it is used, never before a fork.
    Raises DatabaseError for everything that goes wrong.
    """
    opened = _open(url, RECOVERY_TIMEOUT if patient else 0.0, lock_wait)
    try:
        level = ISOLATION_LEVEL_REPEATABLE_READ if repeatable_read else ISOLATION_LEVEL_READ_COMMITTED
        with told_safely():
            run(opened, "load/quiet")
            opened.commit()  # the block's own first statement decides what it sees
        with told_safely():
            opened.set_session(isolation_level=level)
            yield opened
            opened.commit()  # and no rollback where it fails: of a server that is gone that tells nothing
    finally:
        opened.close()


def _open(url: str, wait: float, lock_wait: int) -> Connection:
    parts, deadline = _parts(url), time.monotonic() + wait
    options = f"{_SERVERS_PATIENCE} {parts.get('options', '')} -c timezone=UTC -c lock_timeout={lock_wait}s"
    patience: dict[str, Any] = {option: value for option, value in PATIENCE.items() if option not in parts}
    while True:
        try:
            with told_safely():
                opened: Connection = psycopg2.connect(
                    url,
                    application_name="ooni-pipeline",
                    client_encoding="UTF8",
                    options=options,
                    **patience,
                )
                return opened
        except DatabaseError as error:
            if not _SOON.search(str(error)) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


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
    context that PostgreSQL adds quote the row; and no message that may quote it too."""
    try:
        yield
    except psycopg2.Error as error:
        if error.pgcode is None:
            reason = [*str(error).strip().splitlines(), "no reason given"][0]
            if reason in _LOST:
                reason = "the connection was closed from the other side"
            raise DatabaseError(f"cannot reach the database: {reason}") from None
        quotes = not error.pgcode.startswith(_QUOTES_NOTHING)
        message = _condition(error.pgcode) if quotes else error.diag.message_primary
        text = f"the database answers {error.pgcode}: {message}"
        if error.pgcode == errorcodes.UNDEFINED_TABLE:
            raise NoSchemaError(f"{text}; run python -m tasks.migrate") from None
        if error.pgcode == errorcodes.LOCK_NOT_AVAILABLE:
            text += "; somebody's session holds it: SELECT pid, query FROM pg_stat_activity shows which"
        raise DatabaseError(text) from None


def _condition(sqlstate: str) -> str:
    """What PostgreSQL's manual calls a condition, such as ``invalid text representation``."""
    try:
        return errorcodes.lookup(sqlstate).lower().replace("_", " ")
    except KeyError:  # somebody's own
        return "an error of no known kind"


def run(
    database: Connection, name: str, parameters: Mapping[str, Value] | None = None
) -> list[tuple[Any, ...]]:
    """Run the statements of ``sql/<name>.sql`` and return the rows of the last one, if it gives rows."""
    with database.cursor() as cursor:
        cursor.execute(statement(name), parameters or None)
        return cursor.fetchall() if cursor.description else []
