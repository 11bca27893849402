"""What surrounds a release: its records and code, the people, the packages, a process and a gateway of its own.

The counterpart of ``evaluation.release``, which needs the bundle and the rows alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError, NotFound
from modelyard.core.records import Release
from modelyard.core.verdict import Measurement
from modelyard.evaluation.gateway import measure_gateway
from modelyard.evaluation.supply import installed_licences, measure_advisories, measure_licences
from modelyard.flows.releases import verify
from modelyard.governance.policy import GovernancePolicy, identity
from modelyard.ports.fleet import Arm
from modelyard.ports.platform import Platform
from modelyard.release.encode import category
from modelyard.release.provenance import UNKNOWN_COMMIT, environment, source_digest
from modelyard.release.score import BundleModel

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.config.project import Project
    from modelyard.release.bundle import Bundle

ASKED_ROWS = 200
"""The newest evaluation rows, asked of the gateway one by one."""


def measure_surroundings(
    platform: Platform, project: Project, rows: pd.DataFrame, ours: Bundle, champion: str | None
) -> Iterator[Measurement]:
    """All of it. ``rows`` are evaluation rows, ``champion`` the digest of the release that is compared with."""
    release = ours.release
    yield from measure_code(project, release)
    yield from measure_standing(platform, release, champion)
    yield from measure_supply(platform, release)
    yield from measure_running(platform, rows.iloc[-ASKED_ROWS:], ours)


def measure_code(project: Project, release: Release) -> Iterator[Measurement]:
    """``unnamed_commit``; and ``code_changes``: evidence made by other code is about something else."""
    unnamed = release.code_commit == UNKNOWN_COMMIT or release.code_commit.endswith("-dirty")
    about: dict[str, Any] = {"subject": release.digest}
    yield Measurement(name="unnamed_commit", value=float(unnamed), evidence=release.code_commit, **about)
    present = {"platform_code": source_digest(), "project_code": project.code_digest}
    if missing := [name for name in present if name not in release.parts]:
        why = f"the manifest does not name {', '.join(missing)}"
        yield Measurement(name="code_changes", value=None, why=why, **about)
        return
    changed = [name for name, digest in present.items() if release.parts[name] != digest]
    yield Measurement(name="code_changes", value=len(changed), n=len(present), evidence=", ".join(changed), **about)


def measure_standing(platform: Platform, release: Release, champion: str | None) -> Iterator[Measurement]:
    """What the records say of its rows, its files, the way back, and the people who could approve it."""
    about: dict[str, Any] = {"subject": release.digest}
    yield _snapshot(platform, release)
    faults = verify(platform, release.digest).faults
    yield Measurement(name="bundle_faults", value=len(faults), evidence="; ".join(faults), **about)
    if champion is not None:
        faults = verify(platform, champion).faults
        told = "; ".join(faults)
        yield Measurement(name="way_back_faults", value=len(faults), evidence=told, variant=champion, **about)
    yield _approvers(platform, release)


def measure_supply(platform: Platform, release: Release) -> Iterator[Measurement]:
    """Licences and advisories of what is installed here, which is what the release was made and will be judged with."""
    yield from measure_licences(installed_licences(), release.digest)
    yield measure_advisories(environment().splitlines(), platform.settings.advisories_url, release.digest)


def measure_running(platform: Platform, rows: pd.DataFrame, ours: Bundle) -> Iterator[Measurement]:
    """A gateway's answers to these rows beside the scorer's, its speed, and the memory that it takes."""
    model, release = BundleModel(ours), ours.release
    columns = {i.name: rows[i.name] for i in model.signature.inputs}
    bundle = platform.ledger.releases.bundle(release.digest)
    arm = Arm(release=release.digest, version=release.version, bundle=bundle)
    expected = model.score(columns, units="serving")
    yield from measure_gateway(arm, release.model, _requests(model, rows), expected, _shared(platform.settings))


def _approvers(platform: Platform, release: Release) -> Measurement:
    about: dict[str, Any] = {"name": "spare_approvers", "subject": release.digest}
    try:
        policy = load_policy(GovernancePolicy, "governance", platform.settings, release.model)
    except ConfigError as error:
        return Measurement(value=None, why=f"who may approve cannot be read: {error}", **about)
    people = {identity(name) for name in policy.people} - {identity(release.author)}
    return Measurement(value=len(people) - policy.quorum, n=len(people), **about)


def _shared(settings: Settings) -> dict[str, str]:
    """What that gateway has in common with the platform's: whose signatures count, and the models' folders."""
    own = {
        "TRUSTED_KEYS_FILE": str(settings.trusted_keys_file),
        "PROFILE": settings.profile,
        "PROJECTS": os.pathsep.join(map(str, settings.projects)),
        "PARAMS": str(settings.params),
    }
    return {f"MODELYARD_{name}": value for name, value in own.items()}


def _snapshot(platform: Platform, release: Release) -> Measurement:
    about: dict[str, Any] = {"name": "unvalidated_snapshot", "subject": release.digest}
    try:
        state = platform.ledger.snapshots.state(release.snapshot)
    except NotFound:
        return Measurement(value=None, why=f"snapshot {release.snapshot} is not on record", **about)
    return Measurement(value=float(state != "valid"), evidence=state, **about)


def _requests(model: BundleModel, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as a client would send them, with every value in it: the online store is not asked."""
    inputs = model.signature.inputs
    return [
        {model.signature.key: f"gate-{number}"} | {i.name: _plain(row[i.name], i.kind) for i in inputs}
        for number, row in enumerate(rows[[i.name for i in inputs]].to_dict("records"))
    ]


def _plain(value: Any, kind: str) -> str | float | None:
    if kind == "categorical":
        return category(value) or None
    return None if value is None or math.isnan(value) else float(value)
