"""Which models get DAGs, what those are called, when they run and how they are shaped. Cheap: a few small files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    get_parsing_context,
)
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.sdk.exceptions import AirflowTimetableInvalid
from pydantic import TypeAdapter, ValidationError

from modelyard.config.policies import load_policy, policy_file
from modelyard.config.project import project_folders, read_spec
from modelyard.config.settings import Settings
from modelyard.config.yaml_file import read_yaml
from modelyard.core.errors import ConfigError
from modelyard.core.value import ModelName

LOOPS = ("features", "monitor", "retrain", "rollout", "way_back")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SCHEDULED = ("features", "monitor", "retrain", "drill", "retry_delay")
_TIMES = "a cron expression in UTC, or a duration such as 5m"
_OFF = ("off", "false")
_SHAPED_BY = {"retrain": "governance", "rollout": "rollout"}
_NAME: TypeAdapter[str] = TypeAdapter(ModelName)


def dag_id(model: str, loop: str) -> str:
    """The id of a model's DAG for one loop; also for a folder whose name no model may have."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', model)}__{loop}"


def drift_asset(model: str) -> Asset:
    """The asset whose events say that the governor asks for a retraining."""
    return Asset(name=f"{model}_drift", uri=f"modelyard://{model}/drift")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process; the environment does not change while it lives."""
    return Settings.from_env()


def models(loop: str) -> dict[str, Path]:
    """Models whose DAG of this loop is wanted, with their folders: all when files are parsed, one when a task of it is
    about to run."""
    wanted = get_parsing_context().dag_id
    found = sorted(project_folders(settings()).items())
    return {name: folder for name, folder in found if wanted in (None, dag_id(name, loop))}


@lru_cache(maxsize=1)
def schedules() -> Path:
    """``dags/schedules.yaml`` of ``MODELYARD_ROOT``; where it has none, the one that came with these DAG files."""
    own = settings().root / "dags" / "schedules.yaml"
    packaged = Path(__file__).resolve().parent / "dags"  # in the wheel; in the repository it is at the top
    dags = packaged if packaged.is_dir() else packaged.parents[2] / "dags"
    return own if own.is_file() else dags / "schedules.yaml"


def check_shared(loop: str) -> None:
    """See that the files can be used which the DAGs of all models are made from. Raises ``ConfigError``."""
    _file()
    if loop in _SHAPED_BY:
        _named(_SHAPED_BY[loop])


def check(model: str, folder: Path, loop: str) -> None:
    """See that everything can be used which the model's own DAG is made from. Raises ``ConfigError``."""
    try:
        _NAME.validate_python(model)
    except ValidationError:
        accepted = "a name of small letters, digits and _ that begins with a letter"
        raise ConfigError("folder", model, accepted, where=str(folder)) from None
    if loop not in ("rollout", "way_back"):  # what is under way must be able to end, whatever becomes of model.yaml
        read_spec(folder)
        schedule(model, loop)
    retry_delay(model)
    if loop == "retrain":
        quorum(model)
    if loop == "rollout":
        rollout_stages(model)
    if loop == "way_back":
        drill_schedule(model)


@lru_cache(maxsize=1)
def _file() -> Mapping[str, Any]:
    """The sections that it has, checked but for what a single model says."""
    data = read_yaml(schedules())
    for section, content in data.items():
        if section not in ("default", "profiles", "models"):
            raise ConfigError(section, section, ("default", "profiles", "models"), where=str(schedules()))
        if not isinstance(content or {}, dict):
            raise ConfigError(section, content, "a mapping", where=str(schedules()))
    shared = {"default": data.get("default"), f"profiles.{settings().profile}": _profile(data)}
    for name, lines in shared.items():
        _check_keys(name, lines)
    return data


def _profile(data: Mapping[str, Any]) -> Any:
    return (data.get("profiles") or {}).get(settings().profile)


def _check_keys(section: str, lines: Any) -> None:
    if not isinstance(lines or {}, dict):
        raise ConfigError(section, lines, "a mapping", where=str(schedules()))
    for key, value in (lines or {}).items():
        if key not in _SCHEDULED:
            raise ConfigError(f"{section}.{key}", value, _SCHEDULED, where=str(schedules()))


def _line(model: str, loop: str, absent: str | None = None) -> tuple[str, str]:
    """(key, text) of what holds for this loop: the model's own line, else the profile's, else the default, else
    ``absent``."""
    data = _file()
    own = (data.get("models") or {}).get(model)
    _check_keys(f"models.{model}", own)
    profile, default = (f"profiles.{settings().profile}", _profile(data)), ("default", data.get("default"))
    for name, lines in ((f"models.{model}", own), profile, default):
        if lines and loop in lines:
            return f"{name}.{loop}", str(lines[loop])
    if absent is not None:
        return f"default.{loop}", absent
    raise ConfigError(f"default.{loop}", "<missing>", _TIMES, where=str(schedules()))


def duration(text: str) -> timedelta | None:
    """Read ``20s``, ``5m``, ``1h`` or ``1d``; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def schedule(model: str, loop: str) -> BaseTimetable:
    """When the model's loop runs. It does not make up for a tick that was missed before the DAG existed.

    Raises:
        ConfigError: the line is neither a cron expression nor a duration.
    """
    key, text = _line(model, loop)
    return _timetable(key, text, _TIMES)


def drill_schedule(model: str) -> BaseTimetable | None:
    """When the way back is rehearsed; None where the line says ``off`` or there is none: then by hand alone.

    Raises:
        ConfigError: the line is none of ``off``, a cron expression and a duration.
    """
    key, text = _line(model, "drill", absent=_OFF[0])
    # YAML takes a bare off for the truth value that it stands for.
    return None if text.lower() in _OFF else _timetable(key, text, f"off, {_TIMES}")


def _timetable(key: str, text: str, accepted: str) -> BaseTimetable:
    if every := duration(text):  # a schedule of 0s is none
        return DeltaTriggerTimetable(every)
    timetable = CronTriggerTimetable(text, timezone="UTC", run_immediately=False)
    try:
        timetable.validate()
    except AirflowTimetableInvalid:
        raise ConfigError(key, text, accepted, where=str(schedules())) from None
    return timetable


def time_or_drift(model: str) -> AssetOrTimeSchedule:
    """When a model is retrained without anybody asking: by the calendar, or when its governor says so."""
    return AssetOrTimeSchedule(timetable=schedule(model, "retrain"), assets=[drift_asset(model)])


def retry_delay(model: str) -> timedelta:
    """How long a failed task waits before it is tried again."""
    key, text = _line(model, "retry_delay")
    if (delay := duration(text)) is None:
        raise ConfigError(key, text, "a duration such as 30s", where=str(schedules()))
    return delay


def rollout_stages(model: str) -> int:
    """How many stages the model's rollout policy has."""
    return _rollout_stages(_own(model, "rollout"))


def quorum(model: str) -> int:
    """How many people the model's governance policy asks for."""
    return _quorum(_own(model, "governance"))


def _own(model: str, kind: str) -> str:
    """The model's name if the policy says anything of it alone: the others share one answer, read once per parse."""
    return model if model in _named(kind) else ""


@lru_cache(maxsize=8)
def _named(kind: str) -> frozenset[str]:
    return frozenset(policy_file(kind, settings())["models"])


@lru_cache(maxsize=1024)
def _rollout_stages(model: str) -> int:
    from modelyard.rollout.policy import load_rollout_policy

    return len(load_rollout_policy(settings(), model).stages)


@lru_cache(maxsize=1024)
def _quorum(model: str) -> int:
    from modelyard.governance.policy import GovernancePolicy

    return load_policy(GovernancePolicy, "governance", settings(), model).quorum
