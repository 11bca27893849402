"""MLflow's aliases as projections of the ledger: written after the fact, never read as truth."""

from __future__ import annotations

from modelyard.ports.platform import Platform

STATE_TAG = "modelyard.state"


def project_state(platform: Platform, release: str) -> None:
    """Tag a release's version with the state that the ledger knows, ``quarantined`` above all. Idempotent."""
    releases = platform.ledger.releases
    body = releases.get(release)
    platform.tracking.tag_version(body.model, body.version, {STATE_TAG: releases.state(release)})


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
