"""Prints the kept result of ``bench_replay.py`` as the tables of docs/drift-replay.md."""

from __future__ import annotations

import json
from typing import Any

from _report import RESULTS

OURS = "governor"
HEAD = """| policy | refits (most) | turned down | backs | recalibrations | probes | weeks 14-51 | weeks 27-51 |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print them."""
    print(tables(json.loads((RESULTS / "replay.json").read_text())["replay"]))


def tables(replay: dict[str, Any]) -> str:
    """One table for each family, in Markdown: the mean over the starts, losses in thousandths."""
    later = {(m["policy"], m["family"]): m for m in replay["untouched"]["means"]}
    seeds = {m["family"]: m["seeds"] for m in replay["rows"]}
    lines: list[str] = []
    for family, count in seeds.items():
        of = f", mean of {count} seeds" if count > 1 else ""
        lines += ["", f"**{family}**{of}", "", HEAD]
        means = [m for m in replay["means"] if m["family"] == family]
        lines += [_line(m, later[m["policy"], family]) for m in means]
    return "\n".join(lines).strip()


def _line(mean: dict[str, Any], later: dict[str, Any]) -> str:
    name = f"**{mean['policy']}**" if mean["policy"] == OURS else mean["policy"]
    refits = f"{mean['refits']:.1f} ({mean['most_refits']})"
    guarded = [f"{mean[key]:.1f}" for key in ("turned_down", "backs")]
    counts = [f"{mean[key]:.0f}" for key in ("recalibrations", "probes")]
    return f"| {' | '.join([name, refits, *guarded, *counts, _excess(mean), _excess(later)])} |"


def _excess(mean: dict[str, Any]) -> str:
    value, low, high = (1000 * mean[key] for key in ("excess_over_weekly", "excess_low", "excess_high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
