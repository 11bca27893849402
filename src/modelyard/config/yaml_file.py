"""Reads YAML with errors that name the file and the line; a key given twice is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from modelyard.core.errors import ConfigError

# LibYAML's loader, where PyYAML was built with it, reads the same ten times as fast: flows and DAG files read often.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Strict(_Safe):  # type: ignore[misc]
    """A safe loader that refuses duplicate keys."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: the file is absent, cannot be read, is not YAML, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("file", str(path), "an existing YAML file", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("file", path.name, f"text in UTF-8 that may be read: {error}", where=str(path)) from None
    try:
        data = yaml.load(text, Loader=_Strict)  # noqa: S506  a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError("file", path.name, f"valid YAML: {error}", where=str(path)) from None
    if not isinstance(data, dict):
        raise ConfigError("file", path.name, "a mapping at the top", where=str(path))
    return data
