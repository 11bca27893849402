"""Scores of drift from two profiles alone; neither the reference nor the window is read again.

A score is an effect size, not a test: how far apart two sets of rows are, not whether that is more than chance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelyard.core.errors import Conflict
from modelyard.core.profile import FeatureProfile, Profile
from modelyard.core.value import Digest
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window

_PSEUDO = 0.5


def psi(reference: FeatureProfile, current: FeatureProfile) -> float | None:
    """Population stability index: ``sum((q - p) * ln(q / p))`` over the bins; None without rows on either side.

    The symmetric Kullback-Leibler divergence (Jeffreys 1946), as used in credit scoring (Siddiqi 2006, "Credit Risk
    Scorecards"). Half a row is added to every bin that either side has used (Krichevsky-Trofimov), so that an empty
    bin costs a bounded amount and not an arbitrary epsilon's logarithm; bins empty on both sides are left out.
    """
    p, q = _counts(reference, current)
    if not p.sum() or not q.sum():
        return None
    used = (p + q) > 0
    p, q = p[used] + _PSEUDO, q[used] + _PSEUDO
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: FeatureProfile, current: FeatureProfile) -> float | None:
    """Jensen-Shannon distance to base 2, from 0 (equal) to 1 (nothing in common); None without rows on either side.

    The square root of the divergence (Lin 1991, IEEE Transactions on Information Theory 37; a metric after Endres and
    Schindelin 2003); equals ``scipy.spatial.distance.jensenshannon(p, q, base=2)`` on the bins' shares.
    """
    p, q = _counts(reference, current)
    if not p.sum() or not q.sum():
        return None
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def unseen_rate(current: FeatureProfile) -> float | None:
    """The share of rows whose category the reference never had; None where that cannot be told."""
    if current.bins.kind == "numeric" or not current.bins.complete:
        return None
    return current.rate("unseen")


def score(
    reference: Profile, current: Profile, *, window: Window | None = None, subject: Digest | None = None
) -> tuple[Measurement, ...]:
    """All scores of all features: ``psi``, ``jensen_shannon``, ``missing_rise``, ``invalid_rate``, ``unseen_rate``.

    ``missing_rise`` is the missing rate minus the reference's. The feature is named by ``slice="feature=..."``.

    Raises:
        Conflict: the profiles were counted in different bins.
    """
    if reference.bins_digest != current.bins_digest:
        raise Conflict("the window was counted in bins of another profile; count it in those of the reference")
    found: list[Measurement] = []
    for name in reference.names:
        for kind, value in _values(reference.feature(name), current.feature(name)).items():
            why = "" if value is not None else "no rows to compare"
            found.append(
                Measurement(
                    name=kind,
                    value=value,
                    why=why,
                    n=current.n,
                    slice=f"feature={name}",
                    window=window,
                    subject=subject,
                )
            )
    return tuple(found)


def _values(reference: FeatureProfile, current: FeatureProfile) -> dict[str, float | None]:
    now, before = current.rate("missing"), reference.rate("missing")
    values = {
        "psi": psi(reference, current),
        "jensen_shannon": jensen_shannon(reference, current),
        "missing_rise": None if now is None or before is None else now - before,
    }
    if reference.bins.kind == "numeric":
        return values | {"invalid_rate": current.rate("invalid")}
    return values | ({"unseen_rate": unseen_rate(current)} if reference.bins.complete else {})


def _counts(a: FeatureProfile, b: FeatureProfile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if a.bins != b.bins:
        raise Conflict(f"{a.name} and {b.name} were counted in different bins")
    return np.asarray(a.counts, dtype=np.float64), np.asarray(b.counts, dtype=np.float64)


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    used = p > 0
    return float((p[used] * np.log2(p[used] / q[used])).sum())
