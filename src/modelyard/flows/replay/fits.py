"""The fits that every policy of a replay draws on: made once for each family, seed and week, and kept on disk.

A fit at the start of a week sees the trailing window of ``params.yaml`` as it was known then. It forecasts all rows
that come after, and those of the four weeks before, by which it may be recalibrated at once. Its forecasts are one
file, written at once, named by a digest of everything that could change them: an interrupted run goes on where it was,
and a changed network is fitted anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from modelyard.core.digest import digest_json, short
from modelyard.core.errors import ConfigError
from modelyard.core.window import Window
from modelyard.flows.probe import fit_probe
from modelyard.flows.replay.families import FAMILIES, Forecast
from modelyard.flows.replay.history import Past
from modelyard.training.params import TrainParams, read_params

if TYPE_CHECKING:
    import pandas as pd

Logits = npt.NDArray[np.float32]

LEAD_WEEKS = 4

PROBE = "probe"
"""The cheap model that stands in for all families in estimates of the gain."""


def _probe(past: Past, rows: pd.DataFrame, _window: Window, _params: TrainParams) -> Forecast:
    return fit_probe(past.project.spec, rows, rows[past.project.spec.label.column].to_numpy(dtype=np.float64))


MODELS = {**FAMILIES, PROBE: _probe}


@dataclass(frozen=True)
class Fits:
    """Forecasts by family, seed and week of the fit. ``say`` is told of each fit that is made."""

    past: Past
    folder: Path
    say: Callable[[str], None]

    def logits(self, family: str, seed: int, week: int) -> Logits:
        """The logit of every row from ``begin(week)`` on, made if it is not there yet."""
        path = self.path(family, seed, week)
        if not path.is_file():
            self._make(family, seed, week, path)
        return np.asarray(np.load(path), dtype=np.float32)

    def begin(self, week: int) -> int:
        """The place of the first row that a fit of this week forecasts."""
        return self.past.first(max(0, week - LEAD_WEEKS))

    def make(self, wanted: Iterable[tuple[str, int, int]]) -> None:
        """Make what is missing of these, in this order."""
        missing = [key for key in dict.fromkeys(wanted) if not self.path(*key).is_file()]
        for done, (family, seed, week) in enumerate(missing, start=1):
            self._make(family, seed, week, self.path(family, seed, week))
            self.say(f"fit {done} of {len(missing)}: {family}, seed {seed}, week {week}")

    def path(self, family: str, seed: int, week: int) -> Path:
        """Where the forecasts of a fit are kept.

        Raises:
            ConfigError: no such family.
        """
        if family not in MODELS:
            raise ConfigError("family", family, MODELS)
        return self.folder / family / short(self._digests[family]) / f"seed{seed:02d}-week{week:02d}.npy"

    @cached_property
    def _digests(self) -> dict[str, str]:
        params = self._params(0).model_dump(mode="json")
        common = {"rows": self.past.digest, "lead": LEAD_WEEKS, "code": _code("flows/replay/families.py")}
        own = _code("training", "release/encode.py", "release/signature.py")
        return {
            "logistic": digest_json(common | {"window_days": params["window_days"]}),
            PROBE: digest_json(common | {"window_days": params["window_days"], "own": _code("flows/probe.py")}),
            "network": digest_json(common | {"params": params, "project": _project_code(self.past), "own": own}),
        }

    def _params(self, seed: int) -> TrainParams:
        project = self.past.project
        return read_params(project.params, model=project.name, overrides={"seed": seed})

    def _make(self, family: str, seed: int, week: int, path: Path) -> None:
        params = self._params(seed)
        rows, window = self.past.seen(week, params.window_days)
        forecast = MODELS[family](self.past, rows, window, params)
        values = forecast(self.past.frame.iloc[self.begin(week) :]).astype(np.float32)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        with scratch.open("wb") as file:
            np.save(file, values)
        scratch.replace(path)


def _project_code(past: Past) -> dict[str, Any]:
    """What of the model's folder can change a fit on given rows."""
    spec = past.project.spec.model_dump(mode="json")
    files = {path.name: _file(path) for path in sorted(past.project.folder.glob("*.py"))}
    return {"files": files, **{key: spec[key] for key in ("source", "label", "features", "network")}}


def _code(*places: str) -> dict[str, str]:
    """The digest of each file in these places under the package."""
    root = Path(__file__).resolve().parents[2]
    found = [f for place in places for f in ([root / place] if place.endswith(".py") else (root / place).rglob("*.py"))]
    return {str(f.relative_to(root)): _file(f) for f in sorted(found)}


def _file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
