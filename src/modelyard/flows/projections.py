"""MLflow's aliases as projections of the ledger: written after the fact, never read as truth."""

from __future__ import annotations

from modelyard.ports.platform import Platform


def project_aliases(platform: Platform, model: str) -> dict[str, int]:
    """Make ``champion``, ``previous`` and ``challenger`` say what the ledger says; returns them. Idempotent."""
    releases, rollouts = platform.ledger.releases, platform.ledger.rollouts
    wanted: dict[str, int] = {}
    for alias, release in (("champion", releases.champion(model)), ("previous", releases.previous(model))):
        if release is not None:
            wanted[alias] = release.version
    if (open_rollout := rollouts.current(model)) is not None:
        wanted["challenger"] = int(rollouts.get(open_rollout)[0]["challenger"]["version"])
    found = platform.tracking.aliases(model)
    for alias in ("champion", "previous", "challenger"):
        if alias in wanted and found.get(alias) != wanted[alias]:
            platform.tracking.set_alias(model, alias, wanted[alias])
        elif alias not in wanted and alias in found:
            platform.tracking.drop_alias(model, alias)
    return wanted
