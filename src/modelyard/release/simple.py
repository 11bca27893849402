"""What a release's metrics say of the simple models that were fitted beside its network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

NAMES = {"logistic": "logistic regression", "boosting": "gradient boosting"}


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple model beside the network, on the same held-out rows.

    ``difference`` is the network's logloss minus the simple model's, with its 95% interval (paired); ``low`` and
    ``high`` are None where there were too few rows for one.
    """

    name: str
    logloss: float
    difference: float
    low: float | None = None
    high: float | None = None

    @property
    def as_good(self) -> bool:
        """Whether the network is not shown to be better: only an interval below 0 shows it."""
        return self.high is None or self.high >= 0

    @property
    def words(self) -> str:
        """One sentence for people."""
        bounds = "no interval: too few rows" if self.low is None else f"95%: {self.low:+.4f} to {self.high:+.4f}"
        found = f"the network's logloss is {self.difference:+.4f} beside it ({bounds})"
        name = NAMES[self.name]
        return f"{name} is as good: {found}" if self.as_good else f"the network is better than {name}: {found}"

    def metrics(self) -> dict[str, float]:
        """As a release keeps it."""
        found = {"logloss": self.logloss, "difference": self.difference, "low": self.low, "high": self.high}
        return {f"{self.name}_{what}": value for what, value in found.items() if value is not None}


def simple_models(metrics: Mapping[str, float]) -> Iterator[Simple]:
    """The simple models that a release's metrics tell of; none of a release from before they were fitted."""
    for name in NAMES:
        if f"{name}_logloss" in metrics:
            found = {what: metrics.get(f"{name}_{what}") for what in ("low", "high")}
            yield Simple(name, metrics[f"{name}_logloss"], metrics[f"{name}_difference"], **found)
