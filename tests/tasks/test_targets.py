"""What a task asks the database, and how often when it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ooni_pipeline.errors import DatabaseError
from tasks import config, targets


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(targets, "time", clock)
    monkeypatch.setattr(config, "database_url", lambda: "postgresql:///nowhere")
    targets.answers_again()
    yield clock
    targets.answers_again()


def failing(clock: Clock, seconds: float) -> Callable[[str], bool]:
    """A question that a database leaves without an answer for so long."""

    def question(url: str) -> bool:
        clock.now += seconds
        raise DatabaseError("cannot reach the database: timeout expired")

    return question


def test_a_database_that_lets_us_wait_is_not_asked_again_for_a_while(clock: Clock) -> None:
    asked = []

    def question(url: str) -> bool:
        asked.append(url)
        return True

    assert targets.ask(failing(clock, 10), otherwise=False) is False
    assert targets.ask(question, otherwise=False) is False
    assert asked == []
    clock.now += targets.A_WHILE
    assert targets.ask(question, otherwise=False) is True
    assert targets.ask(failing(clock, 10), otherwise=False) is False
    targets.answers_again()  # a load has just gone through
    assert targets.ask(question, otherwise=False) is True


def test_one_that_refuses_at_once_is_asked_every_time(clock: Clock) -> None:
    assert targets.ask(failing(clock, 0.1), otherwise=False) is False
    assert targets.ask(lambda url: True, otherwise=False) is True
