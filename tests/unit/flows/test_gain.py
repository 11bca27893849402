"""The estimate of the gain: which steps are measured, and that it tells a change from none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from modelyard.core.errors import EvidenceMissing
from modelyard.core.window import Window
from modelyard.drift.policy import GainRule
from modelyard.flows.gain import _compare, _fit, steps
from modelyard.flows.probe import fit_probe

TRAINED = datetime(2013, 4, 9, tzinfo=UTC)
WEEK = timedelta(weeks=1)
RULE = GainRule()
CHAMPION = SimpleNamespace(digest="sha256:" + "a" * 64, version=1)


class Spec:
    """As much of a ``ModelSpec`` as a probe reads."""

    def of(self, *, kind: str) -> tuple[str, ...]:
        return {"numeric": ("x",), "categorical": ("carrier",)}[kind]


PROJECT = SimpleNamespace(name="made", spec=Spec(), params={"window_days": 28})


def rows(turned: bool) -> pd.DataFrame:
    """Seven weeks around the training; from it on, ``x`` means the opposite if ``turned``."""
    n = 7 * 1500
    rng = np.random.default_rng(2)
    times = pd.to_datetime(TRAINED - 4 * WEEK) + pd.to_timedelta(np.arange(n) * 7 * 7 * 86_400 / n, unit="s")
    x = rng.normal(size=n)
    sign = np.where((times >= pd.Timestamp(TRAINED)) & turned, -1.0, 1.0)
    label = (rng.random(n) < 1 / (1 + np.exp(-sign * x))).astype(float)
    carrier = rng.choice(["UA", "B6", None], n)
    known = times + pd.Timedelta(hours=2)
    return pd.DataFrame({"event_time": times, "known_at": known, "label": label, "x": x, "carrier": carrier})


def gain(turned: bool) -> float:
    given = rows(turned)
    window = Window(start=TRAINED + WEEK, end=TRAINED + 2 * WEEK)
    found = _compare(PROJECT, CHAMPION, given, _fit(PROJECT, given, TRAINED), window)
    assert found.n == pytest.approx(1500, abs=1)
    assert found.value is not None
    return found.value


def test_only_settled_steps_are_measured_and_the_first_has_no_newer_fit() -> None:
    assert steps(TRAINED, TRAINED + 2 * WEEK + timedelta(hours=11), RULE, 12) == ()
    first = Window(start=TRAINED + WEEK, end=TRAINED + 2 * WEEK)
    assert steps(TRAINED, TRAINED + 2 * WEEK + timedelta(hours=12), RULE, 12) == (first,)
    assert len(steps(TRAINED, TRAINED + 10 * WEEK, RULE, 12)) == 8


def test_a_change_is_a_gain_and_none_is_none() -> None:
    assert gain(turned=True) > 0.05
    assert abs(gain(turned=False)) < 0.005


def test_a_fit_sees_no_outcome_that_was_not_known() -> None:
    given = rows(turned=False)
    changed = given.copy()
    changed.loc[changed["known_at"] > pd.Timestamp(TRAINED), "label"] = 1.0
    assert np.array_equal(_fit(PROJECT, given, TRAINED)(given), _fit(PROJECT, changed, TRAINED)(given))


def test_odd_rows_are_fitted_and_one_class_is_no_evidence() -> None:
    given = rows(turned=False)
    given.loc[::7, "x"] = np.nan
    given.loc[::11, "x"] = np.inf
    assert np.isfinite(fit_probe(Spec(), given, given["label"].to_numpy())(given)).all()
    empty = given.assign(x=np.nan)
    assert np.isfinite(fit_probe(Spec(), empty, given["label"].to_numpy())(empty)).all()
    with pytest.raises(EvidenceMissing, match="not of both kinds"):
        fit_probe(Spec(), given, np.ones(len(given)))
