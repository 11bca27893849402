"""When a task that was done need not be done again: nothing that it depends on has changed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import modelyard
from modelyard.core.digest import digest_json
from modelyard.runtime.spec import ProcessSpec


def fingerprint(spec: ProcessSpec) -> str:
    """What the outcome of a task depends on: its specification, Airflow's version, our migrations, files it names."""
    files = [Path(word) for word in spec.command[1:] if Path(word).is_file()]
    migrations = Path(modelyard.__file__).parent / "adapters" / "db" / "migrations" / "versions"
    return digest_json(
        {
            "spec": spec.model_dump(mode="json"),
            "airflow": _version("apache-airflow"),
            "migrations": sorted(path.name for path in migrations.glob("*.py")),
            "files": {str(path): path.read_text(encoding="utf-8") for path in files},
        }
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
