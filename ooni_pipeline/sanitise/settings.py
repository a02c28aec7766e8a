"""What a person may decide about sanitising. The defaults are decided here."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

#: What a client itself writes about its software and network; everything else is free text.
ANNOTATIONS = frozenset(
    {
        "architecture",
        "engine_name",
        "engine_version",
        "flavor",
        "network_type",
        "ooni_run_link_id",
        "origin",
        "platform",
    }
)


def header_patterns(path: Path | None = None) -> tuple[str, ...]:
    """The patterns of a file, one a line, ``#`` before a comment; of ``data/headers.txt`` without one.

    Raises OSError where it cannot be read, ValueError where it is no text or holds no pattern.
    """
    text = path.read_text("utf-8") if path else _shipped_headers()
    lines = [line.strip() for line in text.splitlines()]
    patterns = tuple(line for line in lines if line and not line.startswith("#"))
    if not patterns:
        raise ValueError("no pattern")
    return patterns


@functools.cache
def _shipped_headers() -> str:
    return (files("ooni_pipeline.sanitise") / "data" / "headers.txt").read_text("utf-8")


@dataclass(frozen=True)
class Settings:
    """What is withheld. Each is an option of the same name in ``[sanitise]``.

    ``annotations`` are the keys that stay (in lower case), ``headers`` the patterns, one at least, of names
    whose values go.
    """

    probe_city: bool = True
    probe_id: bool = True
    uuids: bool = True
    near_resolvers: bool = True
    input_urls: bool = True
    options: bool = True
    process_logs: bool = True
    annotations: frozenset[str] = ANNOTATIONS
    headers: tuple[str, ...] = field(default_factory=header_patterns)
    max_addresses_beside_hit: int = 200

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with any of them: other settings are a reason to redo."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["annotations"] = sorted(self.annotations)
        return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:8]
