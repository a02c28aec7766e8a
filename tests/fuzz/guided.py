"""The same checks as :mod:`tests.fuzz.fuzz_reading`, steered by coverage: atheris (libFuzzer) keeps what
reaches new branches of ours and goes on from there.

    python -m tests.fuzz.guided SECONDS [DIRECTORY]

``DIRECTORY`` keeps what reached new branches, for the next run. Stops with the first fault, which libFuzzer
writes to ``crash-…`` in the current directory: its first byte says JSON (even) or YAML (odd), the rest is the
report. The rare input that is slow or large for good reasons is none of its business: that is measured, in
seconds and bytes, by ``python -m tests.fuzz``.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ooni_pipeline"]):
    from tests.fuzz.fuzz_reading import Checker

from tests.fuzz.mutate import Mutator, seeds, with_entries

EXTENSIONS = ("json", "yaml")


def main() -> None:
    seconds, keep = sys.argv[1], sys.argv[2:3]
    with tempfile.TemporaryDirectory(prefix="ooni-fuzz-") as name:
        directory = Path(name)
        known = [with_entries(one, directory / "seed") for one in seeds()]
        corpus = directory / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(known):
            content = bytes([EXTENSIONS.index(seed.extension)]) + seed.content
            (corpus / f"{number:04}").write_bytes(content)
        checker = Checker(directory)

        def test_one_input(data: bytes) -> None:
            checker.check(data[1:], EXTENSIONS[data[0] % 2] if data else "json")

        def mutate(data: bytes, max_size: int, seed: int) -> bytes:
            """libFuzzer's own mutations, and for a fifth a report of ours with values of other types."""
            chance = random.Random(seed)  # noqa: S311 - libFuzzer's, the same inputs every time
            if chance.random() < 0.8:
                return bytes(atheris.Mutate(data, max_size))
            content, extension = Mutator(chance, known).report()
            return (bytes([EXTENSIONS.index(extension)]) + content)[:max_size]

        options = [f"-max_total_time={seconds}", "-max_len=60000", "-timeout=60", "-rss_limit_mb=2048"]
        places = [*keep, str(corpus)]  # libFuzzer writes into the first
        atheris.Setup([sys.argv[0], *options, *places], test_one_input, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
