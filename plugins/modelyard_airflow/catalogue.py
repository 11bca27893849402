"""Which models get DAGs, what those are called and when they run. Cheap: names of folders and one small file."""

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

from modelyard.config.project import project_folders
from modelyard.config.settings import Settings
from modelyard.config.yaml_file import read_yaml
from modelyard.core.errors import ConfigError

LOOPS = ("features", "monitor", "retrain", "rollout")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SCHEDULED = ("features", "monitor", "retrain", "retry_delay")


def dag_id(model: str, loop: str) -> str:
    """The id of a model's DAG for one loop."""
    return f"{model}__{loop}"


def drift_asset(model: str) -> Asset:
    """The asset whose events say that the governor asks for a retraining."""
    return Asset(name=f"{model}_drift", uri=f"modelyard://{model}/drift")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process; the environment does not change while it lives."""
    return Settings.from_env()


def models(loop: str) -> list[str]:
    """Models whose DAG of this loop is wanted: all when files are parsed, one when a task of it is about to run."""
    wanted = get_parsing_context().dag_id
    names = sorted(project_folders(settings()))
    return names if wanted is None else [n for n in names if dag_id(n, loop) == wanted]


@lru_cache(maxsize=1)
def schedules() -> Path:
    """``dags/schedules.yaml`` of ``MODELYARD_ROOT``; where it has none, the one that came with these DAG files."""
    own = settings().root / "dags" / "schedules.yaml"
    packaged = Path(__file__).resolve().parent / "dags"  # in the wheel; in the repository it is at the top
    dags = packaged if packaged.is_dir() else packaged.parents[2] / "dags"
    return own if own.is_file() else dags / "schedules.yaml"


@lru_cache(maxsize=1)
def _file() -> Mapping[str, Any]:
    data = read_yaml(schedules())
    for section in data:
        if section not in ("default", "profiles", "models"):
            raise ConfigError(section, section, ("default", "profiles", "models"), where=str(schedules()))
    return data


def schedule_text(model: str, loop: str) -> str:
    """What ``schedules.yaml`` says of this loop: the model's own line, else the profile's, else the default."""
    sections = (
        (_file().get("models") or {}).get(model),
        (_file().get("profiles") or {}).get(settings().profile),
        _file().get("default"),
    )
    for section in sections:
        for key in section or {}:
            if key not in _SCHEDULED:
                raise ConfigError(key, section[key], _SCHEDULED, where=str(schedules()))
        if section and loop in section:
            return str(section[loop])
    raise ConfigError(f"default.{loop}", "<missing>", "a cron expression or a duration", where=str(schedules()))


def duration(text: str) -> timedelta | None:
    """Read ``20s``, ``5m``, ``1h`` or ``1d``; None for anything else."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def timetable(text: str) -> BaseTimetable:
    """A cron expression (in UTC) or a duration.

    Neither makes up for a tick that was missed before the DAG existed.
    """
    if every := duration(text):
        return DeltaTriggerTimetable(every)
    return CronTriggerTimetable(text, timezone="UTC", run_immediately=False)


def time_or_drift(model: str) -> AssetOrTimeSchedule:
    """When a model is retrained without anybody asking: by the calendar, or when its governor says so."""
    return AssetOrTimeSchedule(timetable=timetable(schedule_text(model, "retrain")), assets=[drift_asset(model)])


def retry_delay(model: str) -> timedelta:
    """How long a failed task waits before it is tried again."""
    text = schedule_text(model, "retry_delay")
    if (delay := duration(text)) is None:
        raise ConfigError("retry_delay", text, "a duration such as 30s", where=str(schedules()))
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
    return frozenset(read_yaml(settings().policies / f"{kind}.yaml").get("models") or {})


@lru_cache(maxsize=1024)
def _rollout_stages(model: str) -> int:
    from modelyard.rollout.policy import load_rollout_policy

    return len(load_rollout_policy(settings(), model).stages)


@lru_cache(maxsize=1024)
def _quorum(model: str) -> int:
    from modelyard.config.policies import load_policy
    from modelyard.governance.policy import GovernancePolicy

    return load_policy(GovernancePolicy, "governance", settings(), model).quorum
