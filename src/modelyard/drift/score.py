"""Scores of drift from two profiles alone; neither the reference nor the window is read again.

A score is an effect size, not a test: how far apart two sets of rows are, not whether that is more than chance. Each
distance is defined in ``drift.distances``.
"""

from __future__ import annotations

from typing import Any

from modelyard.core.errors import Conflict
from modelyard.core.profile import FeatureProfile, NumericBins, Profile
from modelyard.core.value import Digest
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.drift.distances import (
    chi_square,
    cramers_v,
    jensen_shannon,
    kolmogorov,
    psi,
    unseen_rate,
    wasserstein,
)

_EMPTY: dict[str, Any] = {"value": None}


def score(
    reference: Profile, current: Profile, *, window: Window | None = None, subject: Digest | None = None
) -> tuple[Measurement, ...]:
    """All scores of all features; the feature is named by ``slice="feature=..."``.

    Of every feature: ``psi``, ``jensen_shannon``, ``cramers_v``, ``chi_square`` and ``chi_square_p``, ``missing_rise``
    (the missing rate minus the reference's). Of a numeric one: ``invalid_rate``, ``wasserstein``, and ``ks``, whose
    ``low`` and ``high`` are bounds that hold always and no interval of confidence. Of a categorical one:
    ``unseen_rate``. Without rows on either side a score has no value, and says why.

    Raises:
        Conflict: the profiles were counted in different bins.
    """
    if reference.bins_digest != current.bins_digest:
        raise Conflict("the window was counted in bins of another profile; count it in those of the reference")
    found: list[Measurement] = []
    for name in reference.names:
        for kind, content in _values(reference.feature(name), current.feature(name)).items():
            given: dict[str, Any] = content if isinstance(content, dict) else {"value": content}
            why = "" if given["value"] is not None else "no rows to compare"
            found.append(
                Measurement(
                    name=kind, why=why, n=current.n, slice=f"feature={name}", window=window, subject=subject, **given
                )
            )
    return tuple(found)


def _values(reference: FeatureProfile, current: FeatureProfile) -> dict[str, float | dict[str, Any] | None]:
    now, before = current.rate("missing"), reference.rate("missing")
    test = chi_square(reference, current)
    values: dict[str, float | dict[str, Any] | None] = {
        "psi": psi(reference, current),
        "jensen_shannon": jensen_shannon(reference, current),
        "cramers_v": cramers_v(reference, current),
        "chi_square": test and test.statistic,
        "chi_square_p": test and test.p_value,
        "missing_rise": None if now is None or before is None else now - before,
    }
    if not isinstance(reference.bins, NumericBins):
        return values | ({"unseen_rate": unseen_rate(current)} if reference.bins.complete else {})
    bounds = kolmogorov(reference, current)
    ks = {"value": bounds.low, "low": bounds.low, "high": bounds.high} if bounds else _EMPTY
    return values | {
        "invalid_rate": current.rate("invalid"), "wasserstein": wasserstein(reference, current), "ks": ks,
    }  # fmt: skip
