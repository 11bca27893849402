"""NAPFD against its definition written out, and the ends of its range."""

from __future__ import annotations

import doctest
import sys
from typing import Any

import numpy as np
import pytest

from modelyard.config.project import Project


def cycle(project: Project, tests: list[int], failed: list[int], ms: list[float] | None = None) -> Any:
    ids, place = np.unique(tests, return_inverse=True)
    took = np.array(ms or [1.0] * len(tests))
    return project.code("cycles:Cycle")(1, 0.0, ids, place, np.array(failed, dtype=bool), took)


def test_napfd_is_the_mean_over_all_orders_of_equals(project: Project) -> None:
    one = cycle(project, [1, 2, 2, 3, 4], [1, 0, 1, 0, 0])
    scores = np.array([0.5, 0.5, 0.5, 0.1])
    rng, drawn = np.random.default_rng(0), []
    for _ in range(4000):
        order = np.lexsort((rng.random(5), -scores[one.place]))
        ranks = np.flatnonzero(one.failed[order]) + 1
        drawn.append(1 - ranks.sum() / (5 * 2) + 1 / 10)
    assert project.code("cycles:napfd")(one, scores) == pytest.approx(np.mean(drawn), abs=0.01)


def test_half_the_time_leaves_out_what_does_not_fit_and_tries_the_next(project: Project) -> None:
    one = cycle(project, [1, 2, 3], [1, 1, 0], [10.0, 3.0, 7.0])
    found = project.code("cycles:napfd_within")(one, np.array([2.0, 1.0, 0.0]), 0.5, np.random.default_rng(0))
    # The time is 10: test 1 fits alone. p = 1/2, rank 1 of n = 3, m = 2.
    assert found == pytest.approx(0.5 - 1 / 6 + 0.5 / 6)
    less = project.code("cycles:napfd_within")(one, np.array([2.0, 1.0, 0.0]), 0.4, np.random.default_rng(0))
    assert less == pytest.approx(0.5 - 1 / 6 + 0.5 / 6), "test 1 does not fit any more, test 2 does"


def test_all_the_time_is_napfd(project: Project) -> None:
    one = cycle(project, [1, 2, 3], [1, 0, 1], [10.0, 3.0, 7.0])
    scores = np.array([0.0, 2.0, 1.0])
    whole = project.code("cycles:napfd_within")(one, scores, 1.0, np.random.default_rng(0))
    assert whole == pytest.approx(project.code("cycles:napfd")(one, scores))


def test_a_cycle_without_failure_has_no_napfd(project: Project) -> None:
    with pytest.raises(ValueError, match="no failure"):
        project.code("cycles:napfd")(cycle(project, [1, 2], [0, 0]), np.zeros(2))


@pytest.mark.parametrize("name", ["cycles:napfd", "history:log_odds", "ranker:pair_weights"])
def test_examples_hold(project: Project, name: str) -> None:
    module = sys.modules[project.code(name).__module__]
    ran = doctest.testmod(module)
    assert ran.attempted
    assert not ran.failed
