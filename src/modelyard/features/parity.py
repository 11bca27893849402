"""Training/serving parity: features as they were served beside the same features joined offline, point in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from modelyard.config.policies import Policy
from modelyard.core.value import Value
from modelyard.release.encode import category

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


class ParityPolicy(Policy):
    """How often, on how much, and how strictly served features are compared (``policies/parity.yaml``).

    Two numbers agree if ``|served - offline| <= absolute + relative * |offline|``, both infinite or both finite;
    two categories if their texts are equal.
    """

    every_hours: float = Field(gt=0)
    window_hours: float = Field(gt=0)
    sample: int = Field(gt=0)
    min_rows: int = Field(gt=0)
    relative: float = Field(ge=0, lt=1)
    absolute: float = Field(ge=0, allow_inf_nan=False)
    max_differing: float = Field(ge=0, lt=1)
    max_not_served: float = Field(ge=0, lt=1)


class FeatureParity(Value):
    """One feature over the compared rows.

    ``differing``: both sides have a value and they do not agree, or only the served side has one (it was served past
    its time to live, or from nowhere). ``not_served``: only the offline side has one. ``both_missing``: neither has.
    ``example`` is the first difference, for a person. ``absent`` names the side that has no such feature at all, which
    is no way of being alike; then nothing was counted.
    """

    name: str
    n: int = Field(ge=0)
    differing: int = Field(default=0, ge=0)
    not_served: int = Field(default=0, ge=0)
    both_missing: int = Field(default=0, ge=0)
    example: str = ""
    absent: Literal["", "served", "offline", "served and offline"] = ""

    @property
    def known(self) -> int:
        """Rows in which either side has a value: what is missing on both says nothing of whether they agree."""
        return 0 if self.absent else self.n - self.both_missing


def absent(name: str, served: pd.DataFrame, offline: pd.DataFrame) -> FeatureParity:
    """A feature that one of the frames, or both, does not have."""
    sides = [side for side, frame in (("served", served), ("offline", offline)) if name not in frame]
    return FeatureParity.model_validate({"name": name, "n": len(served), "absent": " and ".join(sides)})


def compare(
    served: pd.DataFrame,
    offline: pd.DataFrame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    policy: ParityPolicy,
) -> tuple[FeatureParity, ...]:
    """Compare row by row; both frames have the same rows in the same order, and all of the features.

    Raises:
        ValueError: the frames differ in length.
    """
    if len(served) != len(offline):
        raise ValueError(f"{len(served)} served rows cannot be compared with {len(offline)} offline rows")
    served, offline = served.reset_index(drop=True), offline.reset_index(drop=True)
    numbers = [_compared(served[n], offline[n], n, _numbers_agree(served[n], offline[n], policy)) for n in numeric]
    texts = [_compared(served[n], offline[n], n, _texts_agree(served[n], offline[n])) for n in categorical]
    return (*numbers, *texts)


def _numbers_agree(served: pd.Series, offline: pd.Series, policy: ParityPolicy) -> Mask:
    # The gateway's precision: 32 bits.
    with np.errstate(over="ignore"):
        a = served.to_numpy(dtype=np.float32, na_value=np.nan).astype(np.float64)
        b = offline.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32).astype(np.float64)
    return np.isclose(a, b, rtol=policy.relative, atol=policy.absolute)


def _texts_agree(served: pd.Series, offline: pd.Series) -> Mask:
    pairs = zip(served, offline, strict=True)
    return np.fromiter((category(a) == category(b) for a, b in pairs), dtype=bool, count=len(served))


def _compared(served: pd.Series, offline: pd.Series, name: str, agree: Mask) -> FeatureParity:
    gone, never = served.isna().to_numpy(dtype=bool), offline.isna().to_numpy(dtype=bool)
    differing = ~gone & (never | ~agree)
    not_served = gone & ~never
    example = ""
    if places := np.flatnonzero(differing | not_served).tolist():
        example = f"served {_shown(served[places[0]])}, offline {_shown(offline[places[0]])}"
    return FeatureParity(
        name=name,
        n=len(served),
        differing=int(differing.sum()),
        not_served=int(not_served.sum()),
        both_missing=int((gone & never).sum()),
        example=example,
    )


def _shown(value: object) -> str:
    if value is None or value != value:
        return "nothing"
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
