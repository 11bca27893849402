"""What all benchmarks share: the result file, its table, and the facts of the machine that it was taken on.

A benchmark of several parts keeps each under its own name, with its own commit and facts: a part may be taken again
without the others.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, ours beside a peer's. ``better`` says which way is good; ``target`` is the ratio that is wanted."""

    figure: str
    ours: float
    unit: str
    peer: str
    peer_value: float
    better: str
    target: float | None = None

    @property
    def ratio(self) -> float:
        """Above 1 where ours is better; as good where both are zero."""
        pair = (self.ours, self.peer_value) if self.better == "higher" else (self.peer_value, self.ours)
        if not pair[1]:
            return 1.0 if not pair[0] else float("inf")
        return pair[0] / pair[1]

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        return None if self.target is None else self.ratio >= self.target

    def to_dict(self) -> dict[str, Any]:
        """As it is written; a ratio to nothing has no number in JSON."""
        ratio = round(self.ratio, 4) if self.ratio != float("inf") else None
        return asdict(self) | {"ratio": ratio, "met": self.met}


class Facts:
    """The machine while something was measured. ``others`` is the share of its processors that other programs took:
    beyond a few percent, figures near a limit are not to be relied on.
    """

    def __init__(self) -> None:
        self._started, self._load = datetime.now(UTC), os.getloadavg()
        self._clock, self._before = time.perf_counter(), (_busy_s(), _own_s())

    def to_dict(self) -> dict[str, Any]:
        """From the beginning until now; what was started must have ended."""
        seconds = time.perf_counter() - self._clock
        busy, own = (after - before for after, before in zip((_busy_s(), _own_s()), self._before, strict=True))
        others = max(busy - own, 0) / seconds / (os.cpu_count() or 1)
        return {
            "commit": commit(),
            "taken_at": self._started.isoformat(timespec="seconds"),
            "machine": machine(),
            "load_average": {"before": _rounded(self._load), "after": _rounded(os.getloadavg())},
            "others": round(others, 3),
            "seconds": round(seconds, 1),
        }


def write(name: str, rows: list[Row], **more: Any) -> Path:
    """Write ``benchmarks/results/NAME.json`` and print the table."""
    content = {"name": name, "commit": commit(), "machine": machine(), "rows": [r.to_dict() for r in rows], **more}
    return _write(RESULTS / f"{name}.json", content, rows)


def write_part(path: Path, part: str, rows: list[Row], facts: Facts, **more: Any) -> Path:
    """Put one part into the result file, beside what is there of the others, and print its table."""
    taken = facts.to_dict() | {"rows": [row.to_dict() for row in rows], **more}
    return _write(path, {"name": path.stem, "parts": parts(path) | {part: taken}}, rows)


def parts(path: Path) -> dict[str, Any]:
    """The parts that a result file has."""
    found: dict[str, Any] = json.loads(path.read_text())["parts"] if path.is_file() else {}
    return found


def table(path: Path, names: Sequence[str]) -> None:
    """Print what a result file says of these parts."""
    for name, part in parts(path).items():
        if name in names:
            others = "unknown" if part["others"] is None else f"{part['others']:.0%}"
            print(f"\n{name}: commit {part['commit']}, other programs' share of the processors: {others}")
            fields = ("figure", "ours", "unit", "peer", "peer_value", "better", "target")
            _print([Row(*(row.get(field) for field in fields)) for row in part["rows"]])
            for peer, why in part.get("absent", {}).items():
                print(f"{peer}: not measured: {why}")


def commit() -> str:
    """The commit, with ``-dirty`` where the tree has changes other than results and what is drawn from them."""
    name = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs")
    return f"{name}-dirty" if name and changed else name or "unknown"


def _git(*arguments: str) -> str:
    asked = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> str:
    """Architecture, cores, Python."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _write(path: Path, content: dict[str, Any], rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    _print(rows)
    print(f"written to {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", flush=True)
    return path


def _print(rows: list[Row]) -> None:
    wide = max((len(row.figure) for row in rows), default=0)
    print(f"{'figure':{wide}}  {'ours':>10}  {'peer':>10}  {'ratio':>6}  {'target':>10}  peer")
    for row in rows:
        ours, peer = f"{row.ours:.4g}", f"{row.peer_value:.4g}"
        target = "" if row.target is None else f"{row.target:g} {'met' if row.met else 'MISSED'}"
        end = f"{target:>10}  {row.peer} ({row.unit}, {row.better})"
        print(f"{row.figure:{wide}}  {ours:>10}  {peer:>10}  {row.ratio:6.2f}  {end}")


def _rounded(load: tuple[float, float, float]) -> list[float]:
    return [round(each, 2) for each in load]


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _own_s() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
