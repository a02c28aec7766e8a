"""What tasks and commands make of luigi.cfg: trees, collectors, the backup, settings, the database.

Read when a task runs, never at import. The sections themselves: tasks.sections.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.pool import die_with_parent
from ooni_pipeline.bucket.room import MB, Room
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.fingerprints import FingerprintTable, load_fingerprints
from ooni_pipeline.sanitise.settings import Settings, header_patterns
from ooni_pipeline.site.front import SiteSettings
from ooni_pipeline.transfer.collectors import Collector, DirectoryCollector
from ooni_pipeline.transfer.gated import GatedCollector
from ooni_pipeline.transfer.stores import Store
from tasks import sections
from tasks.backup_store import make_store

#: It is shown in commands for a shell.
_SITE_URL = re.compile(r"https?://[A-Za-z0-9.:/_~\[\]-]+")


#: Seconds for a batch of files from one collector (2 GB, or one file): slower than that it hangs.
_LONGEST_COPY = 6 * 3600
#: A year: more is a mistake.
_MOST_HOURS = 24 * 366


def layout() -> Layout:
    """The two trees. What is made in the private one is for its owner alone."""
    os.umask(0o077)
    trees = sections.section(sections.paths)
    for option in ("private", "public"):
        if not getattr(trees, option).startswith("/"):
            raise ConfigurationError(f"luigi.cfg: [paths] {option} is no absolute directory")
    return Layout(private=Path(trees.private), public=Path(trees.public))


def collector_layout() -> CollectorLayout:
    """On a collector's machine: where its reports lie."""
    directory = Path(sections.section(sections.collector).directory)
    if not directory.is_absolute():
        raise ConfigurationError("luigi.cfg: [collector] directory is no absolute directory")
    return CollectorLayout(directory)


def collectors() -> list[Collector]:
    """The collectors, from a list separated by white space or commas."""
    return [
        _collector(place) for place in sections.section(sections.fetch).collectors.replace(",", " ").split()
    ]


@contextlib.contextmanager
def open_collectors() -> Iterator[list[Collector]]:
    """The collectors, for as long as the block lasts."""
    with contextlib.ExitStack() as held:
        opened = collectors()
        for collector in opened:
            held.callback(collector.close)
        yield opened


def settle_seconds() -> int:
    """For how long a report must not have changed to be fetched."""
    seconds = int(sections.section(sections.fetch).settle_seconds)
    if not 0 <= seconds <= _MOST_HOURS * 3600:
        raise ConfigurationError("luigi.cfg: [fetch] settle_seconds is not between 0 and a year")
    return seconds


def _collector(place: str) -> Collector:
    why = "is no absolute directory and no ssh://user@host:port/directory"
    try:
        if place.startswith("ssh:"):
            return _far_collector(place)
        parts = urlsplit(place)
    except ValueError as error:
        why = str(error) if place.startswith("ssh:") else "is no URL"
    else:
        if parts.scheme in ("", "file") and not parts.netloc and parts.path.startswith("/"):
            _must_not_be_ours(Path(parts.path))
            return DirectoryCollector(Path(parts.path), clock=time.time)
    raise ConfigurationError(f"luigi.cfg: [fetch] collectors: {_shown(place)} {why}")


def _must_not_be_ours(archive: Path) -> None:
    """Files are removed from a collector once they are fetched: it must be no tree of our own."""
    url = str(sections.section(sections.backup).url).removeprefix("file://")
    ours = [layout().private, layout().public] + [Path(url)] * url.startswith("/")
    archive = archive.resolve()
    for tree in map(Path.resolve, ours):
        if archive.is_relative_to(tree) or tree.is_relative_to(archive):
            raise ConfigurationError(
                f"luigi.cfg: [fetch] collectors: {archive} and {tree} lie in one another: what is fetched is "
                "removed on a collector, so it must be a directory of its own"
            )


def _far_collector(place: str) -> Collector:
    """One behind ssh. Raises ValueError for a place that is none."""
    from ooni_pipeline.remote import rsync  # paramiko takes a while to import: only where it is needed
    from ooni_pipeline.remote.account import parse_account
    from ooni_pipeline.remote.ssh import SshSession

    options = sections.section(sections.fetch)
    if options.ssh_timeout < 1:
        raise ConfigurationError("luigi.cfg: [fetch] ssh_timeout is less than a second")
    account, directory, name = parse_account(
        place, Path(options.ssh_key), Path(options.known_hosts), float(options.ssh_timeout)
    )

    def pull(names: Iterable[str], spool: Path) -> None:
        rsync.pull(
            account,
            spool,
            names=names,
            limit=_LONGEST_COPY,
            in_child=functools.partial(die_with_parent, os.getpid()),
        )

    spool = layout().spool(name)
    lock = layout().lock(spool.name.lstrip("."))
    return GatedCollector(name, directory, SshSession(account), pull, spool, lock)


def store() -> Store:
    """The backup."""
    return make_store(sections.section(sections.backup), layout())


def connections() -> int:
    """How many objects of the backup are moved at a time."""
    return int(sections.section(sections.backup).connections)


def keep_days() -> int:
    """How many days raw files lie here before ``tasks.cleanup`` may free them; 0: for ever."""
    days = int(sections.section(sections.raw).keep_days)
    if days < 0:
        raise ConfigurationError("luigi.cfg: [raw] keep_days is less than 0")
    return days


def _shown(place: str) -> str:
    """A place for an error text: without what may be a user name and a password."""
    scheme, colon, _ = place.partition("://")
    return f"{scheme}{colon}…" if colon or "@" in place else repr(place)


def process_count() -> int:
    """How many processes a stage may use: 0 means one a core."""
    return int(sections.section(sections.processing).processes) or len(os.sched_getaffinity(0))


def room() -> Room:
    """What must be free before a stage begins; a negative number means not to look."""
    keep_free = int(sections.section(sections.processing).keep_free_mb)
    return Room(None if keep_free < 0 else keep_free * MB)


def bridge_table() -> Path:
    """The private look-up of bridges."""
    return Path(sections.section(sections.sanitise).bridge_table).absolute()


def hold() -> dt.timedelta:
    """How long a sanitised bucket waits for somebody's veto before it is published."""
    hours = int(sections.section(sections.publish).hold_hours)
    if not 0 <= hours <= _MOST_HOURS:
        raise ConfigurationError(f"luigi.cfg: [publish] hold_hours is not between 0 and {_MOST_HOURS}")
    return dt.timedelta(hours=hours)


def site_settings() -> SiteSettings:
    """What the public site says of itself."""
    options = sections.section(sections.publish)
    url = str(options.site_url)
    if urlsplit(url).scheme not in ("http", "https") or not _SITE_URL.fullmatch(url):
        raise ConfigurationError("luigi.cfg: [publish] site_url is no https:// URL without spaces and quotes")
    return SiteSettings(licence=str(options.licence), url=url)


def webhook() -> str:
    """Where faults are POSTed to; empty for nowhere. A secret: no error shows it."""
    url = str(sections.section(sections.notify).webhook)
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError("luigi.cfg: [notify] webhook is no https:// URL")
    return url


def sanitise_settings() -> Settings:
    """What is withheld."""
    options = sections.section(sections.sanitise)
    cuts = ("probe_city", "probe_id", "uuids", "near_resolvers", "input_urls", "options", "process_logs")
    path = Path(options.headers).absolute() if options.headers else None
    try:
        patterns = header_patterns(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text, or names no header"
        raise ConfigurationError(f"luigi.cfg: [sanitise] headers: {path} cannot be used: {why}") from None
    return Settings(
        **{name: getattr(options, name) != sections.KEEP for name in cuts},
        annotations=frozenset(options.annotations.lower().replace(",", " ").split()),
        headers=patterns,
        max_addresses_beside_hit=options.max_addresses_beside_hit,
    )


def fingerprint_lists() -> list[Path]:
    """The files of [fingerprints] lists."""
    paths = [Path(path) for path in sections.section(sections.fingerprints).lists.split()]
    for path in paths:
        if not path.is_absolute():
            raise ConfigurationError(f"luigi.cfg: [fingerprints] lists: {path} is no absolute path of a file")
    return paths


def fingerprint_table() -> FingerprintTable:
    """The table that is matched: the pipeline's own rows and those of the lists."""
    return load_fingerprints(lists=fingerprint_lists())


def embedded_server() -> EmbeddedServer | None:
    """The PostgreSQL that this project runs itself, when [database] url is the word ``embedded``."""
    options = sections.section(sections.database)
    if options.url != "embedded":
        return None
    bin_dir = Path(options.embedded_bin_dir) if options.embedded_bin_dir else None
    return EmbeddedServer(layout().database(), bin_dir)


def database_url(*, start: bool = False) -> str:
    """Where the database is. With ``start`` an embedded server is started when it does not run."""
    server = embedded_server()
    if server is not None:
        return server.ensure_running() if start else server.url
    url = str(sections.section(sections.database).url)
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(
            "luigi.cfg: [database] url is neither a postgresql:// URL nor the word embedded"
        )
    return url
