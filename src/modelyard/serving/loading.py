"""From the address of a bundle to a version that is verified, loaded and warm. Blocks: call it in a thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from modelyard.core.errors import IntegrityError
from modelyard.ports.fleet import Arm
from modelyard.ports.signing import Trust
from modelyard.release.bundle import read_bundle
from modelyard.serving.resources import resident_mb
from modelyard.serving.scorer import Scorer
from modelyard.signing.keys import NOBODY

KEPT = 6


class Versions:
    """Loaded versions by release: the last ``kept`` of them, and for each model the one that is kept for the way back.

    So memory is bounded by ``kept`` versions and one more per model, besides those that are answering.
    ``trust`` is asked for at each load: a change of keys needs no restart, and puts out nothing that is loaded.
    """

    def __init__(
        self,
        kept: int = KEPT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        trust: Callable[[], Trust] = lambda: NOBODY,
    ) -> None:
        self._kept, self._now, self._trust, self._lock = kept, now, trust, Lock()
        self._loaded: OrderedDict[str, Scorer] = OrderedDict()
        self._pinned: dict[str, tuple[str, datetime]] = {}

    def get(self, model: str, arm: Arm) -> Scorer:
        """The version, verified against the release that the route names, loaded and warmed up.

        Raises:
            IntegrityError: the bundle is another release, another model's, or damaged.
            Untrusted: no trusted key has signed it.
            ConfigError: the trusted keys cannot be read.
        """
        with self._lock:
            if arm.release in self._loaded:
                self._loaded.move_to_end(arm.release)
                return self._loaded[arm.release]
        scorer = _load(model, arm, self._trust())
        with self._lock:
            self._loaded[arm.release] = scorer
            self._evict()
        return scorer

    def pin(self, model: str, arm: Arm | None, until: datetime | None) -> None:
        """From now on keep this version of the model, and no other, at least until then; loads it where it is not.

        Raises: as ``get``.
        """
        with self._lock:
            self._pinned.pop(model, None)
            if arm is not None and until is not None and until > self._now():
                self._pinned[model] = (arm.release, until)
        if model in self._pinned and arm is not None:
            self.get(model, arm)

    def __len__(self) -> int:
        with self._lock:
            return len(self._loaded)

    def pinned(self, model: str) -> str:
        """The release that is loaded and kept for the way back; empty: none."""
        with self._lock:
            release, until = self._pinned.get(model, ("", self._now()))
            return release if release in self._loaded and until > self._now() else ""

    def _evict(self) -> None:
        held = {release for release, until in self._pinned.values() if until > self._now()}
        free = [release for release in self._loaded if release not in held]
        for release in free[: max(len(free) - self._kept, 0)]:
            del self._loaded[release]


def _load(model: str, arm: Arm, trust: Trust) -> Scorer:
    bundle = read_bundle(arm.bundle, trust=trust)
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
