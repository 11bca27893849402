"""The DAG files as Airflow's own importer sees them: what they define, what they cost, what they must not import."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fixtures.platforms import MODEL_YAML

from .conftest import ROOT, Airflow

HEAVY = (
    "dvc", "evidently", "feast", "great_expectations", "matplotlib", "mlflow", "onnx", "onnxruntime", "pandas", "scipy",
    "sklearn", "torch", "duckdb", "modelyard.wiring", "modelyard.flows.train",
)  # fmt: skip
PROGRAM = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
dags = {}
for name, dag in bag.dags.items():
    dags[name] = {
        "schedule": type(dag.timetable).__name__, "detail": repr(dag.timetable), "params": list(dag.params),
        "catchup": dag.catchup, "max_active_runs": dag.max_active_runs, "paused": dag.is_paused_upon_creation,
        "doc": bool(dag.doc_md), "about": dag.description, "tags": sorted(dag.tags),
        "tasks": {
            t.task_id: {
                "down": sorted(t.downstream_task_ids), "retries": t.retries, "rule": t.trigger_rule.value,
                "doc": bool(t.doc_md or t.python_callable.__doc__ if hasattr(t, "python_callable") else t.__doc__),
                "outlets": [o.uri for o in t.outlets], "operator": type(t).__name__,
                "links": [link.name for link in t.operator_extra_links],
                "delay": t.retry_delay.total_seconds(),
            }
            for t in dag.tasks
        },
    }
heavy = [m for m in %r if m in sys.modules]
print(json.dumps({"errors": list(bag.import_errors.values()), "dags": dags, "heavy": heavy}))
""" % (HEAVY,)  # noqa: UP031  the program is full of braces


def models(folder: Path, *names: str) -> str:
    """A folder with these models."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.yaml").write_text(MODEL_YAML.format(name=name))
    return str(folder)


@pytest.fixture(scope="module")
def bag(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    projects = models(tmp_path_factory.mktemp("projects"), "flight_delay", "other")
    found: dict[str, Any] = airflow.given(MODELYARD_PROJECTS=projects).run(PROGRAM, str(ROOT / "dags"))
    return found


def tasks(bag: dict[str, Any], loop: str) -> dict[str, Any]:
    found: dict[str, Any] = bag["dags"][f"flight_delay__{loop}"]["tasks"]
    return found


def test_every_model_has_every_loop_and_nothing_heavy_was_imported(bag: dict[str, Any]) -> None:
    assert bag["errors"] == []
    loops = ("features", "monitor", "retrain", "rollout", "way_back")
    assert sorted(bag["dags"]) == sorted(f"{m}__{loop}" for m in ("flight_delay", "other") for loop in loops)
    assert bag["heavy"] == []


def test_runs_do_not_overlap_nor_make_up_for_the_past(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert (dag["catchup"], dag["max_active_runs"], dag["paused"]) == (False, 1, False)
        assert dag["doc"]
        assert "modelyard" in dag["tags"]


def test_every_task_is_retried_and_says_what_it_does(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        for name, task in dag["tasks"].items():
            assert task["retries"] >= 2, name
            assert task["doc"], name
            assert task["delay"] == 3, name


def test_the_monitor_alone_emits_the_drift_asset(bag: dict[str, Any]) -> None:
    emitting = {(d, t): task["outlets"] for d, dag in bag["dags"].items() for t, task in dag["tasks"].items()}
    assert {key: value for key, value in emitting.items() if value} == {
        (f"{m}__monitor", "ask_for_retraining"): [f"modelyard://{m}/drift"] for m in ("flight_delay", "other")
    }
    assert tasks(bag, "monitor")["check"]["down"] == ["ask_for_retraining", "draw_report"]


def test_retraining_goes_by_calendar_or_asset_or_by_hand(bag: dict[str, Any]) -> None:
    dag = bag["dags"]["flight_delay__retrain"]
    assert dag["schedule"] == "AssetOrTimeSchedule"
    assert "0 3 * * 1" in dag["detail"]
    assert "modelyard://flight_delay/drift" in dag["detail"]
    assert dag["params"] == ["as_of", "reason", "overrides"]


def test_retraining_runs_from_a_plan_to_a_rollout(bag: dict[str, Any]) -> None:
    found = tasks(bag, "retrain")
    line = ["plan", "snapshot", "validate", "train", "evaluate", "gate", "weigh_risk"]
    for task, after in pairwise(line):
        assert after in found[task]["down"]
    assert found["weigh_risk"]["down"] == ["approval_1", "approve_by_policy"]
    assert found["approval_1"]["down"] == ["approval_2", "conclude"]
    assert found["conclude"]["down"] == ["start_rollout"]
    assert found["conclude"]["rule"] == "none_failed_min_one_success"
    assert [t for t, task in found.items() if task["operator"] == "PersonApproval"] == ["approval_1", "approval_2"]


def test_pages_link_to_what_was_made(bag: dict[str, Any]) -> None:
    found = tasks(bag, "retrain")
    assert found["train"]["links"] == found["evaluate"]["links"] == ["MLflow run"]
    assert found["validate"]["links"] == ["Validation"]
    assert tasks(bag, "monitor")["draw_report"]["links"] == ["Drift report"]


def test_a_rollout_has_a_task_per_stage_of_its_policy_and_a_way_back(bag: dict[str, Any]) -> None:
    found = tasks(bag, "rollout")
    assert [name for name in found if name.startswith("stage_")] == [f"stage_{n}" for n in range(4)]
    assert found["stage_3"]["down"] == ["promote", "roll_back", "stand_down"]
    assert {found[name]["rule"] for name in ("stage_1", "promote", "roll_back")} == {"none_failed"}
    assert bag["dags"]["flight_delay__rollout"]["schedule"] == "NullTimetable"


def test_the_way_back_goes_by_hand_and_by_the_calendar_only_where_a_line_says_so(
    bag: dict[str, Any], airflow: Airflow, tmp_path: Path
) -> None:
    assert sorted(tasks(bag, "way_back")) == ["drill", "revert"]
    assert bag["dags"]["flight_delay__way_back"]["params"] == ["do", "why", "to"]
    assert bag["dags"]["flight_delay__way_back"]["schedule"] == "NullTimetable"
    lines = {"weekly": '"0 4 * * 1"', "often": "6h", "never": "off"}
    (tmp_path / "dags").mkdir()
    # No line of its own at all, as in a schedules.yaml from before there were drills, is off.
    text = "default: {retry_delay: 3s}\nmodels:\n" + "".join(f"  {m}: {{drill: {v}}}\n" for m, v in lines.items())
    (tmp_path / "dags" / "schedules.yaml").write_text(text)
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    here = airflow.given(
        MODELYARD_ROOT=str(tmp_path), MODELYARD_PROJECTS=models(tmp_path / "projects", "flight_delay", *lines)
    )
    found = here.run(PROGRAM, str(ROOT / "dags" / "way_back.py"))
    schedules = {name.removesuffix("__way_back"): dag["schedule"] for name, dag in found["dags"].items()}
    assert (found["errors"], schedules) == (
        [],
        {
            "weekly": "CronTriggerTimetable",
            "often": "DeltaTriggerTimetable",
            "never": "NullTimetable",
            "flight_delay": "NullTimetable",
        },
    )


def test_a_task_parses_its_own_dag_alone(airflow: Airflow, tmp_path: Path) -> None:
    projects = models(tmp_path, "flight_delay", *(f"model_{n}" for n in range(99)))
    one = airflow.given(MODELYARD_PROJECTS=projects, _AIRFLOW_PARSING_CONTEXT_DAG_ID="model_7__retrain")
    found = one.run(PROGRAM, str(ROOT / "dags"))
    assert list(found["dags"]) == ["model_7__retrain"]
    assert found["errors"] == []


def test_production_checks_by_the_hour(airflow: Airflow, tmp_path: Path) -> None:
    production = airflow.given(MODELYARD_PROJECTS=models(tmp_path, "flight_delay"), MODELYARD_PROFILE="production")
    dags = production.run(PROGRAM, str(ROOT / "dags"))["dags"]
    assert "0 * * * *" in dags["flight_delay__monitor"]["detail"]
    assert dags["flight_delay__features"]["schedule"] == "CronTriggerTimetable"
    assert dags["flight_delay__retrain"]["tasks"]["train"]["delay"] == 30
