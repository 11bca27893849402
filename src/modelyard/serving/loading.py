"""From the address of a bundle to a version that is verified, loaded and warm. Blocks: call it in a thread."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from modelyard.core.errors import IntegrityError
from modelyard.ports.fleet import Arm
from modelyard.release.bundle import read_bundle
from modelyard.serving.resources import resident_mb
from modelyard.serving.scorer import Scorer

KEPT = 6


class Versions:
    """Loaded versions by release, the last few of them: going back to one costs nothing."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._lock = kept, Lock()
        self._loaded: OrderedDict[str, Scorer] = OrderedDict()

    def get(self, model: str, arm: Arm) -> Scorer:
        """The version, verified against the release that the route names, loaded and warmed up.

        Raises:
            IntegrityError: the bundle is another release, another model's, or damaged.
        """
        with self._lock:
            if arm.release in self._loaded:
                self._loaded.move_to_end(arm.release)
                return self._loaded[arm.release]
        scorer = _load(model, arm)
        with self._lock:
            self._loaded[arm.release] = scorer
            while len(self._loaded) > self._kept:
                self._loaded.popitem(last=False)
        return scorer


def _load(model: str, arm: Arm) -> Scorer:
    bundle = read_bundle(arm.bundle)
    release = bundle.release
    if release.digest != arm.release:
        raise IntegrityError(f"{arm.bundle} holds release {release.digest}, the route names {arm.release}")
    if (release.model, release.version) != (model, arm.version):
        found, asked = f"{release.model} version {release.version}", f"{model} version {arm.version}"
        raise IntegrityError(f"{arm.bundle} is {found}, the route names {asked}")
    before = resident_mb()
    scorer = Scorer(release, arm.release, bundle.files)
    scorer.warm_up()
    after = resident_mb()
    scorer.grown_mb = None if before is None or after is None else max(0.0, after - before)
    return scorer
