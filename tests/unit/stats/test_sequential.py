"""Looking after every observation keeps the stated error: seeded simulations and plain reference computations."""

from __future__ import annotations

from math import comb, inf, log, sqrt

import numpy as np
import pytest

from modelyard.stats.sequential import (
    BernoulliEProcess,
    confidence_sequence,
    mixture_rho,
    robbins_radius,
)


def trips(rate: float, *, p0: float, alpha: float, streams: int, length: int, seed: int) -> list[int]:
    """The trial at which each stream tripped; 0 for never. One look after every trial."""
    failed = np.random.default_rng(seed).random((streams, length)) < rate
    found = []
    for stream in failed.tolist():
        guard = BernoulliEProcess(p0, alpha)
        found.append(next((i for i, f in enumerate(stream, 1) if guard.update(int(f), 1)), 0))
    return found


class TestEProcess:
    @pytest.mark.parametrize(("p0", "alpha"), [(0.01, 0.05), (0.05, 0.05), (0.2, 0.1)])
    def test_false_trips_stay_under_alpha_at_the_boundary_of_the_null(self, p0: float, alpha: float) -> None:
        found = trips(p0, p0=p0, alpha=alpha, streams=400, length=2000, seed=1)
        assert sum(map(bool, found)) / 400 <= alpha

    def test_half_the_budget_almost_never_trips(self) -> None:
        found = trips(0.005, p0=0.01, alpha=0.01, streams=400, length=2000, seed=2)
        assert sum(map(bool, found)) / 400 <= 0.005

    def test_a_version_failing_half_of_its_requests_is_off_within_a_few(self) -> None:
        found = trips(0.5, p0=0.01, alpha=0.01, streams=1000, length=100, seed=3)
        assert all(found)
        assert np.median(found) <= 4
        assert np.quantile(found, 0.99) <= 14

    def test_ten_percent_failures_are_found_although_no_alternative_is_tuned_to_them(self) -> None:
        found = trips(0.1, p0=0.02, alpha=0.01, streams=200, length=1000, seed=4)
        assert all(found)
        assert np.median(found) <= 120

    def test_a_rate_that_changes_within_the_null_keeps_the_level(self) -> None:
        rng, tripped = np.random.default_rng(5), 0
        for _ in range(200):
            guard = BernoulliEProcess(0.05, 0.05)
            rates = np.where(np.arange(2000) % 200 < 100, 0.05, 0.0)
            tripped += any(guard.update(int(f), 1) for f in rng.random(2000) < rates)
        assert tripped / 200 <= 0.05

    def test_the_expected_e_value_is_one_at_the_null(self) -> None:
        chances = [comb(20, k) * 0.3**k * 0.7 ** (20 - k) for k in range(21)]
        values = [BernoulliEProcess(0.3, 0.01, failures=k, trials=20).e_value for k in range(21)]
        assert sum(c * v for c, v in zip(chances, values, strict=True)) == pytest.approx(1, abs=1e-9)

    def test_counting_in_batches_reaches_the_same_state(self) -> None:
        single, batch = BernoulliEProcess(0.05, 0.001), BernoulliEProcess(0.05, 0.001)
        for failed in (0, 1, 0, 0, 1):
            single.update(failed, 1)
        batch.update(2, 5)
        assert single.e_value == batch.e_value

    def test_it_stays_tripped_and_is_restored_from_its_counts(self) -> None:
        guard = BernoulliEProcess(0.01, 0.01)
        guard.update(5, 5)
        assert guard.update(0, 100_000)
        again = BernoulliEProcess(0.01, 0.01, failures=guard.failures, trials=guard.trials, tripped=guard.tripped)
        assert again.tripped
        assert again.e_value == guard.e_value

    def test_successes_never_trip(self) -> None:
        assert not BernoulliEProcess(0.01, 0.01).update(0, 10**9)

    def test_a_flood_of_failures_overflows_nothing(self) -> None:
        assert BernoulliEProcess(0.001, 1e-9).update(10**6, 10**6)

    @pytest.mark.parametrize(("p0", "alpha"), [(0, 0.1), (1, 0.1), (0.1, 0), (0.1, 1), (float("nan"), 0.1)])
    def test_impossible_levels_are_refused(self, p0: float, alpha: float) -> None:
        with pytest.raises(ValueError, match="strictly between"):
            BernoulliEProcess(p0, alpha)

    @pytest.mark.parametrize(("failures", "trials"), [(2, 1), (-1, 1)])
    def test_impossible_counts_are_refused(self, failures: int, trials: int) -> None:
        with pytest.raises(ValueError, match="failures in"):
            BernoulliEProcess(0.1, 0.1).update(failures, trials)


def ever_missed(draws: np.ndarray, truth: float, *, first: int, alpha: float, n_opt: int) -> float:
    """The share of streams whose sequence excludes the truth at any look from ``first`` on."""
    n = np.arange(1, draws.shape[1] + 1)
    mean = draws.cumsum(axis=1) / n
    variance = ((draws**2).cumsum(axis=1) / n - mean**2) * n / np.maximum(n - 1, 1)
    radius = np.array([robbins_radius(int(k), 1.0, alpha, n_opt=n_opt) for k in n])
    missed = np.abs(mean - truth) > radius * np.sqrt(np.maximum(variance, 0))
    return float(missed[:, first - 1 :].any(axis=1).mean())


class TestConfidenceSequence:
    def test_a_naive_interval_errs_far_above_its_level_when_repeated(self) -> None:
        draws = np.random.default_rng(0).normal(size=(300, 2000))
        n = np.arange(1, 2001)
        z = np.abs(draws.cumsum(axis=1) / np.sqrt(n))
        assert (z[:, 99:] > 1.96).any(axis=1).mean() > 0.2

    @pytest.mark.parametrize("seed", [1, 2])
    def test_covers_at_all_looks_for_normal_values(self, seed: int) -> None:
        draws = np.random.default_rng(seed).normal(0.3, 2, size=(500, 3000))
        assert ever_missed(draws, 0.3, first=100, alpha=0.05, n_opt=1000) <= 0.05

    def test_covers_at_all_looks_for_skewed_values(self) -> None:
        draws = np.random.default_rng(3).exponential(1.0, size=(500, 3000))
        assert ever_missed(draws, 1.0, first=200, alpha=0.05, n_opt=1000) <= 0.05

    def test_covers_paired_loss_differences_of_equal_models(self) -> None:
        rng = np.random.default_rng(4)
        truth = rng.uniform(0.05, 0.6, size=(400, 2000))
        label = rng.random(truth.shape) < truth
        losses = [
            -np.log(np.where(label, p, 1 - p))
            for p in np.clip(truth + rng.normal(0, 0.03, (2, *truth.shape)), 0.01, 0.99)
        ]
        assert ever_missed(losses[0] - losses[1], 0.0, first=200, alpha=0.05, n_opt=1000) <= 0.05

    def test_agrees_with_the_formula_of_the_paper(self) -> None:
        n, variance, alpha, rho = 700, 0.09, 0.05, mixture_rho(1000, 0.05)
        wanted = sqrt(variance) * sqrt(2 * (n * rho**2 + 1) / (n**2 * rho**2) * log(sqrt(n * rho**2 + 1) / alpha))
        low, high = confidence_sequence(0.5, variance, n, alpha, n_opt=1000)
        assert (low, high) == pytest.approx((0.5 - wanted, 0.5 + wanted), abs=1e-12)

    def test_is_nearly_tightest_at_the_chosen_size(self) -> None:
        chosen = robbins_radius(1000, 1, 0.05, n_opt=1000)
        others = [robbins_radius(1000, 1, 0.05, n_opt=n) for n in (50, 200, 500, 2000, 20_000)]
        assert chosen <= min(others) + 1e-3

    def test_a_logloss_margin_of_a_hundredth_needs_about_the_rows_the_design_says(self) -> None:
        # Paired differences of two refits have a standard deviation near .12.
        sizes = [n for n in range(100, 5000, 50) if robbins_radius(n, 0.12, 0.05, n_opt=1200) < 0.01]
        assert 1000 <= sizes[0] <= 1800

    def test_no_evidence_is_an_infinite_interval(self) -> None:
        assert confidence_sequence(0.0, 0.0, 0, 0.05, n_opt=100) == (-inf, inf)
        assert confidence_sequence(0.1, 0.0, 1, 0.05, n_opt=100) == (-inf, inf)

    @pytest.mark.parametrize(("mean", "variance"), [(float("nan"), 1), (0, float("inf")), (0, -1)])
    def test_corrupt_moments_are_refused(self, mean: float, variance: float) -> None:
        with pytest.raises(ValueError, match="finite mean and variance"):
            confidence_sequence(mean, variance, 100, 0.05, n_opt=100)
