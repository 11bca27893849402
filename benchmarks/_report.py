"""What all benchmarks share: the result file, and its table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, ours beside a peer's. ``better`` says which way is good."""

    figure: str
    ours: float
    unit: str
    peer: str
    peer_value: float
    better: str

    @property
    def ratio(self) -> float:
        """Above 1 where ours is better."""
        pair = (self.ours, self.peer_value) if self.better == "higher" else (self.peer_value, self.ours)
        return pair[0] / pair[1] if pair[1] else float("inf")


def write(name: str, rows: list[Row], **more: Any) -> Path:
    """Write ``benchmarks/results/NAME.json`` and print the table."""
    content = {
        "name": name,
        "commit": _commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "rows": [asdict(row) | {"ratio": round(row.ratio, 4)} for row in rows],
        **more,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    _print(rows)
    print(f"written to {path.relative_to(ROOT)}")
    return path


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _print(rows: list[Row]) -> None:
    wide = max(len(row.figure) for row in rows)
    print(f"{'figure':{wide}}  {'ours':>10}  {'peer':>10}  {'ratio':>6}  peer")
    for row in rows:
        ours, peer = f"{row.ours:.4g}", f"{row.peer_value:.4g}"
        print(f"{row.figure:{wide}}  {ours:>10}  {peer:>10}  {row.ratio:6.2f}  {row.peer} ({row.unit}, {row.better})")
