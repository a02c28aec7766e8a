"""Search published files, dumps and logs for what must not be in them.

Examples:
  python -m tests.leaks --bridges table.json --reports private/normalised/2016-08-01 public/2016-08-01
  pg_dump URL > dump.sql; python -m tests.leaks --bridges table.json --reports private/normalised dump.sql
  python -m tests.leaks --canaries canaries.txt --address 192.0.2.7 night.log luigid/state server.log

Each finding is a line: file, line number (0: the file's name), what it is, and how it is written. The secret
itself is told with --show alone. Exit status: 0 when nothing is found, 1 when something is, 2 for usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.leaks.addresses import parsed
from tests.leaks.scan import Search
from tests.leaks.sought import Sought


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.leaks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("places", nargs="+", type=Path, metavar="PLACE", help="a file or directory to search; gzip too")
    add("--bridges", action="append", type=Path, default=[], metavar="TABLE",
        help='a bridge table; lines with "public": true may be seen. May be repeated')  # fmt: skip
    add("--reports", action="append", type=Path, default=[], metavar="PLACE",
        help="private reports as JSON lines (the normalised stage, say), one or a directory: what each "
        "reveals as its own is looked for in the published one of the same name, and in rows that name "
        "it. May be repeated")  # fmt: skip
    add("--canary", action="append", default=[], metavar="TEXT", help="a text to look for. May be repeated")
    add("--canaries", action="append", type=Path, default=[], metavar="FILE",
        help="a file of such texts, one a line. May be repeated")  # fmt: skip
    add("--address", action="append", default=[], metavar="ADDRESS",
        help="an address to look for everywhere, in every spelling. May be repeated")  # fmt: skip
    add("--show", action="store_true", help="tell the secrets that are found")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    sought = Sought()
    search = Search(sought)
    try:
        for table in options.bridges:
            sought.add_table(table)
        for file in options.canaries:
            sought.add_canaries(file.read_text(encoding="utf-8").splitlines())
        sought.add_canaries(options.canary)
        for number, address in enumerate(options.address, 1):
            packed = parsed(address)
            if packed is None:
                parser.error(f"address {number} is none")
            sought.own[packed] = f"address {number}"
        known = sum(search.read_private(place) for place in options.reports)
        if options.reports and not known:
            parser.error("no report among the private ones: their names end with .json, or .json.gz")
        if not (sought.bridges or sought.canaries or sought.own or search.reports):
            parser.error("nothing to look for")
        found = 0
        for place in options.places:
            for finding in search.through(place):
                print(finding.told(options.show))
                found += 1
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{found} found" if found else "nothing found", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
