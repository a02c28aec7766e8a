"""Bringing a database to the schema that this code needs, step by numbered step."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ooni_pipeline.database.connect import Connection, connected
from ooni_pipeline.database.statements import sql_directory
from ooni_pipeline.errors import DatabaseError

#: A look-up over all months of many years holds a lock on every partition and its indexes.
LOCKS_WANTED = 512

_JOURNAL = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    file text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_migrations IS 'Which files of sql/schema and sql/views were applied';
COMMENT ON COLUMN schema_migrations.file IS 'Name below sql/';
COMMENT ON COLUMN schema_migrations.digest IS 'SHA-256 of its text then';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When';
"""


def migrate(url: str) -> list[str]:
    """Apply the schema files that are missing, then the views that are new or changed, in one transaction.

    Returns the names of what was applied, none when the database is up to date. A schema file that was
    applied and has changed since is refused: schema goes forward by new files. Raises DatabaseError.
    """
    applied = []
    with connected(url) as database:
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('migrate'))")
            cursor.execute(_JOURNAL)
            cursor.execute("SELECT file, digest FROM schema_migrations")
            known = dict(cursor.fetchall())
        for path in _files("schema"):
            name, digest = _identity(path)
            if name not in known:
                applied.append(_apply(database, path))
            elif known[name] != digest:
                raise DatabaseError(
                    f"{name} has changed since it was applied; write a new numbered file instead"
                )
        for path in _files("views"):
            name, digest = _identity(path)
            if known.get(name) != digest:
                applied.append(_apply(database, path))
    return applied


def pending(database: Connection) -> list[str]:
    """The files that :func:`migrate` would apply, for a check before work begins."""
    with database.cursor() as cursor:
        cursor.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
        known: dict[str, str] = {}
        if cursor.fetchone() == (True,):
            cursor.execute("SELECT file, digest FROM schema_migrations")
            known = dict(cursor.fetchall())
    return [
        name
        for path in _files("schema") + _files("views")
        for name, digest in [_identity(path)]
        if known.get(name) != digest
    ]


def warnings(url: str) -> list[str]:
    """Settings of the server that will hurt later, in words for the operator."""
    with connected(url) as database, database.cursor() as cursor:
        cursor.execute("SHOW max_locks_per_transaction")
        row = cursor.fetchone()
    locks = int(row[0]) if row else 0
    if locks < LOCKS_WANTED:
        return [
            f"max_locks_per_transaction is {locks}: set it to {LOCKS_WANTED} or more, or look-ups over "
            "many years will fail with 'out of shared memory'"
        ]
    return []


def _files(directory: str) -> list[Path]:
    return sorted((sql_directory() / directory).glob("[0-9]*.sql"))


def _identity(path: Path) -> tuple[str, str]:
    return f"{path.parent.name}/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest()


def _apply(database: Connection, path: Path) -> str:
    name, digest = _identity(path)
    with database.cursor() as cursor:
        cursor.execute(path.read_text(encoding="utf-8"))
        cursor.execute(
            "INSERT INTO schema_migrations (file, digest) VALUES (%s, %s) "
            "ON CONFLICT (file) DO UPDATE SET digest = EXCLUDED.digest, applied_at = now()",
            (name, digest),
        )
    return name
