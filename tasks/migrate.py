"""``python -m tasks.migrate``: bring the database to the schema of this code."""

from __future__ import annotations

import argparse
import sys

from ooni_pipeline.database.migrate import migrate, warnings
from tasks import config
from tasks.command import command


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.migrate",
        description="Apply the schema files that the database lacks, then the views that are new or changed. "
        "Starts the embedded PostgreSQL where [database] url says embedded.",
        epilog="Example: LUIGI_CONFIG_PATH=/etc/ooni/luigi.cfg python -m tasks.migrate",
    )
    parser.parse_args()
    url = config.database_url(start=True)
    applied = migrate(url)
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("the database is up to date")
    for warning in warnings(url):
        print(f"warning: {warning}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
