"""``ooni-collector``: the service of a collector's machine, which takes reports from probes.

One process does it all: which reports are open is known in its memory, and a disk that has to be waited for
at each entry is no faster with two. It logs to standard error, for journald, and nothing of any client.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from luigi.configuration import LuigiConfigParser

from ooni_pipeline.bucket.inside import keep_inside
from ooni_pipeline.collector.bouncer import Bouncer, parse_bouncer
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.settings import CollectorSettings
from ooni_pipeline.errors import ConfigurationError, told
from tasks import sections
from tasks.command import command

_OURS = ("ooni_pipeline", "tasks")


def settings() -> CollectorSettings:
    """[collector] of the configuration. Raises ConfigurationError for what cannot be read."""
    options = sections.section(sections.collector)
    values = {name: getattr(options, name) for name, _ in sections.collector.get_params()}
    return CollectorSettings(**{**values, "directory": Path(values["directory"])})


def bouncer() -> Bouncer:
    """[bouncer] of the configuration. Raises ConfigurationError."""
    options = sections.section(sections.bouncer)
    return parse_bouncer(options.collectors, options.test_helpers)


def read_configuration(path: Path) -> None:
    """Make a file the whole configuration of this process. Raises ConfigurationError for one that is none."""
    if not os.access(path, os.R_OK):
        raise ConfigurationError(
            f"{path} cannot be read; --config names a file with [collector] and [bouncer]"
        )
    os.environ["LUIGI_CONFIG_PATH"] = str(path)
    parser: Any = LuigiConfigParser
    parser._config_paths, parser._instance = [str(path)], None
    try:
        parser.instance()
    except Exception as error:  # of configparser, which quotes the line
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise ConfigurationError(f"{path}{where} is no configuration file: {type(error).__name__}") from None


def configured(only_looks: bool) -> tuple[CollectorSettings | None, Bouncer | None, list[str]]:
    """What the configuration says, and a line for each of its faults. Who ``only_looks``, perhaps as root,
    makes no directory, which the service could not write to."""
    faults = []
    service = names = None
    try:
        service = settings()
        faults += [f"luigi.cfg: {fault}" for fault in service.faults()]
    except ConfigurationError as error:
        faults.append(str(error))
    try:
        names = bouncer()
    except ConfigurationError as error:
        faults.append(str(error))
    if service is not None and service.directory.is_absolute():
        try:
            layout = CollectorLayout(service.directory)
            layout.check() if only_looks else layout.prepare()
        except ConfigurationError as error:
            faults.append(str(error))
    return service, names, list(dict.fromkeys(faults))


class _Log(logging.Formatter):
    """Our own lines, as they are. Of a library only where it complained: its text may quote a client."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.split(".")[0] in _OURS:
            return f"{record.levelname.lower()}: {record.getMessage()}"
        caught = record.exc_info[1] if record.exc_info else None
        why = f": {told(caught)}" if caught is not None else ""
        return f"{record.levelname.lower()}: {record.name}:{record.lineno} complained{why}"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Log())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ooni_pipeline").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it complains of each request that is no HTTP
    logging.raiseExceptions = False  # a log that cannot be written is not told with its arguments


def _tell_systemd(state: str) -> None:
    """What Type=notify waits for; nothing where nobody waits."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outlet:
        outlet.connect("\0" + place[1:] if place.startswith("@") else place)
        outlet.sendall(state.encode())


def _ready(public: str, admin: str) -> None:
    print(f"ooni-collector: probes at http://{public}, health and metrics at http://{admin}", file=sys.stderr)
    try:
        _tell_systemd("READY=1")
    except OSError as error:
        print(f"ooni-collector: NOTIFY_SOCKET cannot be told: {error.strerror}", file=sys.stderr)


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ooni-collector",
        description="Take reports from probes, by [collector] and [bouncer] of the configuration, until it "
        "is told to stop (SIGTERM). Exits with 0 when it was, with 1 when it cannot serve, with 2, and one "
        "line for each, for faults of the configuration.",
        epilog="Example: ooni-collector --config /etc/ooni-pipeline/luigi.cfg (--check before a restart)",
    )
    parser.add_argument("--config", type=Path, required=True, help="the file with [collector] and [bouncer]")
    parser.add_argument("--check", action="store_true", help="only look at the configuration, and say it")
    arguments = parser.parse_args()
    keep_inside()
    try:
        read_configuration(arguments.config)
        service, names, faults = configured(arguments.check)
    except ConfigurationError as error:
        service, names, faults = None, None, [str(error)]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if faults or service is None or names is None:
        return 2
    if arguments.check:
        _say(service, names)
        return 0
    try:
        from ooni_pipeline.collector.http.serve import run  # it takes a while, and the extra
    except ImportError as error:
        raise ConfigurationError(
            f"{error.name} is not installed: pip install 'ooni-pipeline[collector]'"
        ) from None
    _log_to_stderr()
    run(service, names, clock=time.time, steady=time.monotonic, ready=_ready)
    return 0


def _say(service: CollectorSettings, names: Bouncer) -> None:
    """What the service would do."""
    print(f"probes at http://{service.listen}, health and metrics at http://{service.admin_listen}")
    print(f"reports in {service.directory}; archived when they are silent for {service.stale_seconds} s")
    print(f"X-Forwarded-For is believed of: {service.trusted_proxies or 'nobody'}")
    print(f"the bouncer names {len(names.collectors)} collectors and {len(names.test_helpers)} test helpers")


if __name__ == "__main__":
    sys.exit(main())
