"""The one process specification."""

from __future__ import annotations

import dataclasses

import pytest

from modelyard.core.errors import ConfigError
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.environment import SECRET_NAMES
from modelyard.runtime.spec import HttpCheck, ProcessSpec, ordered, processes, services


def spec(name: str, *needs: str) -> ProcessSpec:
    return ProcessSpec(name=name, command=("true",), depends_on=needs)


def test_what_runs_and_in_which_order(config: RuntimeConfig) -> None:
    names = [s.name for s in processes(config)]
    assert sorted(names) == [
        "airflow-api-server",
        "airflow-dag-processor",
        "airflow-migrate",
        "airflow-pools",
        "airflow-scheduler",
        "airflow-triggerer",
        "databases",
        "gateway-1",
        "gateway-2",
        "ledger-migrate",
        "mlflow",
        "postgres",
        "watchdog",
    ]
    for s in processes(config):
        assert all(names.index(need) < names.index(s.name) for need in s.depends_on)
    assert names.index("airflow-api-server") < names.index("airflow-scheduler")


def test_order_keeps_what_is_free_and_refuses_what_is_wrong() -> None:
    assert [s.name for s in ordered([spec("c", "a"), spec("a"), spec("b")])] == ["a", "b", "c"]
    with pytest.raises(ConfigError, match=r"postgers.*Did you mean 'postgres'"):
        ordered([spec("postgres"), spec("x", "postgers")])
    with pytest.raises(ConfigError, match=r"a, b.*without a circle"):
        ordered([spec("a", "b"), spec("b", "a")])


def test_everything_listens_on_this_machine_only(config: RuntimeConfig) -> None:
    by_name = {s.name: s for s in processes(config)}
    assert "listen_addresses=127.0.0.1" in by_name["postgres"].command
    assert by_name["airflow-api-server"].env["AIRFLOW__API__HOST"] == "127.0.0.1"
    for name in ("mlflow", "gateway-1", "gateway-2"):
        command = by_name[name].command
        assert command[command.index("--host") + 1] == "127.0.0.1"
    # Airflow's log servers cannot be bound to one address, so they do not run.
    for name in ("airflow-scheduler", "airflow-triggerer"):
        assert "--skip-serve-logs" in by_name[name].command
    assert not any("0.0.0.0" in word for s in processes(config) for word in (*s.command, *s.env.values()))


def test_no_secret_is_an_argument_or_in_a_variable_that_is_not_known_as_one(config: RuntimeConfig) -> None:
    values = [value for name, value in config.secrets.values.items() if name != "gateway-admin-token"]
    values += config.secrets.airflow_passwords.values()
    for s in processes(config):
        assert not [word for word in s.command for value in values if value in word]
        loose = {key for key, text in s.env.items() for value in values if value in text}
        assert {key for key in loose if not key.startswith("YARD_PASSWORD_")} <= SECRET_NAMES


def test_each_service_can_be_asked_how_it_is(config: RuntimeConfig) -> None:
    without = [s.name for s in services(config) if s.health is None]
    assert without == ["watchdog"]
    scheduler = next(s for s in services(config) if s.name == "airflow-scheduler").health
    assert isinstance(scheduler, HttpCheck)
    assert (scheduler.status, scheduler.beat) == (("scheduler", "status"), ("scheduler", "latest_scheduler_heartbeat"))


def test_each_port_can_be_chosen_and_says_how(config: RuntimeConfig) -> None:
    for s in processes(config):
        assert bool(s.ports) == bool(s.port_setting)
    other = config.settings.model_copy(update={"port_airflow": 9999, "gateway_replicas": 3})
    names = {s.name: s.ports for s in services(RuntimeConfig.embedded(other, config.secrets))}
    assert names["airflow-api-server"] == (9999,)
    assert [names[f"gateway-{n}"] for n in (1, 2, 3)] == [(8090,), (8091,), (8092,)]


def test_no_telemetry_anywhere(config: RuntimeConfig) -> None:
    for s in processes(config):
        if s.command[0] in ("airflow", "mlflow", "modelyard"):
            assert s.env["DO_NOT_TRACK"] == "true"
            assert s.env["MLFLOW_DISABLE_TELEMETRY"] == "true"
            assert s.env["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "false"


def test_a_specification_is_frozen(config: RuntimeConfig) -> None:
    with pytest.raises(ValueError, match="frozen"):
        processes(config)[0].name = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.kind = "containers"  # type: ignore[misc]
