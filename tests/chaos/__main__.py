"""``python -m tests.chaos [ROUNDS] [pytest's own arguments]``: every fault, so many times in a row."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.conftest import FULL


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    os.environ[FULL] = "1"
    for number in range(1, rounds + 1):
        begin = time.monotonic()
        status = pytest.main([str(Path(__file__).parent), "-q", "-x", *sys.argv[2:]])
        print(f"round {number} of {rounds}: exit status {int(status)}, {time.monotonic() - begin:.0f} s")
        if status:
            return int(status)
    return 0


if __name__ == "__main__":
    sys.exit(main())
