"""What people are shown beside a look: P(B > A), expected loss, credible intervals, rows needed.

Computed from the look's own record, when somebody asks; nothing of it is recorded, and no decision uses it: these
numbers do not bear being looked at again and again (``stats.bayes``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelyard.core.value import Finite, Value
from modelyard.core.verdict import Measurement
from modelyard.rollout.loss import LOSS, LOSS_ERROR
from modelyard.rollout.state import RolloutState
from modelyard.stats import bayes
from modelyard.stats.intervals import normal_quantile

LABEL = "for people; the decision does not use it"
CONFIDENCE = 0.95
POWER = 0.8


class Shown(Value):
    """One metric for people. What is None is not known yet, or (as ``note`` says) not to be had from the record.

    ``probability_better``: that the challenger is better, given the data. ``expected_cost``: what promoting it is
    expected to cost, in the metric's unit; ``expected_cost_of_keeping``: what staying is. ``low`` and ``high``: the 95%
    credible interval, of the difference for the loss and of the challenger's rate for errors. ``rows_needed``: for one
    single look to show an equal version within the margin with a probability of 80%; the decision, which may be looked
    at always, needs more.
    """

    metric: str
    probability_better: Finite | None = None
    expected_cost: Finite | None = None
    expected_cost_of_keeping: Finite | None = None
    low: Finite | None = None
    high: Finite | None = None
    rows: int = 0
    rows_needed: int | None = None
    note: str = LABEL


def for_people(state: RolloutState, measurements: Sequence[Measurement]) -> tuple[Shown, ...]:
    """The numbers for the errors and the loss of a look; a first release has nobody to be compared with."""
    if state.champion is None or state.stage < 0:
        return ()
    found = {(m.name, m.variant): m for m in measurements}
    rates = [found.get(("error_rate", variant)) for variant in ("challenger", "champion")]
    return _errors(state, *rates), _loss(state, found.get((LOSS, "")), found.get((LOSS_ERROR, "")))


def _errors(state: RolloutState, challenger: Measurement | None, champion: Measurement | None) -> Shown:
    b, a = _rate(challenger), _rate(champion)
    if b is None or a is None:
        return Shown(metric="errors", note=f"no rows of both versions yet; {LABEL}")
    low, high = b.credible(CONFIDENCE)
    base = max(a.events / a.trials, state.policy.tolerance.error_rate)
    margin, share = (state.current.error_ratio - 1) * base, b.trials / (a.trials + b.trials)
    needed = (
        bayes.rows_for_rates(base, margin, share, alpha=state.policy.quality.alpha, power=POWER) if margin else None
    )
    return Shown(
        metric="errors",
        probability_better=bayes.probability_greater(a, b),
        expected_cost=bayes.expected_excess(b, a),
        expected_cost_of_keeping=bayes.expected_excess(a, b),
        low=low,
        high=high,
        rows=a.trials + b.trials,
        rows_needed=needed,
    )


def _rate(measured: Measurement | None) -> bayes.Rate | None:
    if measured is None or measured.value is None or not measured.n:
        return None
    return bayes.Rate(min(round(measured.value * measured.n), measured.n), measured.n)


def _loss(state: RolloutState, loss: Measurement | None, spread: Measurement | None) -> Shown:
    quality = state.policy.quality
    if loss is None or loss.value is None:
        return Shown(metric=quality.metric, note=f"no labelled rows yet; {LABEL}")
    if spread is None or spread.value is None:
        return Shown(metric=quality.metric, rows=loss.n, note=f"a single block of time shows no error yet; {LABEL}")
    error = spread.value
    radius = error * normal_quantile(CONFIDENCE)
    return Shown(
        metric=quality.metric,
        probability_better=bayes.probability_below_zero(loss.value, error),
        expected_cost=bayes.expected_positive(loss.value, error),
        expected_cost_of_keeping=bayes.expected_positive(-loss.value, error),
        low=loss.value - radius,
        high=loss.value + radius,
        rows=loss.n,
        rows_needed=bayes.rows_for_paired(error * loss.n**0.5, quality.margin, alpha=quality.alpha, power=POWER),
    )


COLUMNS = ("metric", "P(better)", "cost of promoting", "cost of keeping", "95% credible", "rows", "rows needed", "")


def table(shown: Sequence[Shown]) -> list[tuple[str, ...]]:
    """Rows for a terminal."""
    return [
        (
            s.metric,
            _or("{:.1%}", s.probability_better),
            _or("{:.5f}", s.expected_cost),
            _or("{:.5f}", s.expected_cost_of_keeping),
            "unknown" if s.low is None or s.high is None else f"{s.low:+.4f} to {s.high:+.4f}",
            str(s.rows),
            _or("{:d}", s.rows_needed),
            "" if s.note == LABEL else s.note.removesuffix(f"; {LABEL}"),
        )
        for s in shown
    ]


def _or(form: str, value: float | None) -> str:
    say: Callable[..., str] = form.format
    return "unknown" if value is None else say(value)
