"""What a manifest names besides the model itself: who answers for it, and under which rules it is to be judged."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.config.policies import Policy, load_policy
from modelyard.config.project import Project
from modelyard.config.settings import Settings
from modelyard.core.digest import digest_json
from modelyard.core.errors import ConfigError, NotFound
from modelyard.drift.policy import DriftPolicy
from modelyard.features.parity import ParityPolicy
from modelyard.gates.policy import GatePolicy
from modelyard.governance.policy import GovernancePolicy
from modelyard.rollout.policy import RolloutPolicy

POLICIES: dict[str, type[Policy]] = {
    "drift": DriftPolicy,
    "gates": GatePolicy,
    "governance": GovernancePolicy,
    "parity": ParityPolicy,
    "rollout": RolloutPolicy,
}
NO_IMAGE = "none"
UNREADABLE = "unreadable"


def surrounding_parts(settings: Settings, project: Project, parts: Mapping[str, str]) -> dict[str, str]:
    """The manifest's parts on owners, rules, rollout plan and place, as they are now.

    A policy that cannot be read is named as such: training does not need it, and whoever does will say what is wrong.

    Args:
        parts: those of the candidate; the training frame and the window of evaluation name the evaluation set.
    """
    read = {name: _policy(cls, name, settings, project.name) for name, cls in POLICIES.items()}
    digests = {f"policy_{name}": UNREADABLE if policy is None else policy.digest for name, policy in read.items()}
    configuration = {"model": project.spec.model_dump(mode="json"), "params": parts["params"], "policies": digests}
    plan = read["rollout"]
    return {
        "release_owner": project.spec.owner,
        "rollback_owner": project.spec.rollback_owner or project.spec.owner,
        "container_image": settings.container_image or NO_IMAGE,
        "profile": settings.profile,
        "configuration": digest_json(configuration | {"profile": settings.profile}),
        "evaluation_set": digest_json([parts["training_frame"], parts["evaluation_window"]]),
        **digests,
        "rollout_plan": _plan(plan) if isinstance(plan, RolloutPolicy) else UNREADABLE,
    }


def _plan(policy: RolloutPolicy) -> str:
    stages = " > ".join(f"{stage.weight:g}%" for stage in policy.stages)
    return f"{policy.strategy} {stages}".strip()


def _policy(cls: type[Policy], name: str, settings: Settings, model: str) -> Policy | None:
    try:
        return load_policy(cls, name, settings, model)
    except (ConfigError, NotFound):
        return None
