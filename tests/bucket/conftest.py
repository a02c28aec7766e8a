"""Two trees, and a way to run something in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(private=tmp_path / "private", public=tmp_path / "public")
