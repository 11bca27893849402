"""Configuration is parsed once; what is wrong is refused with key, value and what is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.config.policies import Policy, load_policy
from modelyard.config.project import load_project, project_folders
from modelyard.config.settings import Settings
from modelyard.config.yaml_file import read_yaml
from modelyard.core.errors import ConfigError, NotFound

SPEC: dict[str, Any] = {
    "name": "toy",
    "description": "A toy.",
    "owner": "team",
    "source": {"file": "rows.csv", "event_time": "at", "known_at": "known_at", "key": "id"},
    "label": {"column": "y", "depends_on_answer": False},
    "entities": {"machine": "id"},
    "feature_builder": "features:build",
    "feature_views": {"toy_view": {"entity": "machine", "ttl_hours": 3}},
    "features": {"x": {"kind": "numeric", "from": "request"}, "c": {"kind": "categorical", "from": "toy_view"}},
    "slices": ["c"],
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "params.yaml").write_text("toy: {epochs: 2}\n")
    (tmp_path / "policies").mkdir()
    return Settings.from_env({"MODELYARD_ROOT": str(tmp_path)})


def write_spec(settings: Settings, **changes: Any) -> None:
    folder = settings.root / "projects" / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump({**SPEC, **changes}, sort_keys=False))


def test_a_model_is_one_folder(settings: Settings) -> None:
    write_spec(settings)
    project = load_project("toy", settings)
    assert project.params == {"epochs": 2}
    assert project.spec.of(kind="numeric", source="request") == ("x",)
    assert project.spec.views == ("toy_view",)
    assert list(project_folders(settings)) == ["toy"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lable": {}}, ["lable", "Did you mean 'label'?"]),
        ({"label": {"column": "y"}}, ["label.depends_on_answer", "<missing>"]),
        ({"label": {"column": "y", "depends_on_answer": False, "kind": "rank"}}, ["label.kind", "rank", "binary"]),
        (
            {"features": {"score": {"kind": "numeric", "from": "request"}}},
            ["may not be called score", "prediction log"],
        ),
        ({"features": {'x" --': {"kind": "numeric", "from": "request"}}}, ['x" --', "[A-Za-z_]"]),
        ({"feature_views": {'v"; --': {"entity": "machine", "ttl_hours": 3}}}, ['v"; --', "[A-Za-z_]"]),
        ({"entities": {"ma chine": "id"}}, ["ma chine", "[A-Za-z_]"]),
        ({"slices": ["z"]}, ["slices name no feature: z", "x, c"]),
        ({"features": {"c": {"kind": "numeric", "from": "toy_vew"}}}, ["'toy_vew'", "request, toy_view"]),
        ({"feature_views": {"toy_view": {"entity": "engine", "ttl_hours": 3}}}, ["'engine'", "machine"]),
        ({"feature_builder": ""}, ["feature_views need a feature_builder"]),
        ({"name": "other"}, ["name = 'other'", "'toy'"]),
        ({"source": {**SPEC["source"], "loader": "source:read"}}, ["exactly one of loader and file"]),
        ({"features": {"x": {"kind": "numeric", "form": "request"}}}, ["features.x.form", "'from'"]),
    ],
)
def test_a_wrong_key_is_refused_with_what_is_accepted(settings: Settings, changes: dict, says: list[str]) -> None:
    write_spec(settings, **changes)
    with pytest.raises(ConfigError) as caught:
        load_project("toy", settings)
    for part in says:
        assert part in str(caught.value)


def test_an_unknown_model_is_refused_with_the_known_ones(settings: Settings) -> None:
    write_spec(settings)
    with pytest.raises(NotFound, match="Did you mean 'toy'"):
        load_project("toi", settings)


def test_a_model_without_numbers_is_refused(settings: Settings) -> None:
    write_spec(settings)
    settings.params.write_text("other: {}\n")
    with pytest.raises(ConfigError, match="a section for this model"):
        load_project("toy", settings)


def test_the_same_model_in_two_places_is_refused(settings: Settings, tmp_path: Path) -> None:
    write_spec(settings)
    two = f"{tmp_path / 'projects'}:{tmp_path / 'more'}"
    (tmp_path / "more" / "toy").mkdir(parents=True)
    (tmp_path / "more" / "toy" / "model.yaml").write_text("name: toy\n")
    both = Settings.from_env({"MODELYARD_ROOT": str(tmp_path), "MODELYARD_PROJECTS": two})
    with pytest.raises(ConfigError, match="one folder per model"):
        project_folders(both)


def test_code_of_a_folder_is_loaded_by_name(settings: Settings) -> None:
    write_spec(settings)
    folder = settings.root / "projects" / "toy"
    (folder / "net.py").write_text("def build():\n    return 42\n")
    project = load_project("toy", settings)
    assert project.code("net:build")() == 42
    with pytest.raises(ConfigError, match="Did you mean 'build'"):
        project.code("net:biuld")
    with pytest.raises(ConfigError, match="Did you mean 'net'"):
        project.code("nett:build")


def test_changed_code_has_another_digest(settings: Settings) -> None:
    write_spec(settings)
    before = load_project("toy", settings).code_digest
    (settings.root / "projects" / "toy" / "net.py").write_text("x = 1\n")
    assert load_project("toy", settings).code_digest != before


def test_a_key_given_twice_and_no_mapping_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text, says in (("a: 1\na: 2\n", "given twice"), ("- 1\n", "a mapping"), ("a: [\n", "valid YAML")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            read_yaml(path)
    with pytest.raises(ConfigError, match="an existing YAML file"):
        read_yaml(tmp_path / "none.yaml")


class Toy(Policy):
    margin: float
    stage: dict[str, int]


def write_policy(settings: Settings, data: dict[str, Any]) -> None:
    (settings.policies / "toy.yaml").write_text(yaml.safe_dump(data))


def test_a_policy_is_the_default_with_overrides(settings: Settings) -> None:
    write_spec(settings)
    write_policy(
        settings,
        {
            "default": {"margin": 0.1, "stage": {"seconds": 60, "samples": 5}},
            "profiles": {"demo": {"stage": {"seconds": 1}}},
            "models": {"toy": {"margin": 0.2}},
        },
    )
    production = load_policy(Toy, "toy", settings, "toy")
    assert (production.margin, production.stage) == (0.2, {"seconds": 60, "samples": 5})
    demo = load_policy(Toy, "toy", settings.model_copy(update={"profile": "demo"}), "toy")
    assert demo.stage == {"seconds": 1, "samples": 5}
    assert demo.digest != production.digest


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"defaults": {}}, "Did you mean 'default'"),
        ({"default": {"margin": 1, "stage": {}, "mragin": 2}}, "Did you mean 'margin'"),
        ({"default": {"margin": "much", "stage": {}}}, "margin = 'much'"),
        ({"default": {}, "models": {"tou": {}}}, "Did you mean 'toy'"),
        ({"default": {}, "profiles": {"dmo": {}}}, "Did you mean 'demo'"),
    ],
)
def test_an_unknown_policy_key_is_refused(settings: Settings, data: dict[str, Any], says: str) -> None:
    write_spec(settings)
    write_policy(settings, data)
    with pytest.raises(ConfigError, match=says):
        load_policy(Toy, "toy", settings, "toy")


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MODELYARD_DATABSE_URL"):
        Settings.from_env({"MODELYARD_ROOT": str(tmp_path), "MODELYARD_DATABSE_URL": "x"})
    with pytest.raises(ConfigError, match="MODELYARD_PROFILE"):
        Settings.from_env({"MODELYARD_ROOT": str(tmp_path), "MODELYARD_PROFILE": "dev"})


def test_a_needed_address_that_is_missing_says_how_to_set_it(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="make run"):
        settings.require("database_url")


@pytest.mark.parametrize("address", ["edge:8090", "http://", "ftp://edge"])
def test_the_edge_is_an_address_or_nothing(address: str, tmp_path: Path) -> None:
    env = {"MODELYARD_ROOT": str(tmp_path)}
    assert Settings.from_env(env | {"MODELYARD_EDGE_URL": "http://edge:8090"}).edge_url == "http://edge:8090"
    assert Settings.from_env(env | {"MODELYARD_EDGE_URL": ""}).edge_url == ""
    with pytest.raises(ConfigError, match=r"MODELYARD_EDGE_URL .*an address such as http://edge:8090"):
        Settings.from_env(env | {"MODELYARD_EDGE_URL": address})
