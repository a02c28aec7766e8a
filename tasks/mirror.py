"""``python -m tasks.mirror``: the hourly job of the machine that serves the mirror."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ooni_pipeline.bucket.pool import die_with_parent
from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.remote.account import parse_account
from ooni_pipeline.remote.rsync import pull, pull_local
from ooni_pipeline.transfer.mirror import Pull, mirror
from tasks import sections
from tasks.base import waiting
from tasks.command import command

#: Seconds for one copy (the first of ten years takes long): slower than that it hangs.
_LONGEST_COPY = 24 * 3600.0


def puller() -> Pull:
    """What copies from [mirror] source. Raises ConfigurationError for a source that is none."""
    options = sections.section(sections.mirror)
    place = str(options.source)
    if not place:
        raise ConfigurationError("luigi.cfg: [mirror] source is empty: name where the public tree comes from")
    # The copy must not go on without us: another run would begin beside it.
    with_us = functools.partial(die_with_parent, os.getpid())
    try:
        parts = urlsplit(place)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme in ("", "file") and not parts.netloc and parts.path.startswith("/"):
        source = Path(parts.path)

        def here(path: str, destination: Path, with_options: Sequence[str]) -> None:
            pull_local(source / path, destination, with_options, limit=_LONGEST_COPY, in_child=with_us)

        return here

    try:
        if options.ssh_timeout < 1:
            raise ConfigurationError("luigi.cfg: [mirror] ssh_timeout is less than a second")
        key, hosts, timeout = Path(options.ssh_key), Path(options.known_hosts), float(options.ssh_timeout)
        account, directory, _ = parse_account(place, key, hosts, timeout)
    except ValueError as error:  # it shows nothing of the place
        why = str(error) if str(error).startswith(("is ", "has ", "does ")) else "is no URL"
        raise ConfigurationError(
            f"luigi.cfg: [mirror] source {why}; nor is it an absolute directory"
        ) from None

    def there(path: str, destination: Path, with_options: Sequence[str]) -> None:
        pull(
            account,
            destination,
            directory=f"{directory.rstrip('/')}/{path}",
            limit=_LONGEST_COPY,
            options=with_options,
            in_child=with_us,
        )

    return there


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.mirror",
        description="Pull what [mirror] source publishes into [mirror] directory: changed buckets, each put "
        "in place in one step when it arrived as its SHA256SUMS says, then the pages. What is gone there "
        "goes here. Exits with 1, and a line for each bucket, where one could not be taken; the next run "
        "does it.",
        epilog="Examples: python -m tasks.mirror; python -m tasks.mirror --quiet (for cron: prints nothing "
        "when all is well)",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing when all is well")
    arguments = parser.parse_args()
    directory = Path(sections.section(sections.mirror).directory)
    if not directory.is_absolute():
        raise ConfigurationError("luigi.cfg: [mirror] directory is no absolute directory")
    done = mirror(directory, puller(), waiting("python -m tasks.mirror"))
    for problem in done.problems:
        print(f"PROBLEM    {problem}")
    if not arguments.quiet:
        print(f"{len(done.taken)} buckets came or were replaced, {len(done.removed)} went")
    return 1 if done.problems else 0


if __name__ == "__main__":
    sys.exit(main())
