"""Metrics of a training under way: batched, kept while the server is away, never logged twice."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from modelyard.core.errors import Unavailable
from modelyard.flows.training_log import RunLog
from modelyard.training.watch import Epoch


class Run:
    """A run that may be away."""

    def __init__(self, there: frozenset[int] = frozenset()) -> None:
        self.there, self.away = there, False
        self.calls: list[list[tuple[str, float, int]]] = []

    def steps(self, name: str) -> frozenset[int]:
        assert name == "validation_loss"
        return self.there

    def metrics(self, rows: Iterable[tuple[str, float, int]]) -> None:
        if self.away:
            raise Unavailable("away")
        self.calls.append(list(rows))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def epoch(number: int) -> Epoch:
    return Epoch(number, 0.5, 0.6, 0.1)


def logged(run: Run) -> list[list[int]]:
    return [[step for name, _, step in call if name == "validation_loss"] for call in run.calls]


def test_epochs_are_sent_together_every_ten_seconds_and_at_the_end() -> None:
    run, clock = Run(), Clock()
    log = RunLog(run, clock)  # type: ignore[arg-type]  # of a run, only this much is used
    log.began(8, 0, ())
    for number, at in ((1, 3.0), (2, 9.0), (3, 11.0), (4, 12.0)):
        clock.now = at
        log.closed(epoch(number))
    log.flush()
    log.flush()
    assert logged(run) == [[1, 2, 3], [4]]
    assert {name for name, _, _ in run.calls[1]} >= {"fit_loss", "validation_loss", "lr"}


def test_what_is_there_of_an_interrupted_training_is_not_logged_again() -> None:
    run = Run(frozenset({1, 2}))
    log = RunLog(run, Clock())  # type: ignore[arg-type]
    log.began(8, 6, (epoch(1), epoch(2), epoch(3)))
    log.closed(epoch(4))
    log.flush()
    assert logged(run) == [[3, 4]]


def test_a_server_that_is_away_delays_the_numbers_and_is_an_error_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run, clock = Run(), Clock()
    log = RunLog(run, clock)  # type: ignore[arg-type]
    run.away, clock.now = True, 20.0
    log.closed(epoch(1))
    assert "metrics wait" in caplog.text
    with pytest.raises(Unavailable):
        log.flush()
    run.away = False
    log.flush()
    assert logged(run) == [[1]]
