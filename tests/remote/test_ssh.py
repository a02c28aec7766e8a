"""Connections that cannot be made: what the operator reads says what to do."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote import rsync
from ooni_pipeline.remote.account import Account, parse_account
from ooni_pipeline.remote.ssh import SshSession
from tests.parts.sshd import Sshd, can_sshd, keygen, running_sshd
from tests.parts.wire import Wire, wire

needs_sshd = pytest.mark.skipif(not can_sshd(), reason="no sshd, rsync or rrsync here")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    root = tmp_path_factory.mktemp("far")
    with running_sshd(root / "sshd") as server:
        yield server


@pytest.fixture
def account(sshd: Sshd) -> Account:
    return sshd.account(_key(sshd, "echo hello"), timeout=10)


def _key(sshd: Sshd, command: str) -> Path:
    key = sshd.root / f"key-{len(list(sshd.root.glob('key-*.pub')))}"
    keygen(key)
    sshd.authorize(key, command)
    return key


def told(account: Account) -> str:
    session = SshSession(account)
    with pytest.raises(TransferError) as error:
        list(session.run("list"))
    session.close()
    assert "\n" not in str(error.value)
    return str(error.value)


def told_by_rsync(account: Account, tmp_path: Path) -> str:
    with pytest.raises(TransferError) as error:
        rsync.pull(account, tmp_path / "arrives", names=["a"])
    assert list((tmp_path / "arrives").iterdir()) == []
    return str(error.value)


def through(between: Wire, account: Account) -> Account:
    """The same machine at the other end of a wire, and known there."""
    hosts = account.known_hosts.with_name(f"known_hosts-{between.port}")
    hosts.write_text(account.known_hosts.read_text().replace(str(account.port), str(between.port)))
    return replace(account, port=between.port, known_hosts=hosts)


def shown(key: Path) -> str:
    """The fingerprint as ssh-keygen shows it."""
    said = subprocess.run(["ssh-keygen", "-lf", str(key)], check=True, capture_output=True, text=True).stdout
    return said.split()[1]


@needs_sshd
def test_a_command_answers_again_and_again_over_one_connection(account: Account, sshd: Sshd) -> None:
    session = SshSession(account)
    before = sshd.log.count("Accepted publickey")
    for _ in range(3):
        assert list(session.run("anything", [b"to its standard input\n"])) == [b"hello"]
    session.close()
    assert list(session.run("after it was closed")) == [b"hello"]
    session.close()
    assert sshd.log.count("Accepted publickey") - before == 2


@needs_sshd
def test_a_command_that_ends_before_it_was_asked_has_its_say(account: Account, sshd: Sshd) -> None:
    def late() -> Iterator[bytes]:
        time.sleep(1)
        yield b"x\n"

    assert list(SshSession(account).run("x", late())) == [b"hello"]
    with pytest.raises(TransferError, match=r"ended with exit status 3: no gate here"):
        list(SshSession(sshd.account(_key(sshd, "echo no gate here >&2; exit 3"))).run("x", late()))


@needs_sshd
def test_an_unknown_host_key(account: Account, sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    stranger = replace(account, known_hosts=tmp_path / "known_hosts")
    text = told(stranger)
    assert f"the host key of [127.0.0.1]:{sshd.port} is not known: it showed ssh-ed25519 " in text
    assert shown(sshd.root / "host.pub") in text
    assert f"add what ssh-keyscan -p {sshd.port} 127.0.0.1 prints to {tmp_path}/known_hosts" in text
    assert "the host key is not the one in" in told_by_rsync(stranger, tmp_path)
    # What the text says helps.
    scanned = subprocess.run(
        ["ssh-keyscan", "-p", str(sshd.port), "127.0.0.1"], check=True, capture_output=True, text=True
    ).stdout
    (tmp_path / "known_hosts").write_text(scanned)
    assert list(SshSession(stranger).run("x")) == [b"hello"]


@needs_sshd
def test_a_host_key_that_changed(account: Account, sshd: Sshd, tmp_path: Path) -> None:
    keygen(tmp_path / "other")
    kind, key, *_ = (tmp_path / "other.pub").read_text().split()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")
    changed = replace(account, known_hosts=tmp_path / "known_hosts")
    before = sshd.log.count("Accepted publickey")
    text = told(changed)
    assert "has CHANGED" in text and "only if this key is his" in text
    assert shown(sshd.root / "host.pub") in text and shown(tmp_path / "other.pub") in text
    assert "the host key is not the one in" in told_by_rsync(changed, tmp_path)
    assert sshd.log.count("Accepted publickey") == before, "it was not entered"


@needs_sshd
def test_a_key_that_is_refused(account: Account, tmp_path: Path) -> None:
    keygen(tmp_path / "mine")
    text = told(replace(account, key=tmp_path / "mine"))
    assert f"refuses the key {tmp_path}/mine for {account.user}: is {tmp_path}/mine.pub in" in text
    refused = told_by_rsync(replace(account, key=tmp_path / "mine"), tmp_path)
    assert refused.endswith(f"the key {tmp_path}/mine is refused for {account.user}")


@needs_sshd
def test_a_key_that_cannot_be_used(account: Account, tmp_path: Path) -> None:
    none = replace(account, key=tmp_path / "none")
    assert f"ssh-keygen -t ed25519 -N '' -f {tmp_path}/none" in told(none)
    keygen(tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    assert f"chmod 600 {tmp_path}/open" in told(replace(account, key=tmp_path / "open"))
    (tmp_path / "rubbish").write_text("rubbish")
    (tmp_path / "rubbish").chmod(0o600)
    assert f"{tmp_path}/rubbish is none that can be used" in told(replace(account, key=tmp_path / "rubbish"))
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True)
    assert f"{locked} has a passphrase" in told(replace(account, key=locked))
    spaced = tmp_path / "a key"
    assert "must be an absolute path without spaces" in told(replace(account, key=spaced))
    missing = replace(account, known_hosts=tmp_path / "missing")
    assert f"{tmp_path}/missing cannot be read: No such file" in told(missing)


@needs_sshd
def test_nobody_is_there(account: Account, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        begin = time.monotonic()
        assert "does not answer as ssh within 1 s" in told(replace(account, port=port, timeout=1))
        assert time.monotonic() - begin < 10
    assert "cannot be reached: Connection refused" in told(replace(account, port=port))
    assert told_by_rsync(replace(account, port=port), tmp_path).endswith("the connection was refused")
    assert "the host name nowhere.invalid is not known" in told(replace(account, host="nowhere.invalid"))


@needs_sshd
@pytest.mark.parametrize("command", ["sleep 60", "head -c 200000 /dev/zero", "exit 3"])
def test_an_answer_that_is_none(sshd: Sshd, command: str) -> None:
    text = told(sshd.account(_key(sshd, command), timeout=1))
    assert re.search(
        "does not answer within 1 s|a line without end|ended with exit status 3: it said nothing", text
    )


@needs_sshd
def test_an_rsync_that_hangs_is_ended_with_its_ssh(sshd: Sshd, tmp_path: Path) -> None:
    account = sshd.account(_key(sshd, "sleep 77"), timeout=60)
    begin = time.monotonic()
    with pytest.raises(TransferError, match=r"was not done within 1 s"):
        rsync.pull(account, tmp_path / "arrives", names=["a"], limit=1)
    assert time.monotonic() - begin < 20
    time.sleep(0.2)
    running = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert not [line for line in running.splitlines() if str(account.key) in line]


@needs_sshd
def test_without_rsync_it_is_told(account: Account, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"apt-get install rsync"):
        rsync.pull(account, tmp_path / "arrives", names=["a"], program="no-such-rsync")


@needs_sshd
def test_a_whole_directory_comes_too(sshd: Sshd, tmp_path: Path) -> None:
    """What the mirror's machine does: no names, options of its own."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a").write_text("a")
    (source / "link").symlink_to("/etc/passwd")
    account = sshd.account(_key(sshd, f"/usr/bin/rrsync -ro {source}"))
    rsync.pull(account, tmp_path / "arrives", options=["--delete"])
    assert [path.name for path in (tmp_path / "arrives").rglob("*")] == ["sub", "a"]
    (source / "sub" / "a").unlink()
    rsync.pull(account, tmp_path / "arrives", directory="sub/", options=["--delete"])
    with pytest.raises(TransferError, match="odd characters"):
        rsync.pull(account, tmp_path / "arrives", directory="-e sh")
    with pytest.raises(TransferError, match="odd characters"):
        rsync.pull(account, tmp_path / "arrives", directory="../x")


def test_the_place_of_an_account() -> None:
    key, hosts = Path("/k"), Path("/h")
    account, directory, name = parse_account("ssh://sync@C1.Example/data/a b", key, hosts, 5)
    assert (account, directory) == (Account("c1.example", 22, "sync", key, hosts, 5), "/data/a b")
    assert name == "ssh://c1.example/data/a b"
    account, directory, name = parse_account("ssh://sync@[2001:db8::1]:2222/d%20e", key, hosts, 5)
    assert (account.host, account.port, directory) == ("2001:db8::1", 2222, "/d e")
    assert name == "ssh://[2001:db8::1]:2222/d%20e"
    assert account.place == "[2001:db8::1]:2222"


@pytest.mark.parametrize(
    "url",
    [
        "ssh://sync:secret@h/d", "ssh://h/d", "ssh://sync@/d", "ssh://sync@h", "ssh://sync@h/d/",
        "ssh://sync@h/../d", "ssh://-l@h/d", "ssh://sync@-h/d", "ssh://sync@h/d?x=secret", "sftp://sync@h/d",
        "ssh://sync@h:99999/d", "ssh://sync@h/d#x", "ssh://sync@h;x/d", "ssh://sync@h/a%0ab", "ssh://sync@h//d",
    ],
)  # fmt: skip
def test_a_place_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no|has a|does not") as error:
        parse_account(url, Path("/k"), Path("/h"), 5)
    assert "secret" not in str(error.value)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Sshd, Account]]:
    """A machine that lets one log in at a time, and drops whoever comes beside."""
    with running_sshd(tmp_path / "busy", startups="1:100:1") as started:
        yield started, started.account(_key(started, "echo hello"))


@needs_sshd
def test_a_machine_that_drops_us_while_too_many_log_in(busy: tuple[Sshd, Account], tmp_path: Path) -> None:
    sshd, account = busy
    with somebody_logs_in(sshd):
        begin = time.monotonic()
        text = told(account)
        assert text.startswith(f"{account.place}: it closed the connection before it let us in, 3 times; ")
        assert "MaxStartups" in text and time.monotonic() - begin < 5
        assert text.endswith(told_by_rsync(account, tmp_path).partition(": ")[2])
    assert sshd.log.count("beginning MaxStartups") == 1


@needs_sshd
def test_a_machine_that_drops_us_is_tried_again(busy: tuple[Sshd, Account], tmp_path: Path) -> None:
    sshd, account = busy
    patient = replace(account, pauses=(0.3,) * 50)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("a")
    reader = replace(patient, key=_key(sshd, f"/usr/bin/rrsync -ro {source}"))
    with somebody_logs_in(sshd) as end:
        threading.Timer(0.5, end).start()
        assert list(SshSession(patient).run("x")) == [b"hello"]
    with somebody_logs_in(sshd) as end:
        threading.Timer(0.5, end).start()
        rsync.pull(reader, tmp_path / "arrives", names=["a"])
    assert (tmp_path / "arrives" / "a").read_text() == "a"
    assert "beginning MaxStartups" in sshd.log, "nobody was dropped, so nothing was tried"


@contextlib.contextmanager
def somebody_logs_in(sshd: Sshd) -> Iterator[Callable[[], None]]:
    """Somebody who takes the one place there is, until what comes is called."""
    deadline = time.monotonic() + 20
    while True:
        door = socket.create_connection((sshd.host, sshd.port))
        door.settimeout(20)
        if door.recv(4) == b"SSH-":
            break
        door.close()  # somebody who went has not gone yet
        assert time.monotonic() < deadline
        time.sleep(0.05)

    def end() -> None:
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)

    with door:
        yield end


@pytest.mark.parametrize(
    ("status", "said", "means"),
    [
        (255, b"Host key verification failed.\r\n", "the host key is not the one in /h"),
        # rsync may see the connection end before it sees its ssh end.
        (
            12,
            b"Host key verification failed.\r\nrsync: connection unexpectedly closed",
            "the host key is not",
        ),
        (
            12,
            b"u@h: Permission denied (publickey).\r\nrsync error: x",
            "the key /k is refused for u",
        ),
        (12, b"ssh: connect to host h port 22: Connection refused\r\n", "the connection was refused"),
        (12, b"rsync: connection unexpectedly closed", "the connection broke, or the other side refused (ex"),
        # What rsync says quotes names, and is not ssh's.
        (255, b'rsync: [sender] open "x": Permission denied (13)\n', "ssh failed, or the connection broke"),
        (12, b'rsync: [sender] open "Host key verification failed": x\n', "the connection broke, or the ot"),
        (12, b"PermissionError: [Errno 13] Permission denied: '/data'\n", "the connection broke, or the ot"),
        (11, b"Connection refused", "it cannot write or read a file (exit status 11)"),
    ],
)
def test_what_the_end_of_rsync_means(status: int, said: bytes, means: str) -> None:
    account = Account("h", 22, "u", Path("/k"), Path("/h"))
    assert rsync.meaning(status, said, account).startswith(means)


@needs_sshd
def test_a_machine_that_falls_silent_at_any_answer_is_given_up(sshd: Sshd) -> None:
    """Whatever is waited for when nothing more comes: the wait has an end."""
    account = sshd.account(_key(sshd, "echo hello"), timeout=2)
    # More than what ssh takes without telling us to go on.
    requests = [b"x" * 1000] * 3000
    with wire((sshd.host, sshd.port)) as good:
        assert list(SshSession(replace(through(good, account), timeout=30)).run("x")) == [b"hello"]
        whole = good.bytes_back
    fates: list[tuple[str, float]] = []

    def fate(after: int) -> None:
        with wire((sshd.host, sshd.port)) as between:
            between.silent_after = after
            begin = time.monotonic()
            session = SshSession(through(between, account))
            try:
                text = str(list(session.run("x", requests if after % 40 else ())))
            except TransferError as error:
                text = str(error)
            fates.append((text, time.monotonic() - begin))
            session.close()

    threads = [threading.Thread(target=fate, args=(after,)) for after in range(whole - 420, whole, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(seconds for _, seconds in fates) < 30
    assert sum("does not answer" in text for text, _ in fates) > 5
    assert len(fates) == len(threads)
