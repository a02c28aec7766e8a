"""``python -m tasks.database``: the PostgreSQL that this project runs itself."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from ooni_pipeline.database.connect import without_password
from ooni_pipeline.database.programs import find_binaries
from ooni_pipeline.errors import ConfigurationError, DatabaseError
from tasks import config
from tasks.command import command


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.database",
        description="Start, stop or look at the embedded PostgreSQL ([database] url = embedded). It is "
        "started by whatever loads measurements, outlives it, and runs until it is stopped here. With "
        "url and psql any database will do.",
        epilog="Examples: python -m tasks.database status; "
        "python -m tasks.database psql -c 'TABLE country_counts'",
    )
    parser.add_argument("action", choices=["start", "stop", "status", "url", "psql"])
    arguments, rest = parser.parse_known_args()
    if rest and arguments.action != "psql":
        parser.error(f"{arguments.action} takes nothing more")
    if arguments.action in ("url", "psql"):
        url = config.database_url(start=True)
        if arguments.action == "psql":
            return psql(url, rest)
        print(url)
        return 0
    server = config.embedded_server()
    if server is None:
        raise ConfigurationError("[database] url is not embedded: that server is somebody else's to run")
    if arguments.action == "start":
        server.ensure_running()
    elif arguments.action == "stop":
        server.stop()
    print(server.status())
    return 0


def psql(url: str, arguments: list[str]) -> int:
    """Become psql: the system's, which edits lines, else that of the embedded server."""
    program = shutil.which("psql") or str(find_binaries(None) / "psql")
    url, password = without_password(url)  # everybody can read what a process was called with
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    try:
        os.execve(program, [program, url, *arguments], environment)  # no shell: that is the point
    except OSError as error:
        raise DatabaseError(f"cannot run {program}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
