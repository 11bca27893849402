"""Turns pydantic's errors into ours: key, value, what is accepted, what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from modelyard.core.errors import ConfigError


def config_error(
    error: ValidationError,
    model: type[BaseModel],
    *,
    where: str,
    rename: Callable[[str], str] = lambda key: key,
) -> ConfigError:
    """The first problem of a ``ValidationError`` as a ``ConfigError``; how many more there are goes into the hint."""
    # A misspelt key is reported as unknown and as missing: the first says more.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    path = [str(part) for part in first["loc"]]
    more = f"({len(problems) - 1} more after this one.)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        return ConfigError(rename(".".join(path)), path[-1], known or "a known key", where=where, hint=more)
    value = "<missing>" if first["type"] == "missing" else first["input"]
    accepted = "a value" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(value, dict):
        value = "..."  # a rule across keys: its message quotes the values that matter
    return ConfigError(rename(".".join(path)) or "the whole", value, accepted, where=where, hint=more)


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys that the model accepts at this path; empty where the path leaves the models."""
    current: Any = model
    for part in path:
        field = current.model_fields.get(part) if _is_model(current) else None
        annotation = field.annotation if field else current
        current = next((a for a in (annotation, *_flatten(annotation)) if _is_model(a)), None)
        if current is None:
            return []
    if not _is_model(current):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _flatten(annotation: Any) -> list[Any]:
    inner = list(get_args(annotation))
    return inner + [deep for arg in inner for deep in _flatten(arg)]


def _is_model(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseModel)
