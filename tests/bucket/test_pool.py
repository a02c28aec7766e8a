from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ooni_pipeline.bucket.pool import process_pool, run_all
from ooni_pipeline.errors import BucketError, PipelineError, UnforeseenError
from tests.bucket import jobs

TOP = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_with_its_result_in_any_order(workers: int) -> None:
    done = list(run_all(range(20), jobs.square, workers))
    assert sorted(done) == [(number, number * number) for number in range(20)]


def test_no_jobs_no_processes() -> None:
    def no_pool(workers: int) -> Executor:
        raise AssertionError

    assert list(run_all([], jobs.square, 4, no_pool)) == []


def test_any_executor_serves() -> None:
    assert sorted(run_all([3, 1, 2], jobs.square, 2, ThreadPoolExecutor)) == [(1, 1), (2, 4), (3, 9)]


def test_few_jobs_are_under_way_at_once() -> None:
    under_way: list[int] = []

    class Counting(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
            future: Future[Any] = super().submit(*arguments, **options)
            futures.append(future)
            under_way.append(sum(not other.done() for other in futures))
            return future

    futures: list[Future[Any]] = []
    assert len(list(run_all(range(50), jobs.square, 3, Counting))) == 50
    assert max(under_way) <= 6


def test_killers_are_found_and_the_others_complete() -> None:
    done = dict(run_all(range(1, 24), jobs.perhaps_die, 2))
    assert sorted(done) == list(range(1, 24))
    dead = [number for number, result in sorted(done.items()) if result is None]
    assert dead == [7, 10, 14, 20, 21]
    assert all(done[number] == number * number for number in done if number not in dead)


def test_nothing_but_killers() -> None:
    assert sorted(run_all(range(3), jobs.always_die, 2)) == [(0, None), (1, None), (2, None)]


def test_what_the_work_raises_stops_everything() -> None:
    with pytest.raises(UnforeseenError, match=r"^unforeseen ZeroDivisionError at tests\.bucket\.jobs:\d+ < "):
        list(run_all(range(100), jobs.fail, 2))


@pytest.mark.parametrize(
    "work", [jobs.fail_without_pickle, jobs.fail_after_another], ids=["without_pickle", "after_another"]
)
def test_what_a_worker_raises_is_told_without_its_text(work: Callable[[jobs.Probes], None]) -> None:
    with pytest.raises(UnforeseenError, match=r"^report r1: unforeseen .*TwoArgumentsError") as caught:
        list(run_all([jobs.Probes("r1")], work, 1))
    assert "probe said" not in "".join(traceback.format_exception(caught.value))


def test_what_we_foresaw_and_what_the_system_says_comes_as_it_is() -> None:
    with pytest.raises(BucketError, match=r"^run bucket 2016-08-01 again$"):
        list(run_all([BucketError("run bucket 2016-08-01 again")], jobs.fail_with, 1))
    with pytest.raises(FileNotFoundError) as caught:
        list(run_all([FileNotFoundError(2, "No such file", "/nowhere")], jobs.fail_with, 1))
    assert caught.value.filename == "/nowhere"


def die() -> None:
    os._exit(1)


def test_processes_that_never_start_are_no_reports_fault() -> None:
    def stillborn(workers: int) -> Executor:
        return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), die)

    with pytest.raises(PipelineError, match="worker processes die as they start"):
        list(run_all(range(3), jobs.square, 1, stillborn))


def test_whoever_stops_asking_leaves_no_process() -> None:
    results = run_all(range(100), jobs.square, 2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_the_program_is_not_imported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """luigi, as a rule: it would cost each worker more time than all the rest of its start."""
    program = sys.modules["__main__"]
    (tmp_path / "program.py").touch()
    monkeypatch.setattr(program, "__file__", str(tmp_path / "program.py"), raising=False)
    monkeypatch.setattr(program, "__spec__", None)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as plain:
        assert plain.submit(jobs.knows_the_program, 0).result()
    assert dict(run_all(range(3), jobs.knows_the_program, 2)) == dict.fromkeys(range(3), False)
    assert sys.modules["__main__"] is program


def test_workers_write_for_their_owner_alone() -> None:
    assert list(run_all([0], jobs.umask, 1, process_pool)) == [(0, 0o077)]


def test_workers_leave_no_core_file() -> None:
    assert list(run_all([0], jobs.core_limit, 1, process_pool)) == [(0, (0, 0))]


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-m", "tests.bucket.jobs", str(tmp_path)], cwd=TOP)
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert all(is_alive(pid) for pid in workers)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in workers))


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
