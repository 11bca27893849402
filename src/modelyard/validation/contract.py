"""A model's data contract: the reviewed file ``expectations.yaml``, checked at the edge.

    bad_rows: {max_share: 0.01}
    expectations:
      - {type: ExpectColumnValuesToBeUnique, severity: critical, column: key}
      - {type: ExpectColumnValuesToBeBetween, severity: warning, bad_rows: set_aside, column: age, min_value: 0}
      - {type: FreshRows, severity: critical, column: known_at, max_age_hours: 48}

``type`` is any expectation of Great Expectations with its own arguments, or one of ``PLATFORM_RULES``, which are about
the platform and not only about the table. ``critical`` blocks the snapshot; ``warning`` is recorded. ``set_aside``
keeps the rows that break a warning out of training, as long as all of them together are at most ``max_share``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.config.yaml_file import read_yaml
from modelyard.core.errors import ConfigError
from modelyard.core.value import Value
from modelyard.core.verdict import Severity
from modelyard.ports.datasets import Rule
from modelyard.validation.breaks import ROW_RULES

SUITE = "expectations.yaml"
"""The contract's file in a model's folder."""

SEVERITIES = {"critical": Severity.BLOCKER, "warning": Severity.WARNING}
SET_ASIDE = "set_aside"

FRESH, VOLUME, REFERS, DISTRIBUTION = "FreshRows", "RowsPerDay", "ValuesReferTo", "DistributionLikeReference"
PLATFORM_RULES: dict[str, dict[str, type | tuple[type, ...]]] = {
    FRESH: {"column": str, "max_age_hours": (int, float)},
    VOLUME: {"min_value": (int, float), "max_value": (int, float)},
    REFERS: {"column": str, "table": str, "key": str, "mostly": (int, float)},
    DISTRIBUTION: {"column": str, "max_psi": (int, float)},
}
"""The platform's own rules and their arguments; all are needed but ``mostly``.

- ``FreshRows``: the column's newest moment is at most so many hours before the snapshot's ``as_of``, and not after it.
- ``RowsPerDay``: rows per day of the snapshot's window.
- ``ValuesReferTo``: each value is in the column ``key`` of ``table``: a feature view of the model, or a CSV or Parquet
  file in its folder.
- ``DistributionLikeReference``: the column's PSI against the champion's reference profile (``drift.score``). Without a
  champion there is nothing to compare with: the rule is then inconclusive and blocks nothing, and says so.
"""
OPTIONAL = frozenset({"mostly"})


class Contract(Value):
    """All rules, and the share of rows that may be set aside (0: none)."""

    rules: tuple[Rule, ...]
    max_share: float = 0.0
    where: str = ""


def read_contract(path: Path) -> Contract:
    """Read and check a contract; arguments of Great Expectations' own types are checked by it, when it is run.

    Raises:
        ConfigError: a key, type, severity or argument is not accepted.
    """
    data = read_yaml(path)
    known = {"expectations", "bad_rows"}
    if unknown := set(data) - known:
        raise ConfigError("key", min(unknown), known, where=str(path))
    entries = data.get("expectations")
    if not isinstance(entries, list) or not entries:
        raise ConfigError("expectations", entries, "a list of at least one expectation", where=str(path))
    share = _max_share(data.get("bad_rows"), str(path))
    rules: list[Rule] = []
    seen: Counter[str] = Counter()
    for place, entry in enumerate(entries, 1):
        rule = _rule(entry, f"{path}: expectation {place}", share)
        seen[rule.id] += 1
        times = seen[rule.id]
        rules.append(rule if times == 1 else rule.model_copy(update={"id": f"{rule.id}#{times}"}))
    return Contract(rules=tuple(rules), max_share=share, where=str(path))


def _max_share(given: Any, where: str) -> float:
    if given is None:
        return 0.0
    share = given.get("max_share") if isinstance(given, dict) and set(given) == {"max_share"} else None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise ConfigError("bad_rows", given, "{max_share: a share of the rows above 0 and below 1}", where=where)
    return float(share)


def _rule(entry: Any, where: str, share: float) -> Rule:
    if not isinstance(entry, dict):
        raise ConfigError("expectation", entry, "a mapping with type and severity", where=where)
    arguments = {str(key): value for key, value in entry.items()}
    kind, severity = arguments.pop("type", None), arguments.pop("severity", None)
    bad_rows = arguments.pop("bad_rows", None)
    if not isinstance(severity, str) or severity not in SEVERITIES:
        raise ConfigError("severity", severity, SEVERITIES, where=where)
    if not isinstance(kind, str):
        raise ConfigError("type", kind, "an expectation of Great Expectations or a rule of the platform", where=where)
    if kind in PLATFORM_RULES:
        _check_own(kind, arguments, where)
    if bad_rows is not None:
        _check_set_aside(kind, severity, bad_rows, share, where)
    made = Rule(id="", type=kind, severity=SEVERITIES[severity], set_aside=bad_rows is not None, arguments=arguments)
    return made.model_copy(update={"id": f"{kind}({made.column})"})


def _check_set_aside(kind: str, severity: str, given: object, share: float, where: str) -> None:
    if given != SET_ASIDE:
        raise ConfigError("bad_rows", given, [SET_ASIDE], where=where)
    if severity != "warning":
        raise ConfigError("severity", severity, "warning: rows that break a critical rule block", where=where)
    if kind not in ROW_RULES and kind != REFERS:
        raise ConfigError("type", kind, [*ROW_RULES, REFERS], where=where, hint="Only these can name the bad rows.")
    if not share:
        raise ConfigError("bad_rows", given, "a contract that says bad_rows: {max_share: ...} at its top", where=where)


def _check_own(kind: str, arguments: Mapping[str, Any], where: str) -> None:
    accepted = PLATFORM_RULES[kind]
    if unknown := set(arguments) - set(accepted):
        raise ConfigError("argument", min(unknown), accepted, where=where)
    for name, types in accepted.items():
        if name not in arguments and name in OPTIONAL:
            continue
        value = arguments.get(name)
        if not isinstance(value, types) or isinstance(value, bool):
            wanted = "text" if types is str else "a number"
            raise ConfigError(f"{kind}.{name}", value, wanted, where=where)
        if isinstance(value, int | float) and not 0 <= value < float("inf"):
            raise ConfigError(f"{kind}.{name}", value, "a finite number from 0 on", where=where)
