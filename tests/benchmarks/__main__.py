"""``python -m tests.benchmarks [NAME …]``: measure what has a bar, as ratios within one run."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.benchmarks


def main() -> int:
    names = [
        module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__) if module.name != "__main__"
    ]
    for name in sys.argv[1:] or names:
        if name not in names:
            print(f"no benchmark {name}; there are: {', '.join(names)}", file=sys.stderr)
            return 2
        print(f"== {name}")
        importlib.import_module(f"tests.benchmarks.{name}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
