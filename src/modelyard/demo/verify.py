"""``python -m modelyard.demo.verify SUMMARY``: whether a whole demo showed what it is there to show."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_UNANSWERED = ("first", "shadow", "revert")
"""Strategies in which no request goes to a challenger."""


def shortcomings(summary: Mapping[str, Any]) -> Iterator[str]:
    """What the summary of a demo that went through all stages lacks; nothing when the demo showed everything."""
    outcomes = {rollout["release"]: rollout["outcome"] for rollout in summary["rollouts"]}
    causes = {made["release"]: made for made in summary["retrainings"]}
    champion = (summary["champion"] or {}).get("release")

    drift = [r for r, made in causes.items() if made["trigger"].startswith("asset:") and made["evidence"]]
    promoted = [release for release in drift if outcomes.get(release) == "promoted"]
    if not promoted:
        yield f"0 releases that drift asked for were promoted (it asked for {len(drift)})"
    if champion not in promoted:
        yield f"the champion is {champion}, not one that drift asked for"

    caught = [r for r, outcome in outcomes.items() if outcome == "rolled_back"]
    if len(caught) != 1 or causes.get(caught[0], {}).get("trigger") != "manual":
        yield f"{len(caught)} releases were rolled back, not the one bad version that was made by hand"
    for release in caught:
        given = [a for a in summary["approvals"] if a["release"] == release and a["answer"] == "approve"]
        people = {a["who"] for a in given if not a["automatic"]}
        if len(people) < 2:
            yield f"the bad version was approved by {len(people)} people, not by 2"
    if any(not _under_traffic(rollout) for rollout in summary["rollouts"] if rollout["strategy"] not in _UNANSWERED):
        yield "a rollout went on without a request to the challenger"

    if summary["requests_failed"] or not summary["requests_total"]:
        yield f"{summary['requests_failed']} of {summary['requests_total']} requests failed"


def _under_traffic(rollout: Mapping[str, Any]) -> bool:
    return any(stage["requests"].get("challenger") for stage in rollout["stages"])


def main(arguments: list[str]) -> int:
    """Print each shortcoming of the summary in this file; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m modelyard.demo.verify SUMMARY", file=sys.stderr)
        return 2
    try:
        found = list(shortcomings(json.loads(Path(arguments[0]).read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError) as error:
        found = [f"{arguments[0]} is not the summary of a demo: {error!r}"]
    for line in found:
        print(f"demo: {line}", file=sys.stderr)
    print("demo: FAILED" if found else "demo: drift retrained, the bad version was rolled back, no request failed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
