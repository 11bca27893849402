"""What is wrong with one model is that model's failure, in plain sight; the others' DAGs are what they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .conftest import ROOT, Airflow
from .test_structure import PROGRAM, models

SOUND = "flight_delay"  # policies name it
LOOPS = frozenset({"features", "monitor", "retrain", "rollout", "way_back"})
READ_MODEL_YAML = LOOPS - {"rollout", "way_back"}
RUN = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException
(task,) = DagBag(sys.argv[1]).dags[sys.argv[2]].tasks
try:
    task.python_callable()
    said = None
except AirflowFailException as error:
    said = str(error)
print(json.dumps(said))
"""


class Way(NamedTuple):
    """A way to be broken: a line added to a file, which loops it breaks, words of the message."""

    file: str
    line: str
    loops: frozenset[str]
    words: str


WAYS = {
    "guard": Way("policies/rollout.yaml", "look_evry_seconds: 3", frozenset({"rollout"}), "look_evry_seconds"),
    "quorum": Way("policies/governance.yaml", "quorum: 1", frozenset({"retrain"}), "quorum = 1"),
    "text": Way("policies/rollout.yaml", "", frozenset({"rollout"}), "models.text = 'slowly'"),
    "spec": Way("projects/spec/model.yaml", "\ncolour: red\n", READ_MODEL_YAML, "colour = 'colour'"),
    "yaml": Way("projects/yaml/model.yaml", "\n{", READ_MODEL_YAML, "valid YAML"),
    "times": Way("dags/schedules.yaml", "features: every hour", frozenset({"features"}), "features = 'every hour'"),
    "never": Way("dags/schedules.yaml", "monitor: 0s", frozenset({"monitor"}), "models.never.monitor = '0s'"),
    "drill": Way("dags/schedules.yaml", "drill: at times", frozenset({"way_back"}), "accepted (accepted: off, a cron"),
    "typo": Way("dags/schedules.yaml", "feature: 5m", LOOPS, "models.typo.feature = '5m'"),
    "patience": Way("dags/schedules.yaml", "retry_delay: soon", LOOPS, "models.patience.retry_delay = 'soon'"),
}
BAD_NAME = "My model"
OTHERS = (SOUND, *WAYS)


class Site:
    """Policies, schedules and models that a test may spoil."""

    def __init__(self, airflow: Airflow, root: Path) -> None:
        self.root = root
        for name in ("policies", "dags"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        projects = models(root / "projects", *OTHERS, BAD_NAME)
        self.airflow = airflow.given(MODELYARD_ROOT=str(root), MODELYARD_PROJECTS=projects)

    def add(self, file: str, text: str) -> None:
        """Add to the end of a file."""
        with (self.root / file).open("a") as out:
            out.write(text)

    def add_line(self, file: str, model: str, content: str) -> None:
        """Add a model's own section to a file."""
        text = (self.root / file).read_text()
        if "\nmodels:\n" not in text:
            text += "\nmodels:\n"
        (self.root / file).write_text(text.replace("\nmodels:\n", f"\nmodels:\n  {model}: {content}\n"))

    def bag(self, **env: str) -> dict[str, Any]:
        """What Airflow finds in the DAG files."""
        found: dict[str, Any] = self.airflow.given(**env).run(PROGRAM, str(ROOT / "dags"))
        return found

    def parse(self, dag: str, task: str) -> dict[str, Any]:
        """What it finds when this task is about to run."""
        return self.bag(_AIRFLOW_PARSING_CONTEXT_DAG_ID=dag, _AIRFLOW_PARSING_CONTEXT_TASK_ID=task)


@pytest.fixture(scope="module")
def site(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Every model but one is broken, each in its way."""
    made = Site(airflow, tmp_path_factory.mktemp("site"))
    for name, way in WAYS.items():
        if way.file.startswith("projects"):
            made.add(way.file, way.line)
        else:
            made.add_line(way.file, name, f"{{{way.line}}}" if way.line else "slowly")
    return made


@pytest.fixture(scope="module")
def bag(site: Site) -> dict[str, Any]:
    return site.bag()


def broken(bag: dict[str, Any], model: str) -> set[str]:
    """The loops whose DAG says that the model is misconfigured; such a DAG has one task, and starts by itself only
    where the governor asks for what it cannot do."""
    found = set()
    for loop in LOOPS:
        dag = bag["dags"][f"{model}__{loop}"]
        if "misconfigured" in dag["tags"]:
            found.add(loop)
            timetable = "AssetTriggeredTimetable" if loop == "retrain" else "NullTimetable"
            assert (list(dag["tasks"]), dag["schedule"]) == (["misconfigured"], timetable)
            assert (dag["tasks"]["misconfigured"]["retries"], dag["paused"], dag["doc"]) == (0, False, True)
    return found


def test_a_sound_model_is_untouched_by_all_the_others(bag: dict[str, Any]) -> None:
    assert bag["errors"] == []
    assert broken(bag, SOUND) == set()
    assert bag["dags"][f"{SOUND}__retrain"]["schedule"] == "AssetOrTimeSchedule"


@pytest.mark.parametrize("name", WAYS)
def test_a_broken_model_shows_it_in_the_dags_that_are_made_from_it(bag: dict[str, Any], name: str) -> None:
    assert broken(bag, name) == WAYS[name].loops
    for loop in WAYS[name].loops:
        about = bag["dags"][f"{name}__{loop}"]["about"]
        assert WAYS[name].words in about
        assert "accepted: " in about
        assert str(Path(WAYS[name].file).name) in about


def test_a_folder_whose_name_no_model_may_have_breaks_only_itself(bag: dict[str, Any]) -> None:
    assert broken(bag, "My-model") == LOOPS
    assert "folder = 'My model'" in bag["dags"]["My-model__rollout"]["about"]


def test_its_task_fails_with_the_message(site: Site, bag: dict[str, Any]) -> None:
    said = site.airflow.run(RUN, str(ROOT / "dags"), "guard__rollout")
    assert "look_evry_seconds" in said
    assert said in bag["dags"]["guard__rollout"]["about"]


def test_run_by_name_a_broken_model_is_alone(site: Site) -> None:
    found = site.parse("guard__rollout", "misconfigured")
    assert (list(found["dags"]), found["errors"]) == (["guard__rollout"], [])
    assert found["dags"]["guard__rollout"]["tags"] == ["guard", "misconfigured", "modelyard"]


def test_a_task_of_before_says_why_it_cannot_run(site: Site) -> None:
    found = site.parse("guard__rollout", "stage_1")
    assert found["dags"] == {}
    assert [error for error in found["errors"] if "look_evry_seconds" in error]


def test_a_sound_model_runs_by_name_beside_broken_ones(site: Site) -> None:
    found = site.parse(f"{SOUND}__rollout", "stage_1")
    assert (list(found["dags"]), found["errors"]) == ([f"{SOUND}__rollout"], [])
    assert "stage_1" in found["dags"][f"{SOUND}__rollout"]["tasks"]


@pytest.mark.parametrize(
    ("file", "text", "loops", "words"),
    [
        ("policies/rollout.yaml", "\n{", {"rollout"}, "valid YAML"),
        ("policies/rollout.yaml", "\n  nobody: {}\n", {"rollout"}, "models.nobody = 'nobody'"),
        ("dags/schedules.yaml", "\nmodel: {}\n", LOOPS, "model = 'model'"),
    ],
)
def test_what_is_wrong_for_all_is_the_import_error_of_the_files_that_need_it(
    airflow: Airflow, tmp_path: Path, file: str, text: str, loops: frozenset[str], words: str
) -> None:
    site = Site(airflow, tmp_path)
    site.add(file, text)
    bag = site.bag()
    assert len(bag["errors"]) == len(loops)
    assert all(words in error and Path(file).name in error for error in bag["errors"])
    assert {name for name in bag["dags"] if name.startswith(SOUND)} == {f"{SOUND}__{loop}" for loop in LOOPS - loops}
