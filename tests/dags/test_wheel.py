"""The wheel, installed beside an Airflow: nothing of the repository is on the path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from .conftest import PROGRAM as RUN
from .conftest import ROOT, Airflow

if TYPE_CHECKING:
    from sqlalchemy import Engine

LOADERS = (
    "modelyard_drift_monitor.py", "modelyard_features.py", "modelyard_retraining.py", "modelyard_rollout.py",
    "modelyard_way_back.py",
)  # fmt: skip
SOURCES = (
    "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE",
    "src", "dags", "plugins", "policies", "feature_repo",
)  # fmt: skip
WHERE = """
import json, modelyard, modelyard_airflow
from modelyard.adapters.online_writer import conninfo
from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.gates.policy import GatePolicy
from modelyard.governance.policy import GovernancePolicy
from modelyard_airflow import catalogue
here = Settings.from_env()
load_policy(GatePolicy, "gates", here, "churn")
quorum = load_policy(GovernancePolicy, "governance", here, "churn").quorum
print(json.dumps({
    "modelyard": modelyard.__file__, "airflow": modelyard_airflow.__file__, "policies": str(here.policies),
    "feature_repo": str(here.feature_repo), "schedules": str(catalogue.schedules()), "quorum": quorum,
    "online": conninfo(here.feature_repo), "delay": catalogue.retry_delay("churn").total_seconds(),
}))
"""
BAG = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
heavy = [m for m in ("mlflow", "feast", "torch", "pandas", "sklearn") if m in sys.modules]
dags = {name: dag.fileloc for name, dag in bag.dags.items()}
code = [m.__file__ for n, m in sys.modules.items() if n.startswith("modelyard") and getattr(m, "__file__", None)]
print(json.dumps({"errors": dict(bag.import_errors), "dags": dags, "heavy": heavy, "code": code}))
"""
PLUGINS = """
import json
from airflow.plugins_manager import get_import_errors, get_plugin_info
print(json.dumps({
    "errors": get_import_errors(), "plugins": {p["name"]: str(p["source"]) for p in get_plugin_info()}
}))
"""
FEAST = {f"FEAST_POSTGRES_{key}": key.lower() for key in ("HOST", "PORT", "DATABASE", "USER", "PASSWORD")}


@dataclass(frozen=True)
class Installed:
    """An environment that has Airflow and the other libraries, and Modelyard from its wheel only."""

    folder: Path
    env: Mapping[str, str]

    @property
    def dags(self) -> Path:
        return self.folder / "airflow" / "dags"

    @property
    def packages(self) -> Path:
        return next((self.folder / "env").glob("lib/python3*/site-packages"))

    def call(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        program = [str(self.folder / "env" / "bin" / command[0]), *command[1:]]
        done = subprocess.run(
            program, cwd=self.folder / "root", env={**self.env, **env}, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        print(done.stdout[-6000:], done.stderr[-6000:])  # pytest shows it when the test fails
        return done

    def answer(self, program: str, *arguments: str, **env: str) -> Any:
        """Run a program; the JSON that it printed last."""
        done = self.call("python", "-c", program, *arguments, **env)
        assert done.returncode == 0
        return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend that pyproject.toml names, from a copy: setuptools writes into the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    # What an earlier build left must not come back.
    stale = folder / "build" / "lib" / "modelyard_airflow" / "dags"
    stale.mkdir(parents=True)
    (stale / "deleted.py").touch()
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", "dist", "."], cwd=folder, check=True, timeout=120)
    (found,) = (folder / "dist").glob("modelyard-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True, timeout=60)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, timeout=60)
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AIRFLOW", "MODELYARD", "COV_", "PYTHON"))
    }
    made = Installed(
        folder,
        {
            **kept,
            "PYTHONWARNINGS": "ignore",
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "MODELYARD_ROOT": str(folder / "root"),
            **FEAST,
        },
    )
    # The libraries, without the editable install that lies among them: its entry points would count a second time.
    (folder / "libraries").mkdir()
    for place in dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")):
        for path in Path(place).iterdir():
            if not path.name.startswith(("modelyard", "__editable__")):
                (folder / "libraries" / path.name).symlink_to(path)
    (made.packages / "libraries.pth").write_text(f"{folder / 'libraries'}\n")
    for place in (made.folder / "root", made.dags):
        place.mkdir(parents=True)
    assert made.call("modelyard", "init", "churn").returncode == 0
    return made


@pytest.fixture(scope="module")
def loaded(installed: Installed) -> Installed:
    """The same after ``modelyard dags install``."""
    assert installed.call("modelyard", "dags", "install", str(installed.dags)).returncode == 0
    return installed


def test_the_wheel_has_what_the_repository_keeps_at_its_top_and_nothing_stale(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    places = {
        "dags": "modelyard_airflow/dags", "policies": "modelyard/defaults/policies",
        "feature_repo": "modelyard/defaults/feature_repo", "plugins/modelyard_airflow": "modelyard_airflow",
    }  # fmt: skip
    for source, place in places.items():
        wanted = {f"{place}/{path.name}" for path in (ROOT / source).iterdir() if path.is_file()}
        assert wanted, source
        assert wanted == {name for name in names if name.rpartition("/")[0] == place}
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if "dist-info" not in top} == {"modelyard", "modelyard_airflow", "modelyard_plugin.py"}


def test_an_empty_folder_with_a_model_has_packaged_policies_schedules_and_features(installed: Installed) -> None:
    assert "dags" in installed.call("modelyard", "--help").stdout
    found, inside = installed.answer(WHERE), str(installed.packages)
    places = ("modelyard", "airflow", "policies", "feature_repo", "schedules")
    assert [name for name in places if not found[name].startswith(inside)] == []
    assert (found["quorum"], found["delay"]) == (2, 30)
    assert "host=host" in found["online"]


def test_packaged_policies_are_the_repositorys_without_what_they_say_of_its_models(installed: Installed) -> None:
    for path in (ROOT / "policies").iterdir():
        ours = yaml.safe_load(path.read_text())
        ours.pop("models", None)
        assert yaml.safe_load((installed.packages / "modelyard/defaults/policies" / path.name).read_text()) == ours


def test_a_root_with_its_own_uses_its_own_and_a_path_that_is_not_there_is_an_error(
    installed: Installed, tmp_path: Path
) -> None:
    packaged = installed.packages / "modelyard" / "defaults" / "policies"
    shutil.copytree(packaged, tmp_path / "policies")
    (tmp_path / "policies" / "gates.yaml").unlink()
    missing = installed.call("python", "-c", WHERE, MODELYARD_ROOT=str(tmp_path))
    assert str(tmp_path / "policies" / "gates.yaml") in missing.stderr  # never filled up from the packaged ones
    shutil.copy(packaged / "gates.yaml", tmp_path / "policies")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "schedules.yaml").write_text("default: {retry_delay: 7s}\n")
    found = installed.answer(WHERE, MODELYARD_ROOT=str(tmp_path))
    assert found["policies"] == str(tmp_path / "policies")
    assert found["delay"] == 7
    absent = installed.call("python", "-c", WHERE, MODELYARD_POLICIES=str(tmp_path / "absent"))
    assert f"{tmp_path}/absent" in absent.stderr
    assert absent.returncode == 1


def test_airflow_finds_the_models_dags_through_the_loaders(loaded: Installed) -> None:
    assert sorted(path.name for path in loaded.dags.iterdir()) == list(LOADERS)
    bag = loaded.answer(BAG, str(loaded.dags))
    assert bag["errors"] == {}
    assert sorted(bag["dags"]) == [
        "churn__features",
        "churn__monitor",
        "churn__retrain",
        "churn__rollout",
        "churn__way_back",
    ]
    assert {Path(file).parent for file in bag["dags"].values()} == {loaded.dags}  # a worker finds them there again
    assert bag["heavy"] == []
    assert any(file.endswith("modelyard_airflow/dags/retraining.py") for file in bag["code"])
    assert [file for file in bag["code"] if not file.startswith(str(loaded.folder))] == []


def test_the_loaders_may_be_written_again_and_a_foreign_file_is_kept(loaded: Installed, tmp_path: Path) -> None:
    def install() -> subprocess.CompletedProcess[str]:
        return loaded.call("modelyard", "dags", "install", str(tmp_path), "--json")

    assert json.loads(install().stdout) == {str(tmp_path / name): "written" for name in LOADERS}
    older = tmp_path / LOADERS[0]
    older.write_text(older.read_text() + "# of an older version\n")
    again = json.loads(install().stdout)
    assert again == {str(tmp_path / name): "written" if name == older.name else "unchanged" for name in LOADERS}
    older.unlink()
    (tmp_path / LOADERS[-1]).write_text("print('mine')\n")
    refused = install()
    assert refused.returncode == 1
    assert LOADERS[-1] in refused.stderr.replace("\n", "")
    assert (tmp_path / LOADERS[-1]).read_text() == "print('mine')\n"
    assert not older.exists()  # nothing was written
    assert loaded.call("modelyard", "dags", "install", str(tmp_path / "absent")).returncode == 1


def test_airflow_finds_the_plugin_by_its_entry_point_and_once_only(installed: Installed) -> None:
    found = installed.answer(PLUGINS)
    assert found["errors"] == {}
    print(found["plugins"])
    assert "modelyard==" in found["plugins"]["modelyard"]
    both = installed.answer(PLUGINS, AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"))
    assert both["errors"] == {}
    assert "PLUGINS_FOLDER" in both["plugins"]["modelyard"]


def test_a_task_runs_from_the_wheel(loaded: Installed, migrated: Airflow, ledger_engine: Engine) -> None:
    key = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    url = ledger_engine.url.render_as_string(hide_password=False)
    env = {key: migrated.env[key], "MODELYARD_DATABASE_URL": url}
    (run,) = loaded.answer(RUN, str(loaded.dags / LOADERS[0]), "churn__monitor", "{}", "1", **env)
    assert run["tasks"]["check"] == "skipped"  # it asked the ledger, which knows of no champion
    assert run["state"] == "success"
