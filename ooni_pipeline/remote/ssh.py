"""Running a command of another machine over ssh (paramiko): strictly, and with a limit to every wait."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator

import paramiko

from ooni_pipeline.errors import TransferError
from ooni_pipeline.remote.account import Account, printable

#: Paramiko logs tracebacks of what it raises too.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

#: Seconds after which a connection that is silent is asked whether it is still there.
_ALIVE = 15
#: No line of an answer is longer.
_LONGEST = 64 * 1024
#: So many bytes are sent within one wait.
_PART = 64 * 1024


#: What paramiko says of a machine that takes the connection and then says nothing of ssh.
_NO_GREETING = ("banner", "No existing session")


class CommandFailedError(TransferError):
    """A command ended with another exit status than 0, which is ``status``; ``said``: its first words."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the command ended with exit status {status}: {said or 'it said nothing'}")
        self.status = status
        self.said = said


class _UnknownKeyError(Exception):
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__()
        self.key = key


class _Reject(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise _UnknownKeyError(key)


class SshSession:
    """A connection that is made when it is first needed, for one command after the other."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._client: paramiko.SSHClient | None = None

    def run(self, command: str, requests: Iterable[bytes] = ()) -> Iterator[bytes]:
        """Run a command, give it ``requests`` and an end on its standard input, and yield the lines that it
        prints. Raises TransferError when the machine cannot be reached or hangs, CommandFailedError, after
        the last line, when the command failed."""
        channel = None
        try:
            channel = self._connected().open_session(timeout=self._account.timeout)
            channel.settimeout(self._account.timeout)
            with self._limited():
                channel.exec_command(command)
            self._send(channel, b"".join(requests))
            yield from _lines(channel)
            status = _status(channel, self._account.timeout)
            if status != 0:
                raise CommandFailedError(status, _first_words(channel))
        except (TimeoutError, EOFError, OSError, paramiko.SSHException) as error:
            self.close()
            raise self._broken(error) from None
        finally:
            if channel is not None:
                channel.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _send(self, channel: paramiko.Channel, asked: bytes) -> None:
        try:
            for start in range(0, len(asked), _PART):
                with self._limited():
                    channel.sendall(asked[start : start + _PART])
            with self._limited():
                channel.shutdown_write()
        except OSError:
            if not channel.get_transport().is_active():
                raise
            # The command ended before it had read all: what it said tells more than that.

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """End the connection, and raise TimeoutError, where something takes too long that knows no limit:
        paramiko waits for ever for the answer to a command, and while nobody takes what it sends."""
        late = threading.Event()
        client = self._client

        def give_up() -> None:
            late.set()
            if client is not None:
                client.close()

        watch = threading.Timer(self._account.timeout, give_up)
        watch.daemon = True
        watch.start()
        try:
            yield
        except (OSError, EOFError, paramiko.SSHException):
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            watch.cancel()

    def _connected(self) -> paramiko.Transport:
        transport = self._client.get_transport() if self._client is not None else None
        if transport is None or not transport.is_active():
            self.close()
            transport = self._connect()
        return transport

    def _connect(self) -> paramiko.Transport:
        account = self._account
        account.check_files()
        key = _private_key(account)
        for pause in (*account.pauses, None):
            try:
                return self._enter(key)
            except (EOFError, OSError, paramiko.SSHException) as error:
                if not _dropped(error):
                    raise
                self.close()
            if pause is not None:
                time.sleep(pause)
        raise TransferError(f"{account.place}: {account.dropped}")

    def _enter(self, key: paramiko.PKey) -> paramiko.Transport:
        account = self._account
        self._client = client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_Reject())
        try:
            client.load_host_keys(str(account.known_hosts))
            client.connect(
                account.host,
                account.port,
                account.user,
                pkey=key,
                timeout=account.timeout,
                banner_timeout=account.timeout,
                auth_timeout=account.timeout,
                allow_agent=False,
                look_for_keys=False,
            )
        except _UnknownKeyError as error:
            raise TransferError(
                f"the host key of {account.place} is not known: it showed {fingerprint(error.key)}. Compare "
                "that with what its owner says (there: cat /etc/ssh/ssh_host_*.pub | ssh-keygen -lf -);"
                f" if it is the same, add what {account.keyscan} prints to {account.known_hosts}"
            ) from None
        except paramiko.BadHostKeyException as error:
            raise TransferError(
                f"the host key of {account.place} has CHANGED: it showed {fingerprint(error.key)}, known is "
                f"{fingerprint(error.expected_key)}. Somebody may be in between: nothing was sent. Ask the "
                f"machine's owner why, and replace its line in {account.known_hosts} only if this key is his"
            ) from None
        except paramiko.AuthenticationException as error:
            if "saw EOF" in str(error):
                raise EOFError from None
            if "timeout" in str(error):
                raise TimeoutError from None
            raise TransferError(
                f"{account.place} refuses the key {account.key} for {account.user}: is {account.key}.pub in "
                "the authorized_keys of that account?"
            ) from None
        transport = client.get_transport()
        if transport is None:
            raise TransferError(f"{account.place} closed the connection")
        transport.set_keepalive(_ALIVE)
        return transport

    def _broken(self, error: Exception) -> TransferError:
        account = self._account
        if isinstance(error, socket.gaierror):
            return TransferError(f"the host name {account.host} is not known")
        if isinstance(error, TimeoutError):
            return TransferError(f"{account.place} does not answer within {account.timeout:g} s")
        if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
            inner = next(iter(error.errors.values()))
            why = getattr(inner, "strerror", None) or "no connection"
            return TransferError(f"{account.place} cannot be reached: {why}")
        if isinstance(error, paramiko.SSHException) and any(words in str(error) for words in _NO_GREETING):
            return TransferError(f"{account.place} does not answer as ssh within {account.timeout:g} s")
        if isinstance(error, OSError) and error.strerror:
            return TransferError(f"the connection to {account.place} broke: {error.strerror}")
        return TransferError(f"the connection to {account.place} broke")


def _dropped(error: Exception) -> bool:
    """Whether it was the machine that ended a connection that was being made."""
    reason = error.__context__ if _NO_GREETING[0] in str(error) else error
    return isinstance(reason, (EOFError, ConnectionError))


def _private_key(account: Account) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(account.key)
    except TypeError:  # so it says that it is encrypted
        raise TransferError(
            f"the key {account.key} has a passphrase, and nobody is there at night to type it: take it off "
            f"(ssh-keygen -p -f {account.key}) or make another"
        ) from None
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        raise TransferError(f"the key {account.key} is none that can be used") from None


def fingerprint(key: paramiko.PKey) -> str:
    """A host key as ``ssh-keygen -l`` shows it."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return f"{key.get_name()} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _lines(channel: paramiko.Channel) -> Iterator[bytes]:
    rest = b""
    while chunk := channel.recv(1024 * 1024):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST:
            raise TransferError("the answer has a line without end")
        yield from whole
    if rest:
        yield rest


def _status(channel: paramiko.Channel, timeout: float) -> int:
    if not channel.status_event.wait(timeout):
        raise TimeoutError
    status = channel.recv_exit_status()
    if status < 0:  # none was sent: the connection broke
        raise EOFError
    return status


def _first_words(channel: paramiko.Channel) -> str:
    with contextlib.suppress(OSError):
        return printable(channel.recv_stderr(4096))
    return ""
