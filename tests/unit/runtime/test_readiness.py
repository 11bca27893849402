"""Models that do not load and releases that nobody may approve are said, with the file and the key to edit."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from modelyard.cli import app, services
from modelyard.config.settings import Settings
from modelyard.runtime.commands import Running
from modelyard.runtime.doctor import examine
from modelyard.runtime.environment import env_file
from modelyard.runtime.readiness import Finding, approvers, projects
from modelyard.runtime.secrets import AIRFLOW_USERS

ROOT = Path(__file__).parents[3]
MODEL = """
name: churn
description: d
owner: o
source: {loader: "source:read", event_time: at, known_at: known, key: id}
label: {column: left, depends_on_answer: false}
features: {age: {kind: numeric, from: request}}
"""


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """A root with the repository's policy and one model that loads."""
    root = tmp_path / "root"
    (root / "policies").mkdir(parents=True)
    places = {"ROOT": root, "HOME": root / "home", "POLICIES": root / "policies", "PROJECTS": root / "projects"}
    settings = Settings.from_env({f"MODELYARD_{key}": str(path) for key, path in places.items()})
    policy = yaml.safe_load((ROOT / "policies" / "governance.yaml").read_text())
    (settings.policies / "governance.yaml").write_text(yaml.safe_dump({**policy, "models": {}}))
    folder = settings.root / "projects" / "churn"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(MODEL)
    (folder / "params.yaml").write_text("churn: {}\n")
    (folder / "source.py").write_text("def read(window):\n    return None\n")
    return settings


def name_people(settings: Settings, *people: str) -> None:
    path = settings.policies / "governance.yaml"
    policy = yaml.safe_load(path.read_text())
    policy["default"]["roles"]["risk_owner"] = list(people)
    path.write_text(yaml.safe_dump(policy))


def only(found: list[Finding]) -> Finding:
    (one,) = found
    return one


def test_a_policy_that_names_nobody_is_said_with_the_edit_that_mends_it(own: Settings) -> None:
    found = only(list(approvers(own, started=True)))
    assert not found.ok
    assert "roles.risk_owner names nobody, so nothing of high risk can be approved (models: churn)" in found.detail
    assert str(own.policies / "governance.yaml") in found.mend
    assert "default.roles" in found.mend
    for user in AIRFLOW_USERS:
        assert user in found.mend
    before = only(list(approvers(own, started=False)))
    assert (before.ok, before.mend) == (True, found.mend), "advice, while the demo may yet bring its own people"


def test_the_edit_mends_it(own: Settings) -> None:
    name_people(own, "demo-approver-1", "Demo-Approver-2")
    found = only(list(approvers(own, started=True)))
    assert (found.ok, found.mend) == (True, "")


def test_the_demo_brings_its_own_people(own: Settings) -> None:
    assert only(list(approvers(own.model_copy(update={"profile": "demo"}), started=True))).mend == ""


def test_people_whom_airflow_does_not_know_are_named(own: Settings) -> None:
    name_people(own, "ann", "demo-approver-1")
    found = only(list(approvers(own, started=True)))
    assert not found.ok
    assert "does not know ann" in found.detail
    assert only(list(approvers(own, started=False))).mend == "", "another Airflow may know her"


def test_a_policy_that_cannot_be_read_is_a_finding(own: Settings) -> None:
    name_people(own, "ann")
    found = only(list(approvers(own, started=True)))
    assert not found.ok
    assert "can never be reached" in found.detail


def test_a_model_that_loads_is_well(own: Settings) -> None:
    assert only(list(projects(own))) == Finding("project churn", True, "loads")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("model.yaml", MODEL + "nmae: x\n", "nmae"),
        ("model.yaml", MODEL.replace("churn", "other"), "the folder's name"),
        ("model.yaml", "{", "model.yaml"),
        ("params.yaml", "{}", "a section for this model"),
        ("source.py", "def read(:\n", "invalid syntax"),
        ("source.py", None, "there is no"),
    ],
)
def test_a_model_that_does_not_load_is_said_with_its_reason(
    own: Settings, file: str, text: str | None, said: str
) -> None:
    path = own.root / "projects" / "churn" / file
    path.unlink() if text is None else path.write_text(text)
    found = only(list(projects(own)))
    assert (found.check, found.ok) == ("project churn", False)
    assert said in found.detail
    assert str(path.parent) in found.mend


def test_folders_of_projects_that_do_not_exist_or_clash_are_said(own: Settings, tmp_path: Path) -> None:
    absent = own.model_copy(update={"projects": (tmp_path / "absent", *own.projects)})
    assert "does not exist" in next(projects(absent)).detail
    shutil.copytree(own.projects[0], tmp_path / "more")
    twice = own.model_copy(update={"projects": (tmp_path / "more", *own.projects)})
    assert "one folder per model" in only(list(projects(twice))).detail
    empty = own.model_copy(update={"projects": (tmp_path,)})
    assert "modelyard init" in only(list(projects(empty))).mend


def test_the_doctor_says_both(own: Settings) -> None:
    (own.root / "projects" / "churn" / "source.py").unlink()
    found = {one.check: one for one in examine(own)}
    assert not found["project churn"].ok
    assert found["approvers"].ok
    own.home.mkdir()
    env_file(own.home).write_text("")
    assert not {one.check: one for one in examine(own)}["approvers"].ok


def test_the_table_shows_the_edit_as_it_has_to_be_typed(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "settings", lambda: own)
    cells = " ".join(re.sub("[│┃]", " ", CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "400"}).output).split())
    shown = CliRunner().invoke(app, ["doctor", "--json"]).output
    assert "[demo-approver-1, demo-approver-2]" in shown
    assert "[demo-approver-1," in cells
    assert " note " in cells


def test_up_says_it_after_the_addresses(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running("http://a", "http://m", ("http://g",), {"admin": "pw"}, env_file(own.home))
    monkeypatch.setattr(services.commands, "up", lambda *_: running)
    monkeypatch.setattr(services, "settings", lambda: own)
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("Attention: ")]
    assert "nothing of high risk can be approved" in line
    assert "risk_owner: [demo-approver-1, demo-approver-2]" in line
    name_people(own, "demo-approver-1", "demo-approver-2")
    assert "Attention" not in CliRunner().invoke(app, ["up"]).output
