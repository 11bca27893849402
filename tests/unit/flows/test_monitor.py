"""Which features the drift check holds to a joint threshold: those whose drift it would tell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from modelyard.core.verdict import Measurement
from modelyard.drift.edges import fit_profile
from modelyard.drift.policy import DriftPolicy
from modelyard.flows.monitor import _looked_at


def test_features_that_are_ignored_or_hardly_matter_cost_the_others_nothing() -> None:
    names = ["temp", "gust", "dewp", "score"]
    rows = pd.DataFrame({n: np.random.default_rng(0).normal(size=100) for n in names})
    profile, policy = fit_profile(rows, numeric=names), DriftPolicy.model_validate({"inputs": {"ignore": ["gust"]}})
    known = [("temp", 0.1), ("gust", 0.1), ("dewp", 0.0001)]
    importance = tuple(Measurement(name="importance", value=v, slice=f"feature={f}") for f, v in known)
    assert _looked_at(profile, importance, policy) == ["temp", "score"]
    assert _looked_at(profile, (), policy) == ["temp", "dewp", "score"]
