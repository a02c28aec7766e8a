"""The data directory of the embedded server: making it whole, and its configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

from ooni_pipeline.database.programs import run_program, version_of
from ooni_pipeline.errors import DatabaseError

DATABASE = "ooni"
SUPERUSER = "postgres"
PORT = 5432  # only the end of the socket's name; nothing listens on the network
SETTINGS_NAME = "ooni_pipeline.conf"

MAX_WAL_GB = 4
#: Bytes of tables and indexes, and of WAL, for each byte of a sanitised report. Measured over the demo and
#: the corpus of real reports, the lower of the two: 1.13 and 1.05, 1.05 and 0.96.
_OF_TABLES, _OF_WAL = 1.05, 0.95

SETTINGS = """\
# Written by ooni_pipeline at every start. For settings of your own: ALTER SYSTEM SET, then stop and start.
listen_addresses = ''
port = {port}
unix_socket_directories = {socket_dir}
unix_socket_permissions = 0700
max_locks_per_transaction = 512        # metrics has a partition a month
shared_buffers = 256MB
maintenance_work_mem = 128MB
max_wal_size = {max_wal_gb}GB          # a bucket is loaded in one go: no checkpoint every few seconds
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
default_toast_compression = {compression}
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_destination = 'stderr'             # pg_ctl appends it to server.log
logging_collector = off
log_checkpoints = off
# What probes sent must not get into the log: an ERROR's text may quote a value, and its client gets it.
log_min_messages = log                 # = LOG, FATAL and PANIC, without ERROR
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = none
log_min_duration_statement = -1
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""


def create(data_dir: Path, bin_dir: Path, lock: int) -> None:
    """Make the data directory aside and move it into place whole, with the database in it.

    initdb inherits the lock: when we are killed, the next starter waits until it has ended too.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise DatabaseError(f"{data_dir} is neither empty nor a PostgreSQL data directory")
    new = data_dir.with_name(data_dir.name + ".new")
    if new.exists():  # of a starter that was killed; only the holder of the lock gets here
        shutil.rmtree(new)
    new.mkdir(mode=0o700)  # by us, not initdb: inside the namespace root is an ordinary user
    # Sorted by code point, with the letters of all alphabets known. LIKE 'x%' can use a plain index.
    locales = [("--locale=C.UTF-8", "--lc-collate=C"), ("--locale=C",)]
    if int(version_of(bin_dir)) >= 17:
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        locales = [(*builtin, "--locale=C.UTF-8"), (*builtin, "--locale=C")]
    for locale in locales:  # the second for a system that has no C.UTF-8
        made = run_program(
            *(bin_dir / "initdb", "-D", new, f"--username={SUPERUSER}", "--encoding=UTF8", *locale),
            *("--data-checksums", "--auth-local=trust", "--auth-host=reject", "--no-instructions"),
            pass_fds=(lock,),
        )
        if made.returncode == 0:
            break
    else:
        raise DatabaseError(
            f"initdb could not make {data_dir}: {made.stderr.strip()} (when root runs it, the "
            "directories above the data and the programs must be root's or open to everybody)"
        )
    made = run_program(
        *(bin_dir / "postgres", "--single", "-D", new, "-c", "exit_on_error=on", "postgres"),
        standard_input=f"CREATE DATABASE {DATABASE}\n",
        pass_fds=(lock,),
    )
    if made.returncode:
        raise DatabaseError(f"could not create the database {DATABASE}: {made.stderr.strip()}")
    with (new / "postgresql.conf").open("a") as file:
        file.write(f"\ninclude_if_exists = '{SETTINGS_NAME}'\n")
    new.rename(data_dir)  # replaces an empty directory


def needed(data_dir: Path, sanitised: int) -> int:
    """About so many bytes the database grows by when so many bytes of sanitised reports are loaded. WAL is
    written into files that are there already, as far as they go, and a checkpoint frees them again."""
    here = sum(path.stat().st_size for path in (data_dir / "pg_wal").glob("[0-9A-F]*") if path.is_file())
    wal = min(int(sanitised * _OF_WAL), MAX_WAL_GB * 2**30)
    return int(sanitised * _OF_TABLES) + max(0, wal - here)


def write_settings(data_dir: Path, bin_dir: Path, socket_dir: Path) -> None:
    """Write our part of the configuration, where it has changed."""
    # The wheel has no lz4. The server knows: it refuses a value that it was not built for.
    ask = ("-c", "default_toast_compression=lz4", "-C", "default_toast_compression")
    has_lz4 = run_program(bin_dir / "postgres", "-D", data_dir, *ask).returncode == 0
    listed = str(socket_dir).replace("'", "''")  # a quoted name in a list, in a quoted string
    settings = SETTINGS.format(
        port=PORT,
        socket_dir=f"'\"{listed}\"'",
        compression="lz4" if has_lz4 else "pglz",
        max_wal_gb=MAX_WAL_GB,
    )
    path = data_dir / SETTINGS_NAME
    if not path.exists() or path.read_text() != settings:
        new = path.with_suffix(".new")
        new.write_text(settings)
        new.replace(path)
