"""Keys of every entry that say who or where the volunteer is, or what was meant for a few.

A city is small enough to find somebody in it; ``probe_id`` follows one device; annotations are free text,
so only those stay that the client writes itself; a URL may hold a password, and its fragment never
reaches the network, so it is no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.report.nettests import canonical_test_name
from ooni_pipeline.sanitise.cuts import SCRUBBED, Cuts
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import change_strings, change_texts, mappings_in, plain_key, texts_in

#: Keys whose value becomes null, and the setting that says so.
NULLED = ("probe_city", "probe_id")
#: Nettests of which a server names each run by a UUID, in data that it publishes with addresses.
WITH_UUIDS = ("ndt", "dash")
#: What is shorter is none, and may stand anywhere.
SHORTEST_UUID = 8
#: Keys under which URLs stand that a person chose: the input, and the command line, which may name it.
INPUTS = ("input", "options")
#: Each is looked for in every string of the entry.
MAX_CUT = 100

_USERINFO = re.compile(
    r"(\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2})([^/\\?#]*@)"  # http://user:password@
    r"|(\s*)([^/\\?#\s:]*:[^/\\?#\s]*@)"  # user:password@, without a scheme
)
#: The same behind something else: --url=http://user:password@
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}:[/\\]{2}"
_USERINFO_INSIDE = re.compile(rf"({_SCHEME}|(?<!:)//(?=[^/\\?#\s:]*:))([^/\\?#\s]*@)")
_A_URL = re.compile(_SCHEME)


def lines(settings: Settings) -> bytes:
    """A regular expression for lines in which one of these keys may hold something to cut."""
    name = _none_of(sorted(settings.annotations))
    allowed = '"(?:' + "|".join(map(re.escape, sorted(settings.annotations))) + ')":'
    pairs = rf'(?:{allowed}(?:"[^"\\]*"|[^]"\\,{{}}[]+),)*'
    urls = [
        r'input":(?:[^n"]|"(?:[^"\\]|\\.)*[@#])',
        r'options":[{\[]' + _in_a_container('"(?:[^"\\\\]|\\\\.)*[@#]', r'"(?:[^"\\@#]|\\.)*"'),
    ]
    return "|".join(
        [
            *(f'{key}":[^n]' for key in NULLED if getattr(settings, key)),
            *(['uuid":[^n]'] if settings.uuids else []),
            *(urls if settings.input_urls else []),
            r'annotations":[^n{]',
            rf'annotations":\{{{pairs}(?:"{name}|{allowed}(?:[{{[]|"[^"\\]*\\))',
        ]
    ).encode()


def sanitise(entry: dict[str, Any], cuts: Cuts) -> None:
    """Cut these keys wherever they stand: legacy entries have them among the keys of their test, and what
    was overruled stands below yet others."""
    cut = _Cut()
    has_uuids = cuts.settings.uuids and canonical_test_name(entry.get("test_name")).startswith(WITH_UUIDS)
    for mapping in mappings_in(entry):
        for key, value in mapping.items():
            name = plain_key(key)
            if value is None:
                continue
            if name in NULLED:
                if getattr(cuts.settings, name):
                    mapping[key] = None
                    cuts.count(name)
            elif name == "annotations":
                mapping[key] = _allowed(value, cuts)
            elif name in INPUTS and cuts.settings.input_urls:
                mapping[key] = _clean_input(value, cut, cuts)
            elif has_uuids and name.lower().endswith("uuid") and value != SCRUBBED:
                cut.uuids.update(text for text in texts_in(value) if len(text) >= SHORTEST_UUID)
                mapping[key] = SCRUBBED
                cuts.count("uuid")
    if cut.userinfo or cut.urls or cut.uuids:
        _cut_everywhere(entry, cut)


def _allowed(annotations: Any, cuts: Cuts) -> dict[str, Any]:
    """The annotations that may stay: of a known name, in any case as the search for lines, and plain."""
    if not isinstance(annotations, dict):
        cuts.count("annotations")
        return {}
    kept = {
        key: value
        for key, value in annotations.items()
        if key.lower() in cuts.settings.annotations and not isinstance(value, (dict, list))
    }
    cuts.count("annotations", len(annotations) - len(kept))
    return kept


@dataclass
class _Cut:
    """What else must go from the entry: user names with passwords from the URLs of inputs, input or URL with
    one or with a fragment -> without, and UUIDs."""

    userinfo: set[str] = field(default_factory=set)
    uuids: set[str] = field(default_factory=set)
    urls: dict[str, str] = field(default_factory=dict)


def _clean_input(value: Any, cut: _Cut, cuts: Cuts) -> Any:
    """An input, or a command line, without user names, passwords and fragments in its URLs; ``cut`` grows."""

    def change(text: str) -> str:
        whole = text.strip()
        if match := _USERINFO.match(text):
            before, userinfo = match[1] or match[3] or "", match[2] or match[4]
            cut.userinfo.add(userinfo)
            cuts.count("input_userinfo")
            text = before + text[match.end() :]
        for match in _USERINFO_INSIDE.finditer(text):
            cut.userinfo.add(match[2])
            cuts.count("input_userinfo")
        text = _USERINFO_INSIDE.sub(r"\1", text)
        if whole != text.strip():
            cut.urls[whole] = text.strip()
        without, sign, _ = text.partition("#")
        if sign and (url := _A_URL.search(without)):
            cuts.count("input_fragment")
            cut.urls[text[url.start() :]] = without[url.start() :]
            text = without
        return text

    root = [value]
    change_texts(root, change)
    return root[0]


def _cut_everywhere(entry: dict[str, Any], cut: _Cut) -> None:
    """Cut the same from the rest of the entry, where its requests repeat the URL.

    Raises ValueError for more of them than any input has: such an entry is held.
    """
    if len(cut.userinfo) + len(cut.urls) + len(cut.uuids) > MAX_CUT:
        raise ValueError("too many URLs")
    urls = sorted(cut.urls, key=len, reverse=True)  # of #a and #ab the longer one first: no b is left

    def change(text: str) -> str:
        for url in urls:
            text = text.replace(url, cut.urls[url])
        for userinfo in cut.userinfo:
            text = text.replace("//" + userinfo, "//")
        for uuid in cut.uuids:
            text = text.replace(uuid, SCRUBBED)
        return text

    change_strings(entry, change)


def _in_a_container(wanted: str, other: str, levels: int = 3) -> str:
    """A regular expression for a JSON list or mapping, behind its first bracket, up to a string that is
    ``wanted``; every string before it is an ``other`` one. So many levels down, whatever is deeper counts as
    wanted: it is rare, and has to be looked at.
    """
    plain = rf'{other}|[^"{{}}\[\]]'
    found, whole = rf"(?:{plain})*(?:{wanted}|[{{\[])", rf"[{{\[](?:{plain})*[}}\]]"
    for _ in range(levels - 1):
        found = rf"(?:{plain}|{whole})*(?:{wanted}|[{{\[]{found})"
        whole = rf"[{{\[](?:{plain}|{whole})*[}}\]]"
    return found


def _none_of(names: Iterable[str]) -> str:
    """A regular expression for the beginning of a string, behind its first quote, that is none of these.

    (re2 knows no look-ahead, so it says: the same as some name up to some place, and there another
    character, the closing quote if the name goes on.)
    """
    by_first: dict[str, list[str]] = {}
    for name in names:
        by_first.setdefault(name[:1], []).append(name[1:])
    ends = '"' if "" in by_first else ""
    firsts = [first for first in by_first if first]
    others = "[^" + "".join(map(re.escape, [*firsts, *ends])) + "]" if firsts or ends else "."
    longer = [re.escape(first) + _none_of(by_first[first]) for first in firsts]
    return "(?:" + "|".join([others, *longer]) + ")"
