"""The short form and the full one; a pipeline of its own for each fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tasks.conftest import pipeline

__all__ = ["pipeline"]

#: Set in the environment: the full matrix, not the short form.
FULL = "OONI_CHAOS_FULL"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked ``full_chaos`` is left to ``python -m tests.chaos``."""
    if os.environ.get(FULL):
        return
    here = Path(__file__).parent
    left = [item for item in items if here in item.path.parents and item.get_closest_marker("full_chaos")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]
