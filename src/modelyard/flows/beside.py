"""What policies beside the one in force would have done, each held back by its own past and not by the other's.

Every row of history carries the moments at which each such policy asked for a retraining, so that a budget of a year
needs no year of rows. The model, its training and what is under way are the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from modelyard.drift.governor import History, Past, Signals, decide
from modelyard.drift.policy import DriftPolicy
from modelyard.ports.ledger import Json


def tried(signals: Signals, history: History, policy: DriftPolicy, earlier: Sequence[Json]) -> Json:
    """For each policy beside: ``action``, ``reasons``, and ``asked``, its retrainings within its budget's days.

    ``earlier`` are rows of history, oldest first; those of this moment or later ones are not looked at.
    """
    before = [row for row in earlier if datetime.fromisoformat(row["as_of"]) < signals.as_of]
    return {name: _tried(name, signals, history, beside, before) for name, beside in policy.beside.items()}


def _tried(name: str, signals: Signals, history: History, policy: DriftPolicy, before: Sequence[Json]) -> Json:
    rows = [(row, row["dry_run"][name]) for row in before if name in (row.get("dry_run") or {})]
    oldest = signals.as_of - timedelta(days=policy.restraint.budget_days)
    carried = rows[-1][1].get("asked", []) if rows else []
    asked = [a for a in carried if datetime.fromisoformat(a["at"]) > oldest]
    said = (
        Past(at=row["as_of"], action=own["action"], champion=row["champion"] or "")
        for row, own in rows
        if own["action"] != "retrain"
    )
    past = (*said, *(Past(at=a["at"], action="retrain", champion=a["champion"]) for a in asked))
    decision = decide(signals, history.model_copy(update={"past": past}), policy, signals.as_of)
    if decision.action == "retrain":
        asked.append({"at": signals.as_of.isoformat(), "champion": signals.champion or ""})
    return {"action": decision.action, "reasons": list(decision.reasons), "asked": asked}
