"""Directories and user names: where on a volunteer's disk something lies, and what he is called there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ooni_pipeline.sanitise.cuts import MARKER

_NAME = r"[^/\\\s\"'=,;:<>|()\[\]]"
#: What may stand before a path, so that no URL and no network (192.0.2.0/24) is taken for one.
_BEFORE = r"(?:^|(?<=[\s\"'=,;:<>|(\[]))"
_HOME = (
    r"(?:/(?:var/|export/|usr/)?home|/Users|[A-Za-z]:[\\/](?:Users|Documents and Settings))[\\/]+"
    r"(?P<user>[^\\/\"'=,;:<>|()\[\]\r\n]*?)(?=[\\/\"'=,;:<>|()\[\]\r\n]|\s+(?!\w+[\\/])|\Z)"
)
_ABSOLUTE = (
    rf"/(?!/)(?:{_NAME}+/+)+|(?:~{_NAME}*|\.{{1,2}})/+(?:{_NAME}+/+)*"
    rf"|[A-Za-z]:[\\/](?:{_NAME}+[\\/]+)*|\\\\(?:{_NAME}+\\+)+"
)
_RELATIVE = rf"(?!\w+:)[\w+-]{_NAME}*[\\/]+(?:{_NAME}+[\\/]+)*"
_HOMES = re.compile(rf"{_BEFORE}{_HOME}(?:[\\/]+(?:{_NAME}+[\\/]+)*)?", re.IGNORECASE)
_ABSOLUTES = re.compile(rf"{_BEFORE}(?:{_ABSOLUTE})", re.MULTILINE)
_RELATIVES = re.compile(rf"(?:^|(?<=[\s\"'=,]))(?:{_RELATIVE})")
#: ``example.org/page``, ``10.0.0.0/8``: what has a dot before its first slash is no directory.
_A_HOST = re.compile(r"[^/\\]*\.")
_A_URL = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_BEFORE_A_PATH = re.compile(
    r"(?:\A|(?<=\s))-[A-Za-z](?=[/~.\\]|[A-Za-z]:[\\/])|file:(?://)?(?=[/\\])", re.IGNORECASE
)
#: Each is looked for in every log.
MAX_USERS = 100
#: Names of users that name nobody.
_NOBODY = frozenset({"", "all", "default", "public", "shared", "user", "users", "root", "home"})


@dataclass
class Paths:
    """Cuts paths from texts of one entry; ``users`` are the names that stood in them, ``count`` how many
    cuts there were."""

    users: set[str] = field(default_factory=set)
    count: int = 0

    def cut_directories(self, text: str, *, relative: bool = False) -> str:
        """A text with the marker in the place of every directory; the name of the file stays.

        With ``relative`` (an argument of a command line) also of those that begin nowhere.
        """
        pieces, done = [], 0
        for before in _BEFORE_A_PATH.finditer(text):  # -f/home/…, file:///home/…
            pieces += [self._cut_directories(text[done : before.start()], relative=relative), before[0]]
            done = before.end()
        return "".join([*pieces, self._cut_directories(text[done:], relative=relative)])

    def _cut_directories(self, text: str, *, relative: bool) -> str:
        """The same where no option is glued to a path."""
        if _A_URL.match(text):
            return text

        def home(match: re.Match[str]) -> str:
            if match["user"].lower() not in _NOBODY:
                self.users.add(match["user"])
            return marker(match)

        def marker(match: re.Match[str]) -> str:
            self.count += 1
            return MARKER + (match[0][-1] if match[0][-1] in "/\\" else "")

        def directory(match: re.Match[str]) -> str:
            return match[0] if _A_HOST.match(match[0]) else marker(match)

        text = _HOMES.sub(home, text)
        text = _ABSOLUTES.sub(marker, text)
        return _RELATIVES.sub(directory, text) if relative else text

    def cut_users(self, text: str) -> str:
        """A text without the names of users that stood in paths.

        Raises ValueError for more of them than any machine has: such an entry is held.
        """
        if len(self.users) > MAX_USERS:
            raise ValueError("too many users")
        for user in self.users:
            if user in text:
                text, count = re.subn(rf"(?<!\w){re.escape(user)}(?!\w)", MARKER, text)
                self.count += count
        return text
