"""Which features matter to the champion: weights by permutation importance (Breiman 2001, "Random Forests", 10).

``importance`` of a feature is the rise in logloss on the evaluation's rows when its values are shuffled among them. A
feature that shares what it knows with others looks less important than it is: the weight is for a look, never for what
pages. A feature whose importance was not measured (the score; a version evaluated before this was) has weight 1.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.core.verdict import Measurement

IMPORTANCE = "importance"


def note(measured: Iterable[Measurement], least: float) -> str:
    """What the weights did, for the reason of a verdict that used them."""
    known = weights(measured)
    light = sorted(name.removeprefix("feature=") for name, weight in known.items() if weight < least)
    if not known:
        return "importance was not measured: each feature weighs 1"
    return f"of little importance and left out: {', '.join(light)}" if light else "every feature matters"


def weights(measured: Iterable[Measurement]) -> dict[str, float]:
    """Importance as a share of the largest, from 0 to 1, by slice name (``feature=...``); {} if none is positive.

    >>> weights([Measurement(name="importance", value=v, slice=f"feature={f}") for f, v in (("a", 0.2), ("b", -0.1))])
    {'feature=a': 1.0, 'feature=b': 0.0}
    """
    known = {m.slice: m.value for m in measured if m.name == IMPORTANCE and m.value is not None}
    most = max(known.values(), default=0.0)
    return {name: max(value, 0.0) / most for name, value in known.items()} if most > 0 else {}
