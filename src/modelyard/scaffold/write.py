"""Writes the folder of a new model: commented, and working on seeded example rows until real ones replace them."""

from __future__ import annotations

import csv
import getpass
import math
import random
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template

from pydantic import TypeAdapter, ValidationError

from modelyard.core.errors import ConfigError, Conflict
from modelyard.core.value import ModelName

_ROWS = 30_000  # the gates ask for 1,000 evaluated rows, the drift policy for 1,000 labels a week
_DAYS = 90
_COLUMNS = (
    "reading_id", "read_at", "known_at", "temperature", "vibration", "hours_since_service", "site", "needs_repair",
)  # fmt: skip


def write_skeleton(name: str, folder: Path, *, end: datetime, seed: int = 0) -> list[Path]:
    """Write ``folder/name`` all or nothing; returns the files. The example rows cover the 90 days before ``end``.

    Raises:
        ConfigError: the name is not one for a model.
        Conflict: the folder exists.
    """
    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError:
        accepted = "lower-case letters, digits and _, starting with a letter, 63 at most"
        raise ConfigError("name", name, accepted) from None
    target = folder / name
    if target.exists():
        raise Conflict(f"{target} exists already; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
    try:
        _write_texts(draft, name)
        _write_rows(draft / "data.csv", end=end, seed=seed)
        draft.chmod(0o755)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return sorted(target.iterdir())


def _write_texts(folder: Path, name: str) -> None:
    values = {"name": name, "owner": getpass.getuser()}
    for source in (files("modelyard.scaffold") / "template").iterdir():
        if source.name.endswith(".txt"):
            text = Template(source.read_text(encoding="utf-8")).substitute(values)
            (folder / source.name.removesuffix(".txt")).write_text(text, encoding="utf-8")


def _write_rows(path: Path, *, end: datetime, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  example rows, not secrets
    start = end.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=_DAYS)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for number in range(_ROWS):
            writer.writerow(_row(number, start + timedelta(days=_DAYS) * (number / _ROWS), rng))


def _row(number: int, at: datetime, rng: random.Random) -> tuple[object, ...]:
    site = rng.choice(("north", "south", "harbour"))
    vibration = rng.gammavariate(2.0, 2.0)
    hours = rng.uniform(0, 4000)
    temperature = rng.gauss(60, 12)
    score = -3.2 + 0.25 * vibration + 0.0005 * hours + 0.02 * (temperature - 60) + (0.6 if site == "harbour" else 0.0)
    label = int(rng.random() < 1 / (1 + math.exp(-score)))
    seen = "" if rng.random() < 0.02 else f"{temperature:.1f}"
    known = at + timedelta(hours=rng.uniform(12, 36))
    moments = (at.isoformat(timespec="seconds"), known.isoformat(timespec="seconds"))
    return (f"r{number:06d}", *moments, seen, f"{min(vibration, 100.0):.2f}", f"{hours:.0f}", site, label)
