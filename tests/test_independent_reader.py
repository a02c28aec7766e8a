"""What we publish, read by ``oonidata``: OONI's own code for analysts, written by others than us.

It wants a cryptography of 2022, older than what remote/ needs, so it lives in an environment of its own:
``python -m venv DIR; DIR/bin/pip install oonidata==0.3.0``, and ``OONIDATA_PYTHON=DIR/bin/python`` names it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.corpus_reports import CORPUS, write_reports
from tests.write_golden_reports import cases, process, raw_of

#: Reads published lines, answers with a JSON object for each: the model that took it, or what it says.
READER = """
import json, sys
from oonidata.models.nettests import NETTEST_MODELS, BaseMeasurement
for line in sys.stdin.buffer:
    entry = json.loads(line)
    if entry["test_runtime"] is None:  # the reader wants a number; the oldest probes did not measure it
        entry["test_runtime"] = 0.0
    model = NETTEST_MODELS.get(entry["test_name"], BaseMeasurement)
    answer = {"test_name": entry["test_name"], "model": model.__name__, "fault": ""}
    try:
        measurement = model.from_dict(entry)
        for transaction in getattr(measurement.test_keys, "requests", None) or []:
            if transaction.response is not None:
                transaction.response.body_bytes, transaction.response.headers_list_bytes
        answer["input"] = measurement.input
    except Exception as error:
        answer["fault"] = f"{type(error).__name__}: {error}"[:400]
    print(json.dumps(answer))
"""

#: Nettests that the reader has a model for, and that are among our reports: their test_keys are read too.
MODELLED = frozenset(
    ("facebook_messenger", "http_header_field_manipulation", "http_invalid_request_line", "signal",
     "telegram", "tor", "urlgetter", "web_connectivity", "whatsapp")
)  # fmt: skip

#: Reports that the reader refuses, and why that is no fault of ours.
REFUSED = {
    "TheTorProject__ooni-probe/embedded/docs/source/tests/web_connectivity.rst.0.yaml": "the skeleton of a "
    "specification, with lists where results are mappings",
    "TheTorProject__ooni-spec/embedded/nettests/ts-023-tor.md.4@830f1b76.json": "targets are a list: a draft "
    "of the format, and formats from 0.2.0 on pass through unchanged",
}


def _python() -> str | None:
    """An interpreter that has oonidata."""
    for candidate in (os.environ.get("OONIDATA_PYTHON"), sys.executable):
        if candidate:
            tried = subprocess.run(
                [candidate, "-c", "import oonidata.models.nettests"], capture_output=True, check=False
            )
            if tried.returncode == 0:
                return candidate
    return None


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    """What the reader says of every published entry of golden cases and corpus: (report, answer)."""
    python = _python()
    if python is None:
        pytest.skip("no oonidata: name an interpreter that has it in OONIDATA_PYTHON, as this file says")
    reports: list[tuple[str, Path]] = [(case.name, raw_of(case)) for case in cases()]
    if CORPUS.is_dir():
        directory = tmp_path_factory.mktemp("corpus")
        reports += [(report.path, directory / report.name) for report in write_reports(directory)]
    names, lines = [], []
    for name, path in reports:
        for line in process(path).sanitised.splitlines():
            names.append(name)
            lines.append(line + b"\n")
    read = subprocess.run([python, "-c", READER], input=b"".join(lines), capture_output=True, check=True)
    told = [json.loads(answer) for answer in read.stdout.splitlines()]
    return list(zip(names, told, strict=True))


def test_it_takes_every_entry(answers: list[tuple[str, dict[str, Any]]]) -> None:
    refused = {report: answer["fault"] for report, answer in answers if answer["fault"]}
    assert set(refused) <= set(REFUSED), refused


def test_it_sees_results_and_no_mere_envelopes(answers: list[tuple[str, dict[str, Any]]]) -> None:
    taken = Counter(answer["model"] for _, answer in answers if not answer["fault"])
    assert taken["WebConnectivity"] >= 3
    assert taken["HTTPHeaderFieldManipulation"] >= 1
    assert taken["BaseMeasurement"] >= 20, "nettests of old times, of which the reader knows the envelope"
    if CORPUS.is_dir():
        modelled = {answer["test_name"] for _, answer in answers if answer["model"] != "BaseMeasurement"}
        assert modelled == MODELLED
