"""Connections that cannot be made: what the operator reads says what to do."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote import rsync
from ooni_pipeline.remote.account import Account, parse_account
from ooni_pipeline.remote.ssh import SshSession
from tests.parts.sshd import Sshd, can_sshd, keygen, running_sshd

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
