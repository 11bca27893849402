"""Simulated evidence for ``rollout.simulate``: what a fleet would have measured at each look. Seeds are inputs.

Quality: labels are Bernoulli, the champion scores them with a noisy logit, the challenger with less or more of the same
noise; both have noise of their own, as two refits have. The loss differences have the heavy tails that come of it. The
noise is solved for by quadrature, so that "worse by the margin" is that and no sample's opinion. Rows come in blocks,
as flights come in days, and those of one block may share an effect.

Errors: binomial. Latency: lognormal, on a grid of 1.9%; between its points values are spread evenly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.rollout.loss import Difference, losses
from modelyard.stats.blocks import from_sums

Floats = NDArray[np.float64]
Counts = NDArray[np.integer[Any]]

TRUTH = (-1.2, 1.0)
"""Mean and standard deviation of the true logit: a fifth to a quarter of the labels are 1, as with flights."""
SHARED, OWN = 1.1, 0.25
"""Noise of the champion's logit: common to both versions, and of each refit."""
P95_MS, SPREAD, STEP = 80.0, 0.5, log(1.1) / 5
CELLS = 140
CHUNK = 10
"""Streams at a time: their arrays stay in the cache."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What the rows so far come to, by stream and look: ``loss.Difference`` of arrays."""

    mean: Floats
    variance: Floats
    error: Floats
    n: Counts
    effective: Floats
    blocks: Counts

    def at(self, stream: int, look: int) -> Difference:
        """What one look sees."""
        return Difference(
            mean=float(self.mean[stream, look]),
            variance=float(self.variance[stream, look]),
            error=float(self.error[stream, look]),
            n=int(self.n[look]),
            effective=float(self.effective[look]),
            blocks=int(self.blocks[look]),
        )


@dataclass(frozen=True, slots=True)
class Case:
    """A challenger whose expected loss differs by ``target`` (challenger minus champion).

    With a ``design_effect`` above 1 the rows of one block share an effect with mean 0, of the size that makes the
    mean's variance so many times that of independent rows: 1 + (rows - 1) times the correlation within a block. The
    effects of neighbouring blocks have this ``correlation`` (autoregressive); they are normal, or with ``rare`` an
    exponential variable: most days are a little better than the mean, and a few much worse.
    """

    target: float
    design_effect: float = 1.0
    correlation: float = 0.0
    rare: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """How many streams, looks, labelled rows at each look, and looks in one block."""

    streams: int
    looks: int
    rows: int
    looks_a_block: int

    @property
    def blocks(self) -> int:
        """Blocks begun by the last look."""
        return -(-self.looks // self.looks_a_block)


def paired_losses(cases: Sequence[Case], rng: np.random.Generator, size: Size) -> Iterator[list[Moments]]:
    """Moments of the paired differences of each case, some streams at a time; all cases see the same rows."""
    scales = {case.target: _scale(case.target) for case in cases}
    for first in range(0, size.streams, CHUNK):
        streams = min(CHUNK, size.streams - first)
        shape = (streams, size.looks, size.rows)
        # Single precision is three times as fast, and far finer than the noise; sums are taken in double precision.
        noise = rng.standard_normal((4, *shape), dtype=np.float32)
        logit, common, own = TRUTH[0] + TRUTH[1] * noise[0], SHARED * noise[1], OWN * noise[2]
        label = (rng.random(shape, dtype=np.float32) < _sigmoid(logit)).astype(np.float32)
        champion = _loss(logit + common + OWN * noise[3], label)
        normal, rare = rng.standard_normal((streams, size.blocks)), rng.exponential(1.0, (streams, size.blocks)) - 1
        sums = {}
        for target, scale in scales.items():
            each = _loss(logit + np.float32(scale) * common + own, label) - champion
            sums[target] = each.sum(axis=2, dtype=np.float64), np.square(each).sum(axis=2, dtype=np.float64)
        yield [_shared(*sums[case.target], case, rare if case.rare else normal, size) for case in cases]


def _shared(total: Floats, squares: Floats, case: Case, drawn: Floats, size: Size) -> Moments:
    """The moments once the rows of each block share an effect, made of these draws of variance 1."""
    rows = size.rows
    variance = squares.sum() / (total.size * rows) - (total.sum() / (total.size * rows)) ** 2
    share = (case.design_effect - 1) / (rows * size.looks_a_block - 1)
    effect = drawn.copy()
    for block in range(1, size.blocks):
        fresh = sqrt(1 - case.correlation**2) * drawn[:, block]
        effect[:, block] = case.correlation * effect[:, block - 1] + fresh
    effect *= sqrt(variance * share / (1 - share))
    each = effect.repeat(size.looks_a_block, axis=1)[:, : size.looks]
    return moments(total + rows * each, squares + 2 * each * total + rows * each**2, rows, size.looks_a_block)


def moments(total: Floats, squares: Floats, rows: int, looks_a_block: int) -> Moments:
    """The moments of all looks so far from each look's sum and sum of squares of ``rows`` rows."""
    looks = total.shape[1]
    n, look = rows * np.arange(1, looks + 1), np.arange(looks)
    mean = total.cumsum(axis=1) / n
    variance = (squares.cumsum(axis=1) - n * mean**2) / np.maximum(n - 1, 1)
    begun = look - look % looks_a_block
    weight, sums = n - rows * begun, total.cumsum(axis=1)
    own = sums - np.where(begun > 0, sums[:, begun - 1], 0.0)
    last = look % looks_a_block == looks_a_block - 1

    def over(each: Floats) -> Floats:
        """The sum over the blocks that are over, and the one under way."""
        ended = np.where(last, each, 0.0).cumsum(axis=-1)
        return np.asarray(ended + np.where(last, 0.0, each))

    found = from_sums(n, sums, over(weight**2.0), over(weight * own), over(own**2))
    effective = np.broadcast_to(found.effective, mean.shape)[0]
    return Moments(mean, variance, found.error, n, effective, look // looks_a_block + 1)


def champion_loss() -> float:
    """The champion's expected logloss."""
    return _expected(sqrt(SHARED**2 + OWN**2))


def error_counts(rate: float, rng: np.random.Generator, streams: int, looks: int, rows: int) -> tuple[Counts, Counts]:
    """Failures so far by stream and look, and rows so far."""
    failed = rng.binomial(rows, rate, (streams, looks)).cumsum(axis=1)
    return failed, rows * np.arange(1, looks + 1)


@dataclass(frozen=True, slots=True)
class Latencies:
    """How many answers so far lay in each cell of the grid or below, by stream, look and cell."""

    cells: Counts
    start: float

    def times(self, ratio: float) -> Latencies:
        """The same, so many times slower."""
        return Latencies(self.cells, self.start + log(ratio))

    def at(self, stream: int, look: int, place: int) -> float:
        """The latency at a place of the sorted ones, from 0."""
        below = self.cells[stream, look]
        cell = int(np.searchsorted(below, place, side="right"))
        before = int(below[cell - 1]) if cell else 0
        inside = (place - before + 0.5) / (int(below[cell]) - before)
        return exp(self.start + (cell + inside) * STEP)


def latencies(rng: np.random.Generator, streams: int, looks: int, rows: int) -> Latencies:
    """Latencies with a p95 of ``P95_MS``, ``rows`` more at each look."""
    centre = log(P95_MS) - SPREAD * NormalDist().inv_cdf(0.95)
    start = centre - SPREAD  # what is faster counts into the first cell; no bound ever lies there
    cells = np.empty((streams, looks, CELLS), dtype=np.int32)
    for stream in range(streams):
        drawn = rng.normal(centre, SPREAD, (looks, rows))
        cell = np.clip((drawn - start) / STEP, 0, CELLS - 1).astype(np.int64)
        flat = (cell + CELLS * np.arange(looks)[:, None]).ravel()
        cells[stream] = np.bincount(flat, minlength=looks * CELLS).reshape(looks, CELLS)
    return Latencies(cells.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32), start)


def _loss(logit: NDArray[Any], label: NDArray[Any]) -> NDArray[Any]:
    return losses("logloss", _sigmoid(logit), label, np.empty(0))


def _scale(target: float) -> float:
    """How much of the common noise the challenger must have for its expected loss to differ by ``target``."""
    base, low, high = champion_loss(), 0.0, 4.0
    if not _expected(OWN) - base <= target <= _expected(sqrt((high * SHARED) ** 2 + OWN**2)) - base:
        raise ValueError(f"no noise makes the loss differ by {target:g}; the champion's is {base:.4f}")
    for _ in range(50):
        middle = (low + high) / 2
        short = _expected(sqrt((middle * SHARED) ** 2 + OWN**2)) - base < target
        low, high = (middle, high) if short else (low, middle)
    return (low + high) / 2


def _expected(noise: float) -> float:
    """Expected logloss of a logit with normal noise, by Gauss and Hermite."""
    nodes, weights = _quadrature()
    truth = TRUTH[0] + TRUTH[1] * nodes[:, None]
    scored, p = truth + noise * nodes[None, :], _sigmoid(truth)
    loss = p * _loss(scored, np.ones_like(scored)) + (1 - p) * _loss(scored, np.zeros_like(scored))
    return float(weights @ loss @ weights)


@cache
def _quadrature() -> tuple[Floats, Floats]:
    """Points and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return nodes, weights / weights.sum()


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-x)))
