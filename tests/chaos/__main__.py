"""``python -m tests.chaos [ROUNDS] [--short] [pytest's own arguments]``: every fault, so many times in a row.

``--short``: only those that ``bin/test`` tries, each kind of fault once a round.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import FULL

HERE = Path(__file__).parent
#: Others that have long tries.
MORE = [HERE.parent / "transfer" / "test_far.py"]


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    more = sys.argv[2:]
    tests = [HERE]
    if "--short" in more:
        more.remove("--short")
    else:
        os.environ[FULL] = "1"
        tests += MORE
    for number in range(1, rounds + 1):
        begin = time.monotonic()
        status = pytest.main([*map(str, tests), "-q", "-x", *more])
        print(f"round {number} of {rounds}: exit status {int(status)}, {time.monotonic() - begin:.0f} s")
        if status:
            return int(status)
    return 0


if __name__ == "__main__":
    sys.exit(main())
