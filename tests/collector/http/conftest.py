"""One collector for all tests of a file that leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.collector import Collector, running_collector


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One that runs with the defaults; its log must say nothing when the tests of the file are done."""
    with running_collector(tmp_path_factory.mktemp("shared")) as collector:
        yield collector
        assert collector.log.count("\n") == 1, collector.log
