"""``python -m tests.fuzz SECONDS [--seed N] [--keep DIRECTORY]``: exits with 1 when it found anything."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.fuzz_reading import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", type=float, help="how long to go on")
    parser.add_argument("--seed", type=int, default=20160801, help="another one gives other mutations")
    parser.add_argument("--keep", type=Path, help="where inputs go that break something")
    arguments = parser.parse_args()
    keep: Path = arguments.keep or Path(tempfile.mkdtemp(prefix="ooni-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    found = fuzz(arguments.seconds, arguments.seed, keep)
    print(found.summary())
    for fault, path in sorted(found.faults.items()):
        print(f"{fault}\n    {path}")
    if not found.faults:
        for path in keep.iterdir():
            path.unlink()
        keep.rmdir()
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
