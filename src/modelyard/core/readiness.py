"""Who has to watch a release, as the gates' score chose; what gates write and governance reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from modelyard.core.verdict import Verdict

Supervision = Literal["at_once", "with_monitoring", "with_a_person", "blocked"]
"""Go out at once, be looked at during the rollout, be answered for by somebody, or not at all."""

SUPERVISION = "supervision"
"""The verdict that says it: its reason begins with the choice and a colon."""


def supervision(verdicts: Sequence[Verdict]) -> Supervision | None:
    """What the score chose; None where no score was made.

    Raises:
        ValueError: the verdict says something that is no choice.
    """
    found = next((v for v in verdicts if v.check == SUPERVISION), None)
    if found is None:
        return None
    said = found.reason.partition(":")[0]
    for choice in get_args(Supervision):
        if said == choice:
            return choice  # type: ignore[no-any-return]
    raise ValueError(f"{SUPERVISION} = {said!r} is not one of {', '.join(get_args(Supervision))}")
