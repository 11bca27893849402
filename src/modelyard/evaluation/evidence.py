"""What an evaluation found, as one value whose digest gates and approvals cite."""

from __future__ import annotations

from modelyard.core.value import Digest, ModelName, Moment, Value
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window


class Evidence(Value):
    """Measurements of a release (and of the champion on the same rows), and on exactly which rows they were made.

    ``window`` bounds the event time of the rows, which come from ``snapshot``; ``rows`` is the digest of their keys,
    labels and features.
    """

    model: ModelName
    release: Digest
    champion: Digest | None
    as_of: Moment
    snapshot: Digest
    window: Window
    rows: Digest
    measurements: tuple[Measurement, ...]
