"""Removes what the platform keeps to save work and nobody will ask for any more.

Kept hours of profiles can be counted again from the prediction log. A training frame can be joined again from its
snapshot as long as nothing that its features are made of has changed; so the frames of those whom somebody may still
compare with are never removed: of the champion, of the one to go back to, and of what was trained since the champion.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from modelyard.core.records import Release
from modelyard.core.value import Value
from modelyard.ports.platform import Platform

_HOUR = "%Y-%m-%dT%H"


class Cleaned(Value):
    """What was removed (or would be): numbers of files, and their size together in bytes."""

    profiles: int
    frames: int
    bytes: int


def clean(platform: Platform, model: str, before: datetime, *, dry_run: bool = False) -> Cleaned:
    """Remove profiles of hours before the moment (of event time), and training frames of releases as of before it.

    May be run at any time and again; what a check needs and does not find it counts anew. ``dry_run`` removes nothing.
    """
    home = platform.settings.home
    hours = list(_hours(home / "profiles" / model, before))
    frames = list(_frames(platform, home / "features" / model / "frames", model, before))
    size = 0
    for path in (*hours, *frames):
        size += path.stat().st_size
        if not dry_run:
            path.unlink(missing_ok=True)
    return Cleaned(profiles=len(hours), frames=len(frames), bytes=size)


def _hours(folder: Path, before: datetime) -> Iterator[Path]:
    """Files of hours, whatever bins they are in. ``first-week`` is a version's baseline and stays."""
    for path in sorted(folder.glob("*/*.json")):
        try:
            hour = datetime.strptime(path.stem, _HOUR).replace(tzinfo=UTC)
        except ValueError:
            continue
        if hour < before:
            yield path


def _frames(platform: Platform, folder: Path, model: str, before: datetime) -> Iterator[Path]:
    releases = platform.ledger.releases
    champion = releases.champion(model)
    needed = {_frame(r) for r in (champion, releases.previous(model)) if r is not None}
    # A candidate may be on its way to replace the champion, and without one any may be.
    before = min(before, champion.as_of) if champion is not None else datetime.min.replace(tzinfo=UTC)
    old: set[str] = set()
    for release, _ in releases.history(model):
        (old if release.as_of < before else needed).add(_frame(release))
    # A frame that no release names may be of a training under way.
    return (path for path in sorted(folder.glob("*.parquet")) if path.stem in old - needed)


def _frame(release: Release) -> str:
    return release.parts.get("training_frame", "").removeprefix("sha256:")
