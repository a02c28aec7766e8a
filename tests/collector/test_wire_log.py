"""The wire logs are read whole, and what the logger cut is completed as the collector stored it."""

from __future__ import annotations

import json

from tests.collector.wire_log import LOGS, exchanges, runs


def test_every_request_of_the_logs_is_there_whole() -> None:
    counts = {log.stem: [len(run.updates) for run in runs(log)] for log in LOGS}
    assert counts == {"ooniprobe-1.3.2": [2, 3], "ooniprobe-2.3.0": [2, 1, 1, 1, 2, 1]}
    for log in LOGS:
        logged = list(exchanges(log))
        whole = [one for run in runs(log) for one in (run.create, *run.updates, run.close) if one is not None]
        assert [one.path for one in whole] == [one.path for one in logged]
        for one, cut in zip(whole, logged, strict=True):
            assert len(one.body) == int(one.headers["Content-Length"])
            assert one.body.startswith(cut.body)


def test_whole_bodies_say_what_the_collector_stored() -> None:
    stored = 0
    for log in LOGS:
        for run in runs(log):
            if run.stored is None:
                continue
            stored += 1
            entries = [one.said()["content"] for one in run.updates]
            if run.stored.suffix == ".json":
                lines = run.stored.read_text(encoding="utf-8").splitlines()
                assert entries == [json.loads(line) for line in lines]
            else:
                assert run.stored.read_text(encoding="utf-8").endswith("".join(map(str, entries)))
    assert stored == 5
