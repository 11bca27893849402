"""The rows that break a contract, with the reason for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.verdict import Severity
from modelyard.ports.datasets import Rule
from modelyard.validation.breaks import Table, breaks

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("row", "key", "rule", "severity", "set_aside", "column", "value")


def find(frame: pd.DataFrame, rules: Sequence[Rule], key: str) -> pd.DataFrame:
    """One line per row and rule broken, ``COLUMNS``. ``row`` counts from 0 in the frame, ``value`` is written as text.

    Looked at are the critical rules and those that set rows aside; a rule that cannot name its rows (a mean, say)
    names none.
    """
    import pandas as pd

    table = Table(frame)
    parts = [_of(table, rule, key) for rule in rules if rule.set_aside or rule.severity is Severity.BLOCKER]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    types = {name: bool if name == "set_aside" else "int64" if name == "row" else object for name in COLUMNS}
    return found.astype(types).sort_values(["row", "rule"], kind="stable", ignore_index=True)


def _of(table: Table, rule: Rule, key: str) -> pd.DataFrame:
    import pandas as pd

    try:
        broken = breaks(table, rule.type, rule.arguments)
    except Exception:  # noqa: BLE001  the rule could not be evaluated at all; its verdict says so
        broken = None
    if broken is None:
        return pd.DataFrame(columns=list(COLUMNS))
    places = np.flatnonzero(broken.broken)
    rows = table.frame.iloc[places]
    values = [[None if pd.isna(v) else str(v) for v in rows[c]] for c in broken.columns]
    return pd.DataFrame(
        {
            "row": places,
            "key": rows[key].astype(str).to_numpy() if key in rows else None,
            "rule": rule.id,
            "severity": rule.severity.value,
            "set_aside": rule.set_aside,
            "column": ", ".join(broken.columns),
            "value": [v[0] if len(v) == 1 else ", ".join(map(str, v)) for v in zip(*values, strict=True)],
        }
    )
