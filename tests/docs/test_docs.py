"""What the documentation says exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from modelyard.config.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code(text: str) -> list[str]:
    """Every line of code in a page: blocks, and single words between backticks."""
    lines = [line.strip() for block in BLOCK.findall(text) for line in block.splitlines()]
    return [re.sub(r"\s+#.*$", "", line) for line in lines] + INLINE.findall(BLOCK.sub("", text))


def commands(text: str, tool: str) -> list[list[str]]:
    """Calls of a tool, with or without variables before it."""
    call = re.compile(rf"(?:^|&& |; )(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?{tool}((?: +[^;&|]+)?)(?=$|;|&|\|)")
    return [found.split() for line in code(text) for found in call.findall(line)]


@cache
def targets() -> frozenset[str]:
    text = (ROOT / "Makefile").read_text()
    return frozenset(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))


@cache
def cli() -> Any:
    from modelyard.cli import app

    return typer.main.get_command(app)


def options_of(command: Any) -> set[str]:
    return {"--help", *(option for param in command.params for option in (*param.opts, *param.secondary_opts))}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_resolve(page: Path) -> None:
    for found in LINK.finditer(page.read_text()):
        target = (found[1] or found[2]).split("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_exist(page: Path) -> None:
    for words in commands(page.read_text(), "make"):
        for word in words:
            if "=" in word or word.startswith("-"):
                continue
            benchmark = word.startswith("bench-")
            known = (ROOT / "benchmarks" / f"bench_{word[6:]}.py").is_file() if benchmark else word in targets()
            assert known or word == "bench-NAME", f"{page.name}: make {word}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_modelyard_commands_and_options_exist(page: Path) -> None:
    for words in commands(page.read_text(), "modelyard"):
        command, called = cli(), " ".join(["modelyard", *words])
        for word in words:
            if not hasattr(command, "commands"):
                break
            # `a|b` in prose stands for several commands.
            for name in word.split("|") if not word.startswith("-") else ():
                assert name in command.commands, f"{page.name}: {called}"
            command = command.commands.get(word.split("|")[0], command)
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            assert option in options_of(command), f"{page.name}: {called}: {option}"


def test_the_commands_of_a_page_are_found() -> None:
    text = "Type `make x` or:\n```\nA=1 make run ARGS=-i   # why\n.venv/bin/modelyard up && modelyard down\n```\n"
    assert commands(text, "make") == [["run", "ARGS=-i"], ["x"]]
    assert commands(text, "modelyard") == [["up"], ["down"]]


def test_every_setting_is_described() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    described = set(re.findall(r"^\| `(MODELYARD_[A-Z_]+)`", text, re.MULTILINE))
    assert described == {f"MODELYARD_{name.upper()}" for name in Settings.model_fields}
    defaults = {name: field.default for name, field in Settings.model_fields.items() if name.startswith("port_")}
    for name, value in defaults.items():
        assert re.search(rf"`MODELYARD_{name.upper()}` \|.*\| {value} \|", text), name


def test_the_lock_brings_no_torch_and_nothing_from_elsewhere() -> None:
    text = (ROOT / "requirements" / "requirements.lock").read_text()
    packages = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    names = [re.split(r"[=<>\[ ]", line)[0] for line in packages]
    assert not [name for name in names if re.match(r"(torch|nvidia|cuda|triton)", name)]
    assert all(re.fullmatch(r"[a-z0-9.-]+(\[[a-z0-9,-]+\])?==[^ ]+( ; .+)?", line.strip()) for line in packages)
    assert not re.search(r"https?://|file:|@ |--", text)


def test_the_lock_has_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in wanted} - {"torch"}
    locked = {line.split("==")[0] for line in (ROOT / "requirements" / "requirements.lock").read_text().splitlines()}
    assert names <= locked, names - locked


def test_decisions_are_numbered_and_dated() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(set(numbers)) == len(numbers)
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert re.search(r"^Date: \d{4}-\d\d-\d\d\. Status: (accepted|superseded|proposed)", text, re.MULTILINE), (
            page.name
        )


def follows(schema: str, path: Path) -> bool:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout)
    return done.returncode == 0


def test_the_compose_file_follows_its_specification_and_the_check_can_fail(tmp_path: Path) -> None:
    assert follows("vendor.compose-spec", ROOT / "docker-compose.yaml")
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text("services: {a: {imagee: x}}\n")
    assert not follows("vendor.compose-spec", wrong)


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").iterdir()), ids=lambda path: path.name)
def test_the_workflows_follow_their_schema_and_run_what_people_run(path: Path) -> None:
    assert follows("vendor.github-workflows", path)
    steps = [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]
    assert {step["run"] for step in steps if "run" in step} <= {".ci/run", "make test", "make check", "make nightly"}


def test_the_hooks_run_tools_that_exist() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    for repository in config["repos"]:
        for hook in repository["hooks"]:
            assert (ROOT / hook["entry"].split()[0]).exists(), hook["entry"]


def test_the_secret_scan_can_fail(tmp_path: Path) -> None:
    scan = str(ROOT / "scripts" / "scan-secrets.sh")
    leak, fine = tmp_path / "leak.py", tmp_path / "fine.py"
    leak.write_text("key = '" + "AKIA" + "QWERTYUIOPASDFGH" + "'\n")
    fine.write_text("key = 'nothing'\n")
    assert subprocess.run([scan, str(leak)], capture_output=True, check=False).returncode != 0
    assert subprocess.run([scan, str(fine)], capture_output=True, check=False).returncode == 0


def test_the_set_up_refuses_a_python_that_does_not_fit() -> None:
    script = (ROOT / "scripts" / "setup.sh").read_text()
    pythons = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert pythons == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in script
