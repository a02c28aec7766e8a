"""What the operator's commands share: dates on the command line, and errors of one line."""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import sys
from collections.abc import Callable, Iterator

from ooni_pipeline.bucket.forget import Matching, reports_of
from ooni_pipeline.bucket.inside import keep_inside
from ooni_pipeline.errors import PipelineError


def command(main: Callable[[], int]) -> Callable[[], int]:
    """A command's main: what the pipeline raises on purpose becomes one line and exit status 1, and so does,
    by :func:`keep_inside`, what nobody foresaw."""

    @functools.wraps(main)
    def run() -> int:
        keep_inside()
        try:
            return main()
        except PipelineError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:  # its output went to head or less, which has seen enough
            return 1
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            print(f"error: {where}{error.strerror or type(error).__name__}", file=sys.stderr)
            return 1

    return run


def date(text: str) -> dt.date:
    """A bucket_date on the command line."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2016-08-01") from None


def days(parser: argparse.ArgumentParser, first: dt.date, last: dt.date) -> Iterator[dt.date]:
    """Every date from first to last, both included; a command that is given them in turn says so."""
    if last < first:
        parser.error(f"the last bucket_date, {last}, is before the first, {first}")
    for number in range((last - first).days + 1):
        yield first + dt.timedelta(days=number)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options by which a command is for some reports of a bucket; :func:`matching_of` reads them."""
    parser.add_argument("--test-name", help="only reports of this nettest (normalise and sanitise only)")
    parser.add_argument("--country", help="only reports of this country, by the report's name, such as GR")
    parser.add_argument("--asn", help="only reports of this network, by the report's name, such as AS6799")


def matching_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Matching | None:
    """Which reports are meant; None for all of them, where no filter is given. One that is empty is a
    mistake (a variable of a script that is not set), never all reports."""
    filters = {name: getattr(arguments, name) for name in ("test_name", "country", "asn")}
    for name, value in filters.items():
        if value is not None and not value.strip():
            parser.error(f"--{name.replace('_', '-')} says nothing: leave it out for all reports")
    given = {name: value.strip() for name, value in filters.items() if value is not None}
    return reports_of(**given) if given else None
