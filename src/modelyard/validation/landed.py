"""Which landed rows no feature is made of: those that break the contract by themselves.

A snapshot is validated as a whole, and long after its rows have gone into features. So each landed row is held against
the rules that it alone can break: those that set rows aside, and critical ones that allow no exception, for which any
snapshot with such a row is quarantined. Nothing but the row is looked at: what the features of a moment are made of
depends on nothing that came later, and is the same whether an hour or a year is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.errors import ConfigError
from modelyard.core.verdict import Severity
from modelyard.ports.datasets import Rule
from modelyard.validation.breaks import ROW_RULES, Table, breaks
from modelyard.validation.contract import REFERS, SUITE, read_contract
from modelyard.validation.tables import file_values

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_OF_SEVERAL_ROWS = {"ExpectColumnValuesToBeUnique", "ExpectCompoundColumnsToBeUnique"}


@dataclass(frozen=True)
class Sound:
    """``keep``: which rows features may be made of. ``broken``: by rule, how many rows break it. ``not_applied``: rules
    that keep rows out of training and cannot be told of one row, or of these rows; with the reason."""

    keep: NDArray[np.bool_]
    broken: dict[str, int]
    not_applied: dict[str, str]

    @property
    def left_out(self) -> int:
        """How many rows are left out."""
        return int((~self.keep).sum())


class LandedRules:
    """The rules of a model's contract that one row alone can break; none where the folder has no contract.

    Raises:
        ConfigError: the contract is wrong.
    """

    def __init__(self, folder: Path, views: tuple[str, ...]) -> None:
        path = folder / SUITE
        self._rules: list[Rule] = []
        self._untold: dict[str, str] = {}
        for rule in read_contract(path).rules if path.is_file() else ():
            if rule.set_aside or (rule.severity is Severity.BLOCKER and rule.arguments.get("mostly", 1) == 1):
                self._take(rule, folder, views)

    def judge(self, rows: pd.DataFrame) -> Sound:
        """Hold rows against the rules."""
        table, keep = Table(rows), np.ones(len(rows), dtype=bool)
        broken: dict[str, int] = {}
        untold = dict(self._untold)
        for rule in self._rules:
            try:
                found = breaks(table, rule.type, rule.arguments)
            except Exception as error:  # noqa: BLE001  as in a snapshot, where its verdict would be an error
                untold[rule.id] = f"{type(error).__name__}: {error}"
                continue
            if found is None:
                untold[rule.id] = "which rows break it cannot be told of such a column"
            elif found.broken.any():
                broken[rule.id] = int(found.broken.sum())
                keep &= ~found.broken
        return Sound(keep, broken, untold)

    def _take(self, rule: Rule, folder: Path, views: tuple[str, ...]) -> None:
        given = rule.arguments
        if rule.type == REFERS and given["table"] in views:
            self._untold[rule.id] = "it refers to a feature view, which is made of these rows"
        elif rule.type == REFERS:
            try:
                values = sorted(file_values(folder, given["table"], given["key"], views))
            except (ConfigError, OSError, ValueError, KeyError) as error:
                self._untold[rule.id] = str(error)
                return
            listed = {"column": given["column"], "value_set": values}
            self._rules.append(rule.model_copy(update={"type": "ExpectColumnValuesToBeInSet", "arguments": listed}))
        elif rule.type in _OF_SEVERAL_ROWS:
            if rule.set_aside:
                self._untold[rule.id] = "it is about several rows"
        elif rule.type in ROW_RULES:
            self._rules.append(rule)
