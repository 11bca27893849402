"""The environment that a shell needs, kept in a file and read back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modelyard.config.settings import Settings
from modelyard.core.errors import IntegrityError
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.environment import clean_base, env_file, environment, load_env, use_env, write_env


def test_what_is_written_is_read_back(config: RuntimeConfig) -> None:
    path = write_env(config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_env(config.home) == environment(config)


def test_the_settings_read_from_it_are_complete(config: RuntimeConfig) -> None:
    write_env(config)
    settings = Settings.from_env(load_env(config.home))
    assert settings.home == config.home
    assert settings.gateway_urls == ("http://127.0.0.1:8090", "http://127.0.0.1:8091")
    assert settings.database_url.startswith("postgresql+psycopg://modelyard:")
    assert settings.admin_token_file is not None
    assert settings.admin_token_file.is_file()
    for field in ("mlflow_uri", "airflow_url", "artifacts_uri"):
        assert settings.require(field)


def test_nothing_was_started_yet(tmp_path: Path) -> None:
    assert load_env(tmp_path) == {}


@pytest.mark.parametrize("line", ["nonsense", "a b=c", "é!=1"])
def test_a_damaged_file_is_refused(tmp_path: Path, line: str) -> None:
    env_file(tmp_path).write_text(f"A=1\n{line}\n")
    with pytest.raises(IntegrityError, match="is not KEY=VALUE"):
        load_env(tmp_path)


def test_what_a_person_set_is_kept(config: RuntimeConfig) -> None:
    write_env(config)
    env = {"MODELYARD_HOME": str(config.home), "MODELYARD_PROFILE": "demo"}
    assert use_env(env) == config.home
    assert env["MODELYARD_PROFILE"] == "demo"
    assert env["MODELYARD_MLFLOW_URI"] == "http://127.0.0.1:5000"


def test_a_port_once_chosen_stays_chosen(config: RuntimeConfig) -> None:
    chosen = config.settings.model_copy(update={"port_airflow": 9999})
    write_env(RuntimeConfig.embedded(chosen, config.secrets))
    env = {"MODELYARD_HOME": str(config.home)}
    use_env(env)
    assert Settings.from_env(env).port_airflow == 9999


def test_a_person_s_environment_does_not_steer_our_processes() -> None:
    env = {"PATH": "/bin", "AIRFLOW__CORE__EXECUTOR": "x", "MLFLOW_TRACKING_URI": "x", "MODELYARD_HOME": "x"}
    assert clean_base(env) == {"PATH": "/bin"}


def test_a_long_home_gets_a_short_socket(config: RuntimeConfig) -> None:
    assert config.socket == config.run / "supervisor.sock" or len(str(config.run)) > 70
    deep = config.settings.model_copy(update={"home": config.home / ("x" * 120)})
    socket = RuntimeConfig.embedded(deep, config.secrets).socket
    assert len(str(socket)) < 92
    assert deep.home not in socket.parents
