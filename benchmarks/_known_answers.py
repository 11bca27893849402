"""The tables of docs/drift-known-answers.md, written from the result file between the page's marks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from _report import ROOT

PAGE = ROOT / "docs" / "drift-known-answers.md"
BEGIN, END = "<!-- tables: make bench-known_answers -->", "<!-- end of tables -->"
TITLES = {"inputs": "Inputs", "answers": "Answers"}
Table = dict[str, Any]


def put_tables(result: Path, page: Path) -> None:
    """Replace what stands between the page's marks.

    Raises:
        ValueError: the page lacks the marks.
    """
    text = page.read_text()
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{page} has no place for tables: {BEGIN} and {END} are missing")
    page.write_text(f"{before}{BEGIN}\n\n{rendered(json.loads(result.read_text()))}\n{END}{after}")


def rendered(result: dict[str, Any]) -> str:
    """All tables, in Markdown."""
    lines: list[str] = []
    for kind, part in ((k, result["parts"][k]) for k in TITLES if k in result["parts"]):
        streams = f"{part['plan']['streams']} streams for each purpose, seed {part['seed']}, commit {part['commit']}."
        lines += [f"### {TITLES[kind]}", "", streams, "", *_false_alarms(part["tables"]), ""]
        for table in part["tables"]:
            lines += [*_delays(table), ""]
    return "\n".join(lines)


def _false_alarms(tables: list[Table]) -> Iterable[str]:
    names = [table["family"] for table in tables]
    yield "False alarms per 100 days, at the level that a detector comes with / at the one found on independent rows:"
    yield ""
    yield from _head(["detector", *names])
    for place, detector in enumerate(tables[0]["detectors"]):
        cells = [_pair(table["detectors"][place]) for table in tables]
        yield _line([_name(detector), *cells])


def _pair(detector: Table) -> str:
    # On independent rows the level found there is the calibrated one.
    carried = detector["carried_false_alarms"]
    return (
        f"{_rate(detector['default_false_alarms'])} / {_rate(detector['false_alarms'] if carried is None else carried)}"
    )


def _delays(table: Table) -> Iterable[str]:
    drifts = list(table["planted"])
    planted = "; ".join(f"{drift}: {what}" for drift, what in table["planted"].items())
    yield f"**{TITLES[table['kind']]}, {table['family']}.** {planted[0].upper()}{planted[1:]}"
    yield ""
    yield from _head(["detector", "false alarms", *drifts])
    best = {drift: min(d["drifts"][drift]["delay"] for d in table["detectors"]) for drift in drifts}
    for detector in table["detectors"]:
        cells = [_seen(detector["drifts"][drift], best[drift]) for drift in drifts]
        alarms = f"{_rate(detector['false_alarms'])} ± {_rate(detector['false_alarms_half_width'])}"
        yield _line([_name(detector), alarms, *cells])
    chance = table["chance"]
    yield _line(["*alarms at random*", "1.0", *([f"{chance['delay']:.1f} ({chance['missed']:.0%})"] * len(drifts))])


def _name(detector: Table) -> str:
    return f"{detector['who']}: {detector['detector']}"


def _seen(found: Table, best: float) -> str:
    text = f"{found['delay']:.1f} ± {found['half_width']:.1f} ({found['missed']:.0%})"
    return f"**{text}**" if found["delay"] == best else text


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _head(names: list[str]) -> Iterable[str]:
    yield _line(names)
    yield "|" + "---|" * len(names)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
