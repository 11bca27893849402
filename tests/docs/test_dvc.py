"""The stages of dvc.yaml: what they depend on is what they import, and git's ignoring of dvc.lock is accepted."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OFFLINE = "modelyard.flows.offline"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PROJECTS = sorted(path.parent.name for path in (ROOT / "projects").glob("*/model.yaml"))

CALLED = {"snapshot": ("loader",), "features": ("loader", "feature_builder"), "train": ("network",), "evaluate": ()}
"""Which code of the model's folder (keys of model.yaml) a stage calls."""


def file_of(module: str) -> Path | None:
    base = ROOT.joinpath("src", *module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imported(node: ast.AST) -> Iterator[str]:
    """Modules that a piece of code imports, at its head or inside functions; names may be modules too."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom) and found.level == 0 and found.module:
            yield found.module
            yield from (f"{found.module}.{alias.name}" for alias in found.names)


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    return tuple(imported(ast.parse(path.read_text())))


def reached(starts: Iterable[str]) -> set[Path]:
    """Files of modelyard that these modules import, and those import, and so on."""
    files: set[Path] = set()
    todo = list(starts)
    while todo:
        path = file_of(todo.pop()) if todo[-1].startswith("modelyard.") else todo.pop() and None
        if path is not None and path not in files:
            files.add(path)
            todo += imports_of(path)
    return files


def used_by(stage: str) -> set[str]:
    """What the function of a stage and its helpers use of what its module imports."""
    path = file_of(OFFLINE)
    assert path is not None
    tree = ast.parse(path.read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    heads = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    names = {alias.name: {head.module, f"{head.module}.{alias.name}"} for head in heads for alias in head.names}
    modules, seen, todo = {OFFLINE}, set(), [stage]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        modules |= set(imported(functions[name]))
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Name):
                modules |= names.get(node.id, set())
                todo += [node.id] if node.id in functions else []
    return modules


def needed(stage: str, project: str) -> set[Path]:
    """Every file of modelyard behind a stage: its function's, and what the code of the model's folder imports."""
    folder = ROOT / "projects" / project
    spec = yaml.safe_load((folder / "model.yaml").read_text())
    named = {**spec, "loader": spec["source"].get("loader")}
    files = [folder / f"{named[key].partition(':')[0]}.py" for key in CALLED[stage] if named.get(key)]
    own = {module for path in files for module in imports_of(path)}
    # The module itself is needed, but of its imports only what this stage uses.
    path = file_of(OFFLINE)
    assert path is not None
    return reached({*used_by(stage), *own} - {OFFLINE}) | {path}


def deps(stage: str, project: str) -> list[Path]:
    return [ROOT / dep.replace("${item}", project) for dep in STAGES[stage]["do"]["deps"]]


def uncovered(stage: str, project: str, covered: Iterable[Path]) -> list[str]:
    places = list(covered)
    missing = [p for p in needed(stage, project) if not any(p == dep or dep in p.parents for dep in places)]
    # A package's own file is a line of description.
    return sorted(str(p.relative_to(ROOT)) for p in missing if p.name != "__init__.py")


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_that_it_imports(stage: str, project: str) -> None:
    assert uncovered(stage, project, deps(stage, project)) == []


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_depends_on_exists_and_is_needed(stage: str) -> None:
    project = PROJECTS[0]
    places = [dep for dep in deps(stage, project) if "src" in dep.relative_to(ROOT).parts]
    for place in places:
        assert place.exists(), place
        others = [other for other in places if other != place]
        assert uncovered(stage, project, others), f"{stage} needs nothing of {place.relative_to(ROOT)}"


def test_the_walk_finds_what_is_imported_inside_functions() -> None:
    files = {str(path.relative_to(ROOT / "src" / "modelyard")) for path in needed("train", PROJECTS[0])}
    assert {"flows/candidate.py", "training/fit.py", "drift/counts.py", "release/bundle.py"} <= files
    assert "flows/evaluate.py" not in files


def test_every_stage_calls_its_own_command() -> None:
    for name, stage in STAGES.items():
        assert re.match(rf"\$\{{modelyard\}} offline {name} \$\{{item\}} ", stage["do"]["cmd"])


def test_dvc_works_in_a_git_repository_that_ignores_its_lock(tmp_path: Path) -> None:
    for name in (".gitignore", ".dvcignore", ".dvc/config", "params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo made > made.txt, outs: [made.txt]}}\n")

    def run(*command: Any) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "-q")
    run(sys.executable, "-m", "dvc", "repro", "-q")
    assert (tmp_path / "dvc.lock").is_file()
    assert "dvc.lock" not in run("git", "status", "--porcelain")
    assert "up to date" in run(sys.executable, "-m", "dvc", "status")
