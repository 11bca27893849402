"""What happens to a model whose every weight is known, when its inputs are disturbed or asked for again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fixtures.small_model import WINDOW, Small

from modelyard.core.verdict import Measurement
from modelyard.evaluation.importance import importance_plot, measure_importance
from modelyard.evaluation.measure import Sample
from modelyard.evaluation.probing import make_probe
from modelyard.evaluation.robustness import (
    class_agreement,
    measure_consistency,
    measure_robustness,
    repeated,
)
from modelyard.release.score import BundleModel

NOBODY = Sample(np.empty(0), np.empty(0, dtype="datetime64[s]"), WINDOW)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(tmp_path_factory.mktemp("small"))


def by_name(found: object) -> dict[str, Measurement]:
    return {m.slice or m.name: m for m in found}  # type: ignore[attr-defined]


def test_only_what_the_model_reads_is_important(small: Small) -> None:
    names = ["distance", "wind", "carrier"]
    found = by_name(measure_importance(small.sample, small.release.digest, names, small.probe(), seed=1))
    assert found["feature=wind"].value > 0.1
    assert found["feature=distance"].value == 0
    assert abs(found["feature=carrier"].value) < 0.01
    assert importance_plot(list(found.values())) is not None


def test_changing_one_input_leaves_the_rows_as_they_were(small: Small) -> None:
    probe = small.probe()
    before = probe.score().copy()
    probe.score({"wind": np.zeros(len(probe), dtype=np.float32)})
    assert (probe.score() == before).all()


def test_disturbed_inputs_cost_what_the_model_made_of_them(small: Small) -> None:
    found = by_name(measure_robustness(small.sample, small.release.digest, small.probe(), seed=1))
    assert found["missing_loss"].value > found["noise_loss"].value
    assert found["missing_loss"].value > 0.01
    assert "wind" in found["missing_loss"].evidence
    assert "distance" not in found["missing_loss"].evidence  # it may not be missing
    assert (found["outage_loss"].value, found["outage_loss"].evidence) == (
        0.0, "no input can be changed so: nothing can happen",
    )  # fmt: skip
    again = by_name(measure_robustness(small.sample, small.release.digest, small.probe(), seed=1))
    assert again == found


def test_the_same_rows_are_answered_alike_in_any_batch(small: Small) -> None:
    found = by_name(measure_consistency(small.sample, small.release.digest, small.probe(), 0.5))
    assert found["class_consistency"].value == 1
    assert found["score_spread"].value < 1e-6
    assert repeated(small.probe()).shape == (5, 1000)


def test_a_model_that_draws_lots_is_found_out(small: Small) -> None:
    probe, rng = small.probe(), np.random.default_rng(0)

    class Lots:
        def logits(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
            return rng.normal(0, 1, len(feeds["numeric"]))

    probe.model.onnx = Lots()  # type: ignore[assignment]
    found = by_name(measure_consistency(small.sample, small.release.digest, probe, 0.5))
    assert found["class_consistency"].value < 0.3
    assert found["score_spread"].value > 0.3


def test_one_pass_that_differs_takes_the_whole_row() -> None:
    assert class_agreement(np.array([[True, True], [True, True], [True, False]])) == 0.5


def test_few_rows_are_no_evidence(small: Small) -> None:
    assert make_probe(small.sample.label[:99], small.rows[:99], BundleModel(small.bundle), seed=1) is None
    digest = small.release.digest
    nothing = (
        *measure_robustness(NOBODY, digest, None, seed=1),
        *measure_consistency(NOBODY, digest, None, 0.5),
        *measure_importance(NOBODY, digest, ["wind"], None, seed=1),
    )
    assert len(nothing) == 7
    assert all(m.value is None and "100" in m.why for m in nothing)
    assert importance_plot(nothing) is None


def test_bounds_of_the_gateway_hold_for_disturbed_values_too(small: Small, tmp_path: Path) -> None:
    from modelyard.evaluation.robustness import _bounded

    distance = small.probe().inputs[0]
    assert _bounded(distance, np.array([-5.0, 20_000.0])).tolist() == [0.0, 10_000.0]
