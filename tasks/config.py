"""The sections of luigi.cfg that are ours: a class each, named as Luigi wants it, like the section.

Read when a task runs, never at import.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import functools
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import luigi
from luigi.configuration import get_config

from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.pool import die_with_parent
from ooni_pipeline.bucket.room import MB, Room
from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.fingerprints import FingerprintTable, load_fingerprints
from ooni_pipeline.sanitise.settings import ANNOTATIONS, Settings, header_patterns
from ooni_pipeline.site.front import SiteSettings
from ooni_pipeline.transfer.collectors import Collector, DirectoryCollector
from ooni_pipeline.transfer.gated import GatedCollector
from ooni_pipeline.transfer.stores import Store
from tasks.backup_store import NONE, make_store

#: What [sanitise] calls it to leave as it is what it would cut.
KEEP = "keep"
#: It is shown in commands for a shell.
_SITE_URL = re.compile(r"https?://[A-Za-z0-9.:/_~\[\]-]+")


class paths(luigi.Config):
    """[paths]: the two trees."""

    private = luigi.Parameter(default="/data/ooni/private")
    public = luigi.Parameter(default="/data/ooni/public")


class fetch(luigi.Config):
    """[fetch]: where reports come from."""

    collectors = luigi.Parameter()
    settle_seconds = luigi.IntParameter(default=60)
    ssh_key = luigi.Parameter(default="/etc/ooni-pipeline/ssh/id_ed25519")
    known_hosts = luigi.Parameter(default="/etc/ooni-pipeline/ssh/known_hosts")
    ssh_timeout = luigi.IntParameter(default=60)


class backup(luigi.Config):
    """[backup]: where the private copy goes."""

    url = luigi.Parameter()
    endpoint_url = luigi.Parameter(default="")
    region = luigi.Parameter(default="")
    server_side_encryption = luigi.ChoiceParameter(
        choices=["AES256", "aws:kms", "aws:kms:dsse", NONE], default="AES256"
    )
    storage_class = luigi.Parameter(default="")
    connections = luigi.IntParameter(default=8)
    attempts = luigi.IntParameter(default=6)
    timeout = luigi.IntParameter(default=60)
    encrypt_to = luigi.Parameter(default="")
    identity = luigi.Parameter(default="")


class raw(luigi.Config):
    """[raw]: how long raw files lie here."""

    keep_days = luigi.IntParameter(default=0)


class processing(luigi.Config):
    """[processing]: how a stage is spread."""

    processes = luigi.IntParameter(default=0)
    keep_free_mb = luigi.IntParameter(default=200)


class sanitise(luigi.Config):
    """[sanitise]: what must not be public."""

    bridge_table = luigi.Parameter()
    max_addresses_beside_hit = luigi.IntParameter(default=200)
    probe_city = luigi.ChoiceParameter(choices=["withhold", KEEP], default="withhold")
    probe_id = luigi.ChoiceParameter(choices=["withhold", KEEP], default="withhold")
    uuids = luigi.ChoiceParameter(choices=["withhold", KEEP], default="withhold")
    near_resolvers = luigi.ChoiceParameter(choices=["scrub", KEEP], default="scrub")
    input_urls = luigi.ChoiceParameter(choices=["cut", KEEP], default="cut")
    options = luigi.ChoiceParameter(choices=["cut", KEEP], default="cut")
    process_logs = luigi.ChoiceParameter(choices=["cut", KEEP], default="cut")
    annotations = luigi.Parameter(default=" ".join(sorted(ANNOTATIONS)))
    headers = luigi.Parameter(default="")


class publish(luigi.Config):
    """[publish]: when the mirror shows a bucket, and what it says of the data."""

    hold_hours = luigi.IntParameter(default=0)
    licence = luigi.Parameter(default="CC BY-NC-SA 4.0")
    site_url = luigi.Parameter(default="https://mirror.example")


class mirror(luigi.Config):
    """[mirror]: on the mirror's machine, where the public tree comes from and where it is served."""

    source = luigi.Parameter(default="")
    directory = luigi.Parameter(default="/srv/ooni-mirror")
    ssh_key = luigi.Parameter(default="/etc/ooni-pipeline/ssh/id_ed25519")
    known_hosts = luigi.Parameter(default="/etc/ooni-pipeline/ssh/known_hosts")
    ssh_timeout = luigi.IntParameter(default=60)


class fingerprints(luigi.Config):
    """[fingerprints]: what block pages look like, beside what the pipeline knows itself."""

    lists = luigi.Parameter(default="")


class database(luigi.Config):
    """[database]: where measurements are loaded."""

    url = luigi.Parameter()
    embedded_bin_dir = luigi.Parameter(default="")


class check(luigi.Config):
    """[check]: from when on ``tasks.check`` calls something late, little or full."""

    late_hours = luigi.IntParameter(default=3)
    least_percent = luigi.IntParameter(default=25)
    free_percent = luigi.IntParameter(default=10)
    longest_hours = luigi.IntParameter(default=20)
    held_days = luigi.IntParameter(default=7)


class withdraw(luigi.Config):
    """[withdraw]: how long copies are kept that the pipeline cannot reach."""

    dumps_days = luigi.IntParameter(default=0)
    snapshots_days = luigi.IntParameter(default=0)
    mirror_hours = luigi.IntParameter(default=0)


class notify(luigi.Config):
    """[notify]: who is told of a fault."""

    webhook = luigi.Parameter(default="")


SECTIONS: tuple[type[luigi.Config], ...] = (
    paths,
    fetch,
    backup,
    raw,
    processing,
    sanitise,
    publish,
    mirror,
    fingerprints,
    database,
    check,
    withdraw,
    notify,
)

#: Seconds for a batch of files from one collector (2 GB, or one file): slower than that it hangs.
_LONGEST_COPY = 6 * 3600
#: A year: more is a mistake.
_MOST_HOURS = 24 * 366


def section(config: type[luigi.Config]) -> Any:
    """The values of one section. Raises ConfigurationError that names a missing, mistyped or bad option."""
    name = config.__name__
    _check_the_file(os.environ.get("LUIGI_CONFIG_PATH", ""), tuple(cast(Any, get_config()).sections()))
    options = {option.replace("_", "-") for option, _ in config.get_params()}
    parser = get_config()
    if parser.has_section(name):
        for written in cast(Any, parser).options(name):
            if written.replace("_", "-") not in options and not cast(Any, parser).defaults().get(written):
                known = ", ".join(sorted(option.replace("-", "_") for option in options))
                raise ConfigurationError(f"luigi.cfg has no option [{name}] {written}; there are: {known}")
    try:
        return config()
    except luigi.parameter.MissingParameterException as error:
        missing = str(error).rpartition("requires the '")[2].partition("'")[0] or str(error)
        raise ConfigurationError(
            f"luigi.cfg lacks [{name}] {missing}; LUIGI_CONFIG_PATH names the file"
        ) from None
    except ValueError as error:
        raise ConfigurationError(
            f"luigi.cfg: a value in [{name}] cannot be read: {error} (a % in it is written %%)"
        ) from None


@functools.lru_cache(maxsize=4)
def _check_the_file(path: str, sections: tuple[str, ...]) -> None:
    """Raise ConfigurationError where luigi itself would quietly go on with defaults: the file that
    LUIGI_CONFIG_PATH names is not there, or one of our sections is mistyped."""
    if path and not os.access(path, os.R_OK):
        raise ConfigurationError(f"LUIGI_CONFIG_PATH names {path}, which cannot be read")
    ours = {config.__name__ for config in SECTIONS}
    for written in sections:
        meant = difflib.get_close_matches(written, ours - {written}, 1, 0.8) if written not in ours else []
        if meant:
            raise ConfigurationError(f"luigi.cfg has a section [{written}]: is it meant to be [{meant[0]}]?")


def layout() -> Layout:
    """The two trees. What is made in the private one is for its owner alone."""
    os.umask(0o077)
    trees = section(paths)
    for option in ("private", "public"):
        if not getattr(trees, option).startswith("/"):
            raise ConfigurationError(f"luigi.cfg: [paths] {option} is no absolute directory")
    return Layout(private=Path(trees.private), public=Path(trees.public))


def collectors() -> list[Collector]:
    """The collectors, from a list separated by white space or commas."""
    return [_collector(place) for place in section(fetch).collectors.replace(",", " ").split()]


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
    seconds = int(section(fetch).settle_seconds)
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
            return DirectoryCollector(Path(parts.path), clock=time.time)
    raise ConfigurationError(f"luigi.cfg: [fetch] collectors: {_shown(place)} {why}")


def _far_collector(place: str) -> Collector:
    """One behind ssh. Raises ValueError for a place that is none."""
    from ooni_pipeline.remote import rsync  # paramiko takes a while to import: only where it is needed
    from ooni_pipeline.remote.account import parse_account
    from ooni_pipeline.remote.ssh import SshSession

    options = section(fetch)
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
    return make_store(section(backup), layout())


def connections() -> int:
    """How many objects of the backup are moved at a time."""
    return int(section(backup).connections)


def keep_days() -> int:
    """How many days raw files lie here before ``tasks.cleanup`` may free them; 0: for ever."""
    days = int(section(raw).keep_days)
    if days < 0:
        raise ConfigurationError("luigi.cfg: [raw] keep_days is less than 0")
    return days


def _shown(place: str) -> str:
    """A place for an error text: without what may be a user name and a password."""
    scheme, colon, _ = place.partition("://")
    return f"{scheme}{colon}…" if colon or "@" in place else repr(place)


def process_count() -> int:
    """How many processes a stage may use: 0 means one a core."""
    return int(section(processing).processes) or len(os.sched_getaffinity(0))


def room() -> Room:
    """What must be free before a stage begins; a negative number means not to look."""
    keep_free = int(section(processing).keep_free_mb)
    return Room(None if keep_free < 0 else keep_free * MB)


def bridge_table() -> Path:
    """The private look-up of bridges."""
    return Path(section(sanitise).bridge_table).absolute()


def hold() -> dt.timedelta:
    """How long a sanitised bucket waits for somebody's veto before it is published."""
    hours = int(section(publish).hold_hours)
    if not 0 <= hours <= _MOST_HOURS:
        raise ConfigurationError(f"luigi.cfg: [publish] hold_hours is not between 0 and {_MOST_HOURS}")
    return dt.timedelta(hours=hours)


def site_settings() -> SiteSettings:
    """What the public site says of itself."""
    options = section(publish)
    url = str(options.site_url)
    if urlsplit(url).scheme not in ("http", "https") or not _SITE_URL.fullmatch(url):
        raise ConfigurationError("luigi.cfg: [publish] site_url is no https:// URL without spaces and quotes")
    return SiteSettings(licence=str(options.licence), url=url)


def webhook() -> str:
    """Where faults are POSTed to; empty for nowhere. A secret: no error shows it."""
    url = str(section(notify).webhook)
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError("luigi.cfg: [notify] webhook is no https:// URL")
    return url


def sanitise_settings() -> Settings:
    """What is withheld."""
    options = section(sanitise)
    cuts = ("probe_city", "probe_id", "uuids", "near_resolvers", "input_urls", "options", "process_logs")
    path = Path(options.headers).absolute() if options.headers else None
    try:
        patterns = header_patterns(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text, or names no header"
        raise ConfigurationError(f"luigi.cfg: [sanitise] headers: {path} cannot be used: {why}") from None
    return Settings(
        **{name: getattr(options, name) != KEEP for name in cuts},
        annotations=frozenset(options.annotations.lower().replace(",", " ").split()),
        headers=patterns,
        max_addresses_beside_hit=options.max_addresses_beside_hit,
    )


def fingerprint_lists() -> list[Path]:
    """The files of [fingerprints] lists."""
    paths = [Path(path) for path in section(fingerprints).lists.split()]
    for path in paths:
        if not path.is_absolute():
            raise ConfigurationError(f"luigi.cfg: [fingerprints] lists: {path} is no absolute path of a file")
    return paths


def fingerprint_table() -> FingerprintTable:
    """The table that is matched: the pipeline's own rows and those of the lists."""
    return load_fingerprints(lists=fingerprint_lists())


def embedded_server() -> EmbeddedServer | None:
    """The PostgreSQL that this project runs itself, when [database] url is the word ``embedded``."""
    options = section(database)
    if options.url != "embedded":
        return None
    bin_dir = Path(options.embedded_bin_dir) if options.embedded_bin_dir else None
    return EmbeddedServer(layout().database(), bin_dir)


def database_url(*, start: bool = False) -> str:
    """Where the database is. With ``start`` an embedded server is started when it does not run."""
    server = embedded_server()
    if server is not None:
        return server.ensure_running() if start else server.url
    url = str(section(database).url)
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(
            "luigi.cfg: [database] url is neither a postgresql:// URL nor the word embedded"
        )
    return url
