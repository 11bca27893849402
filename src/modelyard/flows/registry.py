"""Brings MLflow's registry in line with the ledger: aliases and tags are projections, written after the fact."""

from __future__ import annotations

from modelyard.flows.projections import STATE_TAG, project_aliases
from modelyard.ports.platform import Platform

ALIASES = ("champion", "previous", "challenger")
UNRELEASED = "unreleased"


def reconcile(platform: Platform, model: str) -> tuple[str, ...]:
    """Make aliases and version tags say what the ledger says; returns what had to be changed. Idempotent.

    A version without a release (its training was cut off, or somebody registered it by hand) is tagged ``unreleased``
    and left alone: the gateway follows the ledger and can never serve it.
    """
    before = platform.tracking.aliases(model)
    after = project_aliases(platform, model)
    changed = [
        f"alias {alias}: {before.get(alias, 'none')} -> {after.get(alias, 'none')}"
        for alias in ALIASES
        if before.get(alias) != after.get(alias)
    ]
    wanted = _tags(platform, model)
    for version, found in sorted(platform.tracking.versions(model).items()):
        tags = wanted.get(version, {STATE_TAG: UNRELEASED})
        wrong = {key: value for key, value in tags.items() if found.get(key) != value}
        if wrong:
            platform.tracking.tag_version(model, version, wrong)
            changed += [f"version {version}: {key} = {value}" for key, value in sorted(wrong.items())]
    return tuple(changed)


def _tags(platform: Platform, model: str) -> dict[int, dict[str, str]]:
    return {
        release.version: {
            STATE_TAG: state,
            "modelyard.release": release.digest,
            "modelyard.semver": release.semver,
        }
        for release, state in platform.ledger.releases.history(model)
    }
