"""How far rows that lie anywhere are from what the champion was trained on: counted there, scored here."""

from __future__ import annotations

from modelyard.core.errors import EvidenceMissing, NotFound
from modelyard.core.profile import Profile
from modelyard.core.value import Value
from modelyard.core.verdict import Measurement
from modelyard.drift.score import score
from modelyard.ports.platform import Platform
from modelyard.ports.profiler import Counted, Profiler, Rows
from modelyard.release.bundle import read_bundle


class Compared(Value):
    """What was counted, and its scores against the champion of this version."""

    version: int
    counted: Counted
    scores: tuple[Measurement, ...]


def compare(platform: Platform, model: str, rows: Rows, profiler: Profiler | None = None) -> Compared:
    """Count the rows where they lie and score them against the champion's reference profile; changes nothing.

    ``profiler`` is the engine that reaches the rows; by default the platform's own.

    Raises:
        NotFound: the model has no champion; or the rows are not where they are said to be.
        EvidenceMissing: there are no rows, or they have none of the reference's columns: nothing to compare.
    """
    champion = platform.ledger.releases.champion(model)
    if champion is None:
        raise NotFound("champion", model, hint="there is nothing to compare with yet.")
    bundle = read_bundle(platform.ledger.releases.bundle(champion.digest), champion.digest)
    reference = Profile.from_json(bundle.files["profile.json"])
    counted = (profiler or platform.profiler).count(reference, rows)
    if not counted.profile.n:
        raise EvidenceMissing("there are no rows to compare: no rows are no evidence, and never no drift")
    if len(counted.vanished) == len(reference.names):
        raise EvidenceMissing(f"the rows have none of the columns of the reference: {', '.join(reference.names)}")
    scores = score(reference, counted.profile, window=rows.window, subject=champion.digest)
    return Compared(version=champion.version, counted=counted, scores=scores)
