"""What programs on the volunteer's machine wrote: logs of any nettest, and the command line.

Directories and user names go from them. Logs of tor and obfsproxy are cleaned as such in every nettest, and
what on a command line is written as a bridge is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ooni_pipeline.sanitise.bridge_lines import parse_bridge_line
from ooni_pipeline.sanitise.cuts import MARKER, Cuts
from ooni_pipeline.sanitise.paths import Paths
from ooni_pipeline.sanitise.settings import Settings
from ooni_pipeline.sanitise.strings import change_texts, mappings_in, plain_key
from ooni_pipeline.sanitise.tor_logs import COMMAND_LINES, LOGS, as_text, clean_log

#: Keys under which the output of a program stands, apart from those that end in ``log`` or ``logs``.
OUTPUTS = ("stdout", "stderr")


#: How an argument begins that is a path, and what stands in one that holds a path, an address, a fingerprint.
_BEGINS = r"(?:[/~.]|[A-Za-z0-9_+-]+/|-[a-z](?:[/~.]|[a-z]:)|file:)"
_HOLDS = (
    r"(?:\\|[\s=,;'(<>|](?:[/~.]|[A-Za-z0-9_+-]+/)|:[/~.][^/\"]"
    r"|file:|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]|[0-9a-f]*:[0-9a-f]*:|[0-9a-f]{40}|bridge)"
)
#: A list of arguments, behind its bracket, up to one in which there may be something to cut.
_ARGUMENTS = rf'(?:"[^"\\]*"|[^"\]{{}}\[])*(?:[{{\[]|"(?:{_BEGINS}|[^"]*{_HOLDS}))'


def lines(settings: Settings) -> bytes:
    """A regular expression for lines with a log or a command line in which there may be something to cut."""
    something = r'(?:"[^"]|[{\[][^}\]])'
    expressions = [rf'(?:{"|".join(LOGS)})":{something}']
    if settings.process_logs:
        expressions.append(rf'(?:logs?|{"|".join(OUTPUTS)})":{something}')
    if settings.options:
        expressions.append(rf'"(?:legacy_)*options":(?:"|\{{[^}}]|\[{_ARGUMENTS})')
    return "|".join(expressions).encode()


def clean(entry: dict[str, Any], cuts: Cuts) -> None:
    """Clean logs and command lines wherever they stand."""
    paths = Paths()
    logs: list[tuple[dict[str, Any], str]] = []
    command_lines: list[tuple[dict[str, Any], str]] = []
    for mapping in mappings_in(entry):
        for key, value in mapping.items():
            name = plain_key(key)
            if not isinstance(value, (str, list, dict)) or not value:
                continue
            if name in LOGS:
                mapping[key], count = clean_log(value, cuts.table)
                cuts.count(name, count)
            if cuts.settings.process_logs and (name in OUTPUTS or name.endswith(("log", "logs"))):
                logs.append((mapping, key))
            elif cuts.settings.options and name in COMMAND_LINES:
                command_lines.append((mapping, key))
    for mapping, key in command_lines:
        mapping[key], _ = as_text(mapping[key])
        cuts.count("options", _cut_bridges(mapping, key, cuts))
        _change(mapping, key, lambda text: paths.cut_directories(text, relative=True))
    for mapping, key in logs:
        _change(mapping, key, paths.cut_directories)
    for mapping, key in command_lines + logs:
        _change(mapping, key, paths.cut_users)
    cuts.count("paths", paths.count)


def _change(mapping: dict[str, Any], key: str, change: Callable[[str], str]) -> None:
    """Change every text below a key."""
    root = [mapping[key]]
    change_texts(root, change)
    mapping[key] = root[0]


def _cut_bridges(mapping: dict[str, Any], key: str, cuts: Cuts) -> int:
    """Put the marker in the place of every argument below a key that is a bridge; how many there were."""
    count, root = 0, [mapping[key]]
    waiting: list[Any] = [root]
    for container in waiting:
        before = ""
        if isinstance(container, dict) and any(_is_bridge(name, "", cuts) for name in container):
            parts = list(container.values())
            container.clear()  # a bridge may stand in a key
            container.update({f"{MARKER} {number}": part for number, part in enumerate(parts)})
            count += 1
        for place, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, (dict, list)):
                waiting.append(value)
            elif isinstance(value, str):
                option = place if isinstance(place, str) else before
                if _is_bridge(value, option, cuts):
                    container[place] = MARKER
                    count += 1
                before = value
    mapping[key] = root[0]
    return count


def _is_bridge(argument: str, option: str, cuts: Cuts) -> bool:
    """Whether an argument is a bridge line: what the table knows, what has a fingerprint, an address for an
    ``option`` about bridges, or one among other words than its option (``-b 192.0.2.1``)."""
    line = parse_bridge_line(argument)
    bridge = line.known_to(cuts.table)
    if bridge and bridge.public:
        return False
    is_one_option = line.words == 2 and argument.lstrip().startswith("-")
    about_bridges = "bridge" in f"{option} {argument}".lower()
    names_one = about_bridges or (line.words > 1 and not is_one_option)
    if not (bridge or line.fingerprints or (line.places and names_one)):
        return False
    cuts.names_a_bridge |= bridge is not None
    cuts.hide(line.addresses, line.fingerprints)
    return True
