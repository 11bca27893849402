"""Puts what the repository keeps at its top into the wheel; everything else about the build is in pyproject.toml."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# In the repository, and in the wheel.
PLACES = {
    "plugins": ".",
    "dags": "modelyard_airflow/dags",
    "policies": "modelyard/defaults/policies",
    "feature_repo": "modelyard/defaults/feature_repo",
}
# Policies and schedules of models that are in this repository and not in the wheel: where a model of that name is
# unknown they would be refused.
OF_MODELS = re.compile(r"^models:.*\n(?:(?:[ \t].*)?\n)*", re.MULTILINE)


class BuildWithTop(build_py):
    """Copies the top-level folders besides ``src/``; an editable install leaves them where they are."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        # What an earlier build left would be in the wheel too: a deleted DAG would come back.
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        for source, place in PLACES.items():
            shutil.copytree(
                ROOT / source,
                Path(self.build_lib) / place,
                ignore=shutil.ignore_patterns("__pycache__", "*.py[cod]", ".*"),
                dirs_exist_ok=True,
            )
        for folder in ("dags", "policies"):
            for path in (Path(self.build_lib) / PLACES[folder]).glob("*.yaml"):
                path.write_text(OF_MODELS.sub("", path.read_text(encoding="utf-8")), encoding="utf-8")


setup(cmdclass={"build_py": BuildWithTop})
