"""What comes with Modelyard for those who have none of their own: the policies and Feast's repository."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged(name: Literal["policies", "feature_repo"]) -> Path:
    """The folder inside the installed package; in a checkout, the one at the top, which the package is built from."""
    inside = _PACKAGE / "defaults"
    return (inside if inside.is_dir() else _PACKAGE.parents[1]) / name


def own_or_packaged(root: Path, name: Literal["policies", "feature_repo"]) -> Path:
    """The root's own folder, whole, where it has one; else the one that comes with Modelyard. Never a mixture."""
    own = root / name
    return own if own.exists() else packaged(name)
