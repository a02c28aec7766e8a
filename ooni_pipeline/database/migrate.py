"""Bringing a database to the schema that this code needs, step by numbered step."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ooni_pipeline.database.connect import Connection, connected, run, told_safely
from ooni_pipeline.database.statements import sql_directory
from ooni_pipeline.database.views import refresh_views
from ooni_pipeline.errors import DatabaseError

#: A look-up over all months of many years holds a lock on every partition and its indexes.
LOCKS_WANTED = 512


def migrate(url: str) -> list[str]:
    """Apply the schema files that are missing, then the views that are new or changed, in one transaction.

    Returns the names of what was applied, none when the database is up to date. A schema file that was
    applied and has changed since is refused: schema goes forward by new files. So is a database that
    newer code has migrated, and one that is not in UTF-8. Raises DatabaseError.
    """
    with connected(url, patient=True) as database:
        encoding = run(database, "checks/settings")[0][1]
        if encoding != "UTF8":
            raise DatabaseError(f"the database is in {encoding}; create one WITH ENCODING 'UTF8'")
        run(database, "schema/journal")
        known = _known(database)
        applied = [_apply(database, path) for path in _files("schema") if _is_missing(path, known)]
        views = [path for path in _files("views") if known.get(_name(path)) != _digest(path)]
        if views:
            run(database, "views/lock")
        applied += [_apply(database, path) for path in views]
    if views:
        refresh_views(url)  # a new view shows what was loaded since the last refresh: now all of them do
    return applied


def pending(database: Connection) -> list[str]:
    """The files that :func:`migrate` would apply, or refuse as changed, for a check before work begins."""
    known = _known(database) if run(database, "schema/journal_exists")[0][0] else {}
    return [
        _name(path) for path in _files("schema") + _files("views") if known.get(_name(path)) != _digest(path)
    ]


def warnings(url: str) -> list[str]:
    """Settings of the server that will hurt later, in words for the operator."""
    with connected(url) as database:
        locks, _, reader_reads, quiet = run(database, "checks/settings")[0]
    found = []
    if locks < LOCKS_WANTED:
        found.append(
            f"max_locks_per_transaction is {locks}: set it to {LOCKS_WANTED} or more, or look-ups over "
            "many years will fail with 'out of shared memory'"
        )
    if not reader_reads:
        found.append(
            "the role ooni_reader is missing or may not read: let the administrator of the server "
            "CREATE ROLE ooni_reader NOLOGIN, then run psql -f sql/schema/003-reader.sql"
        )
    if not quiet:
        found.append(
            "the server writes errors of this role into its log, and they quote what probes sent: let its "
            "administrator ALTER ROLE … SET log_min_messages = log, for the role in [database] url"
        )
    return found


def _known(database: Connection) -> dict[str, str]:
    """What was applied, by name. Raises DatabaseError where that is more than this code has."""
    known = dict(run(database, "schema/applied"))
    ours = {_name(path) for path in _files("schema")}
    newer = sorted(name for name in known if name.startswith("schema/") and name not in ours)
    if newer:
        raise DatabaseError(
            f"the database has {', '.join(newer)}, made by newer code: update this installation"
        )
    return known


def _is_missing(path: Path, known: dict[str, str]) -> bool:
    if known.get(_name(path), _digest(path)) != _digest(path):
        raise DatabaseError(
            f"{_name(path)} has changed since it was applied; write a new numbered file instead"
        )
    return _name(path) not in known


def _apply(database: Connection, path: Path) -> str:
    try:
        with told_safely(), database.cursor() as cursor:
            cursor.execute(path.read_text(encoding="utf-8"))
    except DatabaseError as error:
        raise DatabaseError(f"{_name(path)} cannot be applied: {error}") from None
    run(database, "schema/record", {"file": _name(path), "digest": _digest(path)})
    return _name(path)


def _files(directory: str) -> list[Path]:
    return sorted((sql_directory() / directory).glob("[0-9]*.sql"))


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
