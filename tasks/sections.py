"""The sections of luigi.cfg that are ours: a class each, named as Luigi wants it, like the section.

Read when a task runs, never at import. What is made of them: tasks.config.
"""

from __future__ import annotations

import difflib
import functools
import os
from typing import Any, cast

import luigi
from luigi.configuration import get_config

from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.sanitise.settings import ANNOTATIONS
from tasks.backup_store import NONE

#: What [sanitise] calls it to leave as it is what it would cut.
KEEP = "keep"


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


class collector(luigi.Config):
    """[collector]: on a collector's machine, the service that takes reports from probes."""

    directory = luigi.Parameter(default="/data/bouncer")
    listen = luigi.Parameter(default="127.0.0.1:8080")
    admin_listen = luigi.Parameter(default="127.0.0.1:9100")
    trusted_proxies = luigi.Parameter(default="127.0.0.1 ::1")
    stale_seconds = luigi.IntParameter(default=3600)
    keep_free_mb = luigi.IntParameter(default=500)
    body_limit_mb = luigi.IntParameter(default=20)
    bodies_mb = luigi.IntParameter(default=200)
    connections = luigi.IntParameter(default=2000)
    open_reports = luigi.IntParameter(default=20000)
    open_reports_per_address = luigi.IntParameter(default=200)
    requests_per_second = luigi.IntParameter(default=10000)
    requests_per_second_per_address = luigi.IntParameter(default=50)
    head_timeout = luigi.IntParameter(default=20)
    pause_timeout = luigi.IntParameter(default=30)
    body_timeout = luigi.IntParameter(default=300)
    keep_alive_timeout = luigi.IntParameter(default=75)
    stop_timeout = luigi.IntParameter(default=10)


class bouncer(luigi.Config):
    """[bouncer]: the collectors and test helpers that the service names to probes."""

    collectors = luigi.Parameter(default="")
    test_helpers = luigi.Parameter(default="")


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
    collector,
    bouncer,
)


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
