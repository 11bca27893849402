"""Compares what is installed with the lock file."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement


def locked(text: str) -> Iterator[tuple[str, str]]:
    """Names and versions that the lock asks for on this machine.

    >>> list(locked("numpy==2.4.6 ; python_version >= '3'\\n    # via pandas\\nnope==1 ; python_version < '3'"))
    [('numpy', '2.4.6')]
    """
    for line in text.splitlines():
        try:
            requirement = Requirement(line.split(" #")[0].strip())
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            for specifier in requirement.specifier:
                if specifier.operator == "==":
                    yield requirement.name, specifier.version


def mismatches(lock: Path) -> list[str]:
    """What is missing or of another version, in words."""
    wrong = []
    for name, wanted in locked(lock.read_text(encoding="utf-8")):
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found.split("+")[0] != wanted.split("+")[0]:
            wrong.append(f"{name} {found}, not {wanted}")
    return wrong
