"""How often the platform's own decisions are wrong, and how soon they are right, on simulated evidence.

The measurements are made by ``evidence`` and judged by ``decide``, look by look, as the flows have it; only the rows
come from ``streams``. A stream ends at the first look whose verdict is ``successful`` (promoted) or ``failed`` (rolled
back). The bounds are those of the policy's last stage, which is the one that promotes. Rivals see the same streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.core.verdict import Measurement, Outcome, Verdict
from modelyard.ports.fleet import Arm
from modelyard.rollout import decide, evidence, loss, streams
from modelyard.rollout.policy import Quality, RolloutPolicy
from modelyard.rollout.state import RolloutState
from modelyard.stats import rivals
from modelyard.stats.binomial import rate_sequence
from modelyard.stats.intervals import wilson

OURS = "platform"
SPLITS = {"50/50": 0.5, "5/95": 0.05}
LABELLED, ANSWERED, TIMED = 300, 2000, 200
"""Rows of both versions together at each look: with a label, for errors, for latency."""
LOOKS_A_BLOCK = 3
"""A block has 900 labelled rows then, as many as a day has flights."""
ERROR_RATE = 0.05
CHANGES = {"identical": 0.0, "2% better": -0.02, "10% better": -0.10, "5% worse": 0.05}
"""Of the loss, the error rate, the p95; beside them stands "worse by the margin"."""
MARGIN = "worse by the margin"
DESIGN_EFFECTS = (1.0, 2.0, 5.0, 20.0)
BEYOND = 0.3
"""A correlation of neighbouring blocks that is greater than the policy declares."""

Say = Callable[[str], None]
Judge = Callable[[int, int], Verdict]


@dataclass(frozen=True, slots=True)
class Result:
    """What one rule came to on the streams of one case.

    ``rows`` is the median number of rows (both versions together) at the decision; a stream that was never decided
    counts as later than all others, and where the median is such a one, it is None. ``promoted_high`` and
    ``rolled_back_high`` are 95% upper ends, for the streams are a sample.
    """

    metric: str
    split: str
    case: str
    rule: str
    promoted: float
    rolled_back: float
    promoted_high: float
    rolled_back_high: float
    rows: float | None
    streams: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def simulate(policy: RolloutPolicy, *, seed: int, repetitions: int, looks: int, say: Say) -> list[Result]:
    """All cases for quality, errors and latency. The same arguments give the same results."""
    if repetitions < 1 or looks < 5:
        raise ValueError(f"at least one repetition and 5 looks are needed, got {repetitions} and {looks}")
    state = last_stage(policy)
    seeds = iter(np.random.SeedSequence(seed).spawn(3))
    found: list[Result] = []
    for name, part in (("quality", _quality), ("errors", _errors), ("latency", _latency)):
        say(f"{name}: {repetitions} streams of {looks} looks in each case")
        for result in part(state, np.random.default_rng(next(seeds)), repetitions, looks):
            found.append(result)
            if result.rule == OURS:
                say(f"  {result.split} {result.case}: {result.promoted:.2%} promoted, {result.rolled_back:.2%} back")
    return found


def last_stage(policy: RolloutPolicy) -> RolloutState:
    """A rollout of nothing in particular in its last stage."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old, new = ("sha256:" + letter * 64 for letter in "ab")
    arms = {"champion": Arm(release=old, version=1, bundle=""), "challenger": Arm(release=new, version=2, bundle="")}
    digests = {"release": new, "gates": old, "governance": old}
    given = {"id": "simulated", "model": "simulated", "strategy": "canary", "paired": True, "status": "running"}
    moments = {"as_of": now, "opened_at": now, "entered_at": now}
    stage = len(policy.stages) - 1
    return RolloutState.model_validate(given | arms | digests | moments | {"policy": policy, "stage": stage})


def _quality(state: RolloutState, rng: np.random.Generator, streams_: int, looks: int) -> Iterator[Result]:
    """Paired: both versions score every row, so the split does not matter."""
    asked, base = state.policy.quality, streams.champion_loss()
    size = streams.Size(streams_, looks, LABELLED, LOOKS_A_BLOCK)
    cases = dict(_shared(asked))
    chunks = list(streams.paired_losses(list(cases.values()), rng, size))
    for number, (split, name) in enumerate(cases):
        seen = [chunk[number] for chunk in chunks]
        mean, variance, error = (
            np.concatenate([getattr(s, part) for s in seen]) for part in ("mean", "variance", "error")
        )
        all_ = replace(seen[0], mean=mean, variance=variance, error=error)
        ours = _ours(partial(_loss, state, all_), streams_, looks)
        enough = all_.n >= asked.min_rows
        rules = {OURS: ours, **_rivals(mean, np.sqrt(variance / all_.n), asked.margin, base, enough)}
        yield from _results("quality", split, name, rules, LABELLED)


def _shared(asked: Quality) -> Iterator[tuple[tuple[str, str], streams.Case]]:
    """All cases by split and name: what the policy declares of blocks, and what goes beyond it."""
    base, declared, most = streams.champion_loss(), asked.block_correlation, max(DESIGN_EFFECTS)
    targets = {name: change * base for name, change in CHANGES.items()} | {MARGIN: asked.margin}
    for effect in DESIGN_EFFECTS:
        split = "paired" if effect == 1 else f"paired, design effect {effect:g}"
        for name, target in targets.items():
            yield (split, name), streams.Case(target, effect, declared if effect > 1 else 0.0)
    for name in ("identical", MARGIN):
        close = streams.Case(targets[name], most, BEYOND)
        yield (f"paired, design effect {most:g}, correlation {BEYOND:g}", name), close
        yield (f"paired, design effect {most:g}, rare bad days", name), replace(close, correlation=declared, rare=True)


def _loss(state: RolloutState, seen: streams.Moments, stream: int, look: int) -> Verdict:
    found = seen.at(stream, look)
    difference, by_rows, _ = loss.measurements(found, found.n, state.policy.quality)
    return decide.quality(state, difference, by_rows)


def _errors(state: RolloutState, rng: np.random.Generator, streams_: int, looks: int) -> Iterator[Result]:
    margin = state.current.error_ratio - 1
    for split, share in SPLITS.items():
        theirs = round(ANSWERED * share)
        for name, change in {**CHANGES, MARGIN: margin}.items():
            b, n = streams.error_counts(ERROR_RATE * (1 + change), rng, streams_, looks, theirs)
            a, m = streams.error_counts(ERROR_RATE, rng, streams_, looks, ANSWERED - theirs)
            judge = partial(_failing, state, _Rates("challenger", b, n), _Rates("champion", a, m))
            ours = _ours(judge, streams_, looks)
            p, q = b / n, a / m
            error = np.sqrt(np.maximum(p * (1 - p) / n + q * (1 - q) / m, 1e-12))
            enough = n >= state.policy.tolerance.min_rows
            rules = {OURS: ours, **_rivals(p - q, error, margin * ERROR_RATE, ERROR_RATE, enough)}
            yield from _results("errors", split, name, rules, ANSWERED)


class _Rates:
    """The error rates of one version; the ends of all looks are computed at once."""

    def __init__(self, variant: str, failed: streams.Counts, n: streams.Counts) -> None:
        self._variant, self._failed, self._n = variant, failed, n
        self._low, self._high = rate_sequence(failed, n, evidence.ALPHA)

    def at(self, stream: int, look: int) -> Measurement:
        ends = float(self._low[stream, look]), float(self._high[stream, look])
        return evidence.rate(self._variant, int(self._failed[stream, look]), int(self._n[look]), *ends)


def _failing(state: RolloutState, challenger: _Rates, champion: _Rates, stream: int, look: int) -> Verdict:
    return decide.errors(state, challenger.at(stream, look), champion.at(stream, look))


def _latency(state: RolloutState, rng: np.random.Generator, streams_: int, looks: int) -> Iterator[Result]:
    """Without rivals: there is no textbook rule for a ratio of two p95."""
    margin = state.current.latency_p95_ratio - 1
    for split, share in SPLITS.items():
        theirs = round(TIMED * share)
        new, old = (streams.latencies(rng, streams_, looks, rows) for rows in (theirs, TIMED - theirs))
        for name, change in {**CHANGES, MARGIN: margin}.items():
            judge = partial(_timed, state, (new.times(1 + change), theirs), (old, TIMED - theirs))
            yield from _results("latency", split, name, {OURS: _ours(judge, streams_, looks)}, TIMED)


def _timed(
    state: RolloutState,
    challenger: tuple[streams.Latencies, int],
    champion: tuple[streams.Latencies, int],
    stream: int,
    look: int,
) -> Verdict:
    stages = sum(not stage.shadow for stage in state.stages)
    measured = (
        evidence.latency(variant, rows * (look + 1), partial(seen.at, stream, look), shared_by=shared)
        for variant, (seen, rows), shared in (("challenger", challenger, stages), ("champion", champion, 1))
    )
    return decide.latency(state, *measured)


def _ours(judge: Judge, streams_: int, looks: int) -> tuple[rivals.Flags, rivals.Flags]:
    """Where the platform first decides: one look after the other, none after the end."""
    promoted, back = np.zeros((2, streams_, looks), dtype=bool)
    for stream in range(streams_):
        for look in range(looks):
            outcome = judge(stream, look).outcome
            if outcome in (Outcome.SUCCESSFUL, Outcome.FAILED):
                (promoted if outcome is Outcome.SUCCESSFUL else back)[stream, look] = True
                break
    return promoted, back


def _rivals(
    mean: rivals.Floats, error: rivals.Floats, margin: float, base: float, enough: NDArray[np.bool_]
) -> dict[str, tuple[rivals.Flags, rivals.Flags]]:
    """What others would do; they too wait for the policy's minimum of rows."""
    rules = {
        "P(better) > .95": rivals.probability_best(mean, error),
        "P(within the margin) > .95": rivals.probability_best(mean, error, margin=margin),
        "expected loss < 1%": rivals.expected_loss(mean, error, 0.01 * base),
        "Pocock, 5 looks, against the margin": rivals.pocock(mean, error, margin=margin),
    }
    return {name: (promote & enough, back & enough) for name, (promote, back) in rules.items()}


def _results(
    metric: str, split: str, case: str, rules: dict[str, tuple[rivals.Flags, rivals.Flags]], rows: int
) -> Sequence[Result]:
    return [_result((metric, split, case, rule), *flags, rows) for rule, flags in rules.items()]


def _result(names: tuple[str, str, str, str], promote: rivals.Flags, back: rivals.Flags, rows: int) -> Result:
    either = promote | back
    decided, first = either.any(axis=1), either.argmax(axis=1)
    promoted = int((promote[np.arange(len(first)), first] & decided).sum())
    returned, n = int(decided.sum()) - promoted, len(first)
    middle = float(np.median(np.where(decided, rows * (first + 1.0), np.inf)))
    median = middle if np.isfinite(middle) else None
    highs = wilson(promoted, n)[1], wilson(returned, n)[1]
    return Result(*names, promoted / n, returned / n, *highs, median, n)
