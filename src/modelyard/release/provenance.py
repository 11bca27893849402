"""Where a model comes from: the commit, the source files and the installed packages that made it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import modelyard
from modelyard.core.digest import digest_bytes, digest_json

UNKNOWN_COMMIT = "unknown"
MAKING = ("config", "data", "features", "release", "training")
"""The packages of Modelyard whose code can change a model."""


def code_commit(root: Path) -> str:
    """The commit of the working tree that ``root`` lies in, ``-dirty`` if tracked files differ; else ``unknown``."""
    if (git := shutil.which("git")) is None:
        return UNKNOWN_COMMIT
    commit = _answer(git, root, "rev-parse", "HEAD")
    if not commit:
        return UNKNOWN_COMMIT
    return commit + ("-dirty" if _answer(git, root, "status", "--porcelain", "--untracked-files=no") else "")


def _answer(git: str, root: Path, *command: str) -> str:
    asked = [git, "-C", str(root), *command]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else ""


@cache
def environment() -> str:
    """The installed packages as ``name==version`` lines, sorted: what ``pip freeze`` would lock."""
    found = {(d.metadata["Name"].lower().replace("_", "-"), d.version) for d in metadata.distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found))


def environment_digest() -> str:
    """The digest of ``environment``."""
    return digest_bytes(environment().encode())


@cache
def source_digest() -> str:
    """The digest of Modelyard's own code, as far as it can change a model."""
    base = Path(modelyard.__file__).parent
    files = sorted(path for name in MAKING for path in (base / name).rglob("*.py"))
    return digest_json({str(p.relative_to(base)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
