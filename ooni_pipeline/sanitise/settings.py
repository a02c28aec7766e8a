"""What a person may one day decide about sanitising. The defaults are decided here."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from importlib.resources import files

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


@functools.cache
def header_patterns() -> tuple[str, ...]:
    """The patterns of ``data/headers.txt``."""
    text = (files("ooni_pipeline.sanitise") / "data" / "headers.txt").read_text("utf-8")
    lines = [line.strip() for line in text.splitlines()]
    return tuple(line for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class Settings:
    """``annotations`` are the keys that stay; ``headers`` the patterns, one at least, of names whose
    values go."""

    annotations: frozenset[str] = ANNOTATIONS
    headers: tuple[str, ...] = field(default_factory=header_patterns)
