"""Two trees, and a way to run something in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.layout import Layout

Start = Callable[..., BaseProcess]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(private=tmp_path / "private", public=tmp_path / "public")


@pytest.fixture
def start() -> Start:
    """Start a function in a process (a fork of this one); its exit status tells whether it went well."""

    def run(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
        process = multiprocessing.get_context("fork").Process(target=function, args=arguments, daemon=True)
        process.start()
        return process

    return run
