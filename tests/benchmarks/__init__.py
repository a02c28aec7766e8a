"""Scripts that measure speed; no tests. Each has a ``run()``."""
