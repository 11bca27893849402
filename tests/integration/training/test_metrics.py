"""Our metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.evaluation.metrics import accuracy, auc, brier, logloss

RNG = np.random.default_rng(2)
P = np.round(RNG.random(2000), 2)  # rounded: many ties
LABEL = (RNG.random(2000) < P).astype(float)


def test_agreement_with_scikit_learn() -> None:
    from sklearn import metrics

    inside = np.clip(P, 1e-7, 1 - 1e-7)
    assert auc(LABEL, P) == pytest.approx(metrics.roc_auc_score(LABEL, P), abs=1e-12)
    assert logloss(LABEL, P) == pytest.approx(metrics.log_loss(LABEL, inside), abs=1e-9)
    assert brier(LABEL, P) == pytest.approx(metrics.brier_score_loss(LABEL, P), abs=1e-12)
    assert accuracy(LABEL, P) == metrics.accuracy_score(LABEL, P >= 0.5)
