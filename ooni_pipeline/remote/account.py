"""An account on another machine that is entered by ssh with a key: where, as whom, with what."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ooni_pipeline.errors import TransferError

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: What ssh and rsync take literally, whole and as one word.
_PLAIN = re.compile(r"/[A-Za-z0-9_@+=:,./-]*")
_SSH = 22


@dataclass(frozen=True)
class Account:
    """``timeout`` is in seconds: of each step of a connection, and of each wait for an answer. ``pauses`` are
    the seconds before each further try to get in, where the machine closes the connection before it lets us
    in: sshd does so at random while too many log in at once (MaxStartups)."""

    host: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    timeout: float = 60
    pauses: tuple[float, ...] = (1.0, 3.0)

    @property
    def place(self) -> str:
        """The machine as known_hosts files write it."""
        return self.host if self.port == _SSH else f"[{self.host}]:{self.port}"

    @property
    def keyscan(self) -> str:
        """The command that shows which keys the machine has."""
        return f"ssh-keyscan -p {self.port} {self.host}"

    @property
    def dropped(self) -> str:
        """What is told of a machine that closes each connection before it lets us in."""
        return (
            f"it closed the connection before it let us in, {1 + len(self.pauses)} times; its log says why "
            "(there: journalctl -u ssh): too many logins at once (MaxStartups in sshd_config), or this "
            "machine's address is refused"
        )

    def check_files(self) -> None:
        """Raise TransferError, which says what to do, where the key or the known hosts cannot be used."""
        for path in (self.key, self.known_hosts):
            if not _PLAIN.fullmatch(str(path)):
                raise TransferError(f"{path} must be an absolute path without spaces or odd characters")
        try:
            status = self.key.stat()
            self.key.open("rb").close()
        except OSError as error:
            raise TransferError(
                f"the key {self.key} cannot be read: {error.strerror}; make one: "
                f"ssh-keygen -t ed25519 -N '' -f {self.key}"
            ) from None
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) and status.st_uid == os.geteuid():
            raise TransferError(
                f"the key {self.key} is open to others, so ssh refuses it: chmod 600 {self.key}"
            )
        try:
            self.known_hosts.open("rb").close()
        except OSError as error:
            raise TransferError(
                f"the known hosts {self.known_hosts} cannot be read: {error.strerror}; see what "
                f"{self.keyscan} prints, compare it with what the machine's owner says, and write it there"
            ) from None


def parse_account(url: str, key: Path, known_hosts: Path, timeout: float) -> tuple[Account, str, str]:
    """The account, the directory and the name of ``ssh://user@host:port/directory``.

    The name is the URL without the user: the same machine under another account is the same machine. Raises
    ValueError for any other text; it shows nothing of it, because it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _SSH
    except ValueError:  # its text quotes the URL
        raise ValueError("is no URL") from None
    if parts.scheme != "ssh" or parts.query or parts.fragment:
        raise ValueError("is no ssh://user@host:port/directory")
    if parts.password is not None:
        raise ValueError("has a password in it: take it out; the account is entered with a key file")
    host, user, directory = parts.hostname or "", parts.username or "", unquote(parts.path)
    if not _HOST.fullmatch(host) or not _USER.fullmatch(user):
        raise ValueError("does not name a user and a host")
    if (
        not re.fullmatch(r"/[^\0-\x1f\x7f]*", directory)
        or os.path.normpath(directory) != directory
        or directory[:2] == "//"
    ):
        raise ValueError("does not name an absolute directory, in its plain form")
    shown = f"[{host}]" if ":" in host else host
    name = f"ssh://{shown}{'' if port == _SSH else f':{port}'}{parts.path}"
    return Account(host, port, user, key, known_hosts, timeout), directory, name


def printable(text: bytes, most: int = 200) -> str:
    """What another machine says, so that it can stand in a line of a log."""
    return "".join(chr(byte) if 32 <= byte < 127 else " " for byte in text[:most]).strip()
