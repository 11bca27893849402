"""What the doctor and ``up`` say of the configuration: models that do not load, releases that nobody may approve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelyard.config.policies import load_policy
from modelyard.config.project import Project, load_project, project_folders
from modelyard.config.settings import Settings
from modelyard.core.errors import ModelyardError
from modelyard.governance.policy import GovernancePolicy, identity
from modelyard.runtime.secrets import AIRFLOW_USERS


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's. ``mend`` says what to do; where ``ok`` is true it is advice, or empty."""

    check: str
    ok: bool
    detail: str
    mend: str = ""


def projects(settings: Settings) -> Iterator[Finding]:
    """Every folder of models that is named, and every model in them: does it load?"""
    for place in settings.projects:
        if not place.is_dir():
            mend = "Make the folder, or take it out of MODELYARD_PROJECTS."
            yield Finding("projects", False, f"{place} does not exist", mend)
    try:
        found = project_folders(settings)
    except ModelyardError as error:
        yield Finding("projects", False, str(error), "Give one of the two folders another name.")
        return
    if not found:
        places = ", ".join(map(str, settings.projects))
        yield Finding("projects", True, f"no model in {places}", "`modelyard init NAME` makes the first one.")
    for name in sorted(found):
        try:
            _check_code(load_project(name, settings))
        except (ModelyardError, OSError, SyntaxError) as error:
            detail = f"does not load: {error}"
            yield Finding(f"project {name}", False, detail, f"Mend it in {found[name]}; until then it has no runs.")
        else:
            yield Finding(f"project {name}", True, "loads")


def _check_code(project: Project) -> None:
    """The files that model.yaml refers to exist and are Python; nothing is run."""
    spec = project.spec
    for key, reference in (
        ("source.loader", spec.source.loader),
        ("feature_builder", spec.feature_builder),
        ("network", spec.network),
    ):
        module = reference.partition(":")[0]
        path = project.folder / f"{module}.py"
        if module and not path.is_file():
            raise FileNotFoundError(f"{key} names {reference}, and there is no {path}")
        if module:
            compile(path.read_bytes(), str(path), "exec")


def approvers(settings: Settings, *, started: bool) -> Iterator[Finding]:
    """Whether enough people may approve what is of high risk, as each first release is.

    Too few are a problem once the platform has been ``started``; before, the demo may yet bring its own people.
    """
    short: dict[str, list[str]] = {}
    # Where our own Airflow never ran there may be another, and whom that knows is not ours to say.
    users = AIRFLOW_USERS if started else None
    try:
        for name in sorted(project_folders(settings)) or [""]:
            policy = load_policy(GovernancePolicy, "governance", settings, name)
            if why := _too_few(policy, users):
                short.setdefault(why, []).append(name)
    except ModelyardError as error:
        yield Finding("approvers", False, str(error), "Mend the file: until then nothing can be approved.")
        return
    for why, models in short.items():
        who = f" (models: {', '.join(models)})" if models != [""] else ""
        yield Finding("approvers", not started, f"{why}{who}; a first release always is of high risk", _edit(settings))
    if not short:
        yield Finding("approvers", True, f"enough for profile {settings.profile}")


def _too_few(policy: GovernancePolicy, users: Mapping[str, str] | None) -> str:
    """Why nothing of high risk can be approved; empty when it can. Without ``users`` everybody counts as known."""
    known = {identity(user) for user in (policy.people if users is None else users)}
    able = [person for person in policy.people if identity(person) in known]
    if len(able) >= policy.quorum:
        return ""
    roles = " and ".join(f"roles.{role}" for role in policy.approvers)
    if not policy.people:
        return f"{roles} names nobody, so nothing of high risk can be approved"
    strangers = ", ".join(p for p in policy.people if p not in able)
    return f"{roles} needs {policy.quorum} people whom Airflow knows, and it does not know {strangers}"


def _edit(settings: Settings) -> str:
    return (
        f"In {settings.policies / 'governance.yaml'} write under default.roles, for example, `risk_owner: "
        f"[demo-approver-1, demo-approver-2]`. Airflow knows {', '.join(AIRFLOW_USERS)}; whoever starts a run may not "
        "approve what it makes."
    )
