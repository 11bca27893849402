"""Bad rows of a snapshot: kept beside it with their reasons, and left out where the contract sets them aside.

The rows stay in the snapshot, which is immutable. What is left out is part of the decision that admitted it: the
decision names the file of bad rows by digest, and nobody reads the rows otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.core.digest import digest_file, short
from modelyard.core.errors import IntegrityError
from modelyard.core.records import Snapshot
from modelyard.core.verdict import Condition, Decision, Measurement, Outcome, Severity, Verdict
from modelyard.data.frames import write_parquet
from modelyard.ports.datasets import Rule
from modelyard.ports.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

CHECK = "bad_rows"


def keep(platform: Platform, snapshot: Snapshot, found: pd.DataFrame, suite: str) -> Path | None:
    """Write the bad rows beside the snapshot, under the contract's digest; None where there are none."""
    if found.empty:
        return None
    path = _path(platform, snapshot, suite)
    write_parquet(found, path)
    return path


def verdict(snapshot: Snapshot, found: pd.DataFrame, max_share: float, path: Path | None) -> Verdict | None:
    """Whether the rows to set aside are few enough to go on without them; None where no row is to be set aside."""
    wanted = found[found["set_aside"]]
    if wanted.empty or path is None:
        return None
    rows = int(wanted["row"].nunique())
    share = rows / snapshot.rows
    few = share <= max_share
    by_rule = ", ".join(f"{rule}: {n}" for rule, n in wanted["rule"].value_counts().sort_index().items())
    does = "are set aside" if few else f"are more than the {max_share:.2%} that may be set aside"
    return Verdict(
        check=CHECK,
        outcome=Outcome.SUCCESSFUL if few else Outcome.FAILED,
        severity=Severity.BLOCKER,
        reason=f"{rows} rows ({share:.2%}) {does} ({by_rule}); each with its reason in {path}",
        condition=Condition(direction="at_most", bound=max_share),
        measurements=(
            Measurement(name="share_set_aside", value=share, n=snapshot.rows, subject=snapshot.content),
            Measurement(name="rows_set_aside", value=rows, n=snapshot.rows, evidence=digest_file(path)),
        ),
        category="data",
    )


def untold(rules: Iterable[Rule], verdicts: Iterable[Verdict], found: pd.DataFrame) -> tuple[Verdict, ...]:
    """A blocking verdict for each rule that shall set rows aside, is broken or in error, and names none of its rows.

    Rows that cannot be named (a condition on rows, a column of an unusual type, a table that cannot be read) cannot be
    kept out of training either.
    """
    named, wanted = set(found["rule"]), {rule.id for rule in rules if rule.set_aside}
    return tuple(
        Verdict(
            check=CHECK,
            outcome=Outcome.ERROR,
            severity=Severity.BLOCKER,
            reason=f"rows that break {v.check} shall be set aside, and which they are cannot be told: {v.reason}",
            measurements=v.measurements,
            category="data",
        )
        for v in verdicts
        if v.check in wanted - named and _broken(v)
    )


def _broken(verdict: Verdict) -> bool:
    """With ``mostly`` a rule holds although rows break it: their share is what was measured."""
    some = any(m.value is not None and m.value > 0 for m in verdict.measurements)
    return some or verdict.outcome in (Outcome.FAILED, Outcome.ERROR)


def without(platform: Platform, snapshot: Snapshot, rows: pd.DataFrame) -> pd.DataFrame:
    """The snapshot's rows without those that the newest admission has set aside.

    Raises:
        IntegrityError: the file that names them is gone, or is another one.
    """
    decisions = platform.ledger.journal.decisions(snapshot.model, "validation", snapshot.content)
    admitted = next((d for d in reversed(decisions) if d.action == "admit"), None)
    named = _named(admitted) if admitted is not None else None
    if admitted is None or named is None:
        return rows
    path = _path(platform, snapshot, admitted.policy)
    if not path.is_file() or digest_file(path) != named:
        raise IntegrityError(
            f"{path} does not hold the bad rows ({named}) without which {snapshot.content} was admitted; "
            f"`modelyard data validate {snapshot.content}` writes it anew"
        )
    import pandas as pd

    found = pd.read_parquet(path, columns=["row", "set_aside"])
    places = found.loc[found["set_aside"], "row"].unique()
    left: pd.DataFrame = rows.drop(index=rows.index[places]).reset_index(drop=True)
    return left


def _named(decision: Decision) -> str | None:
    measured = (m for v in decision.verdicts if v.check == CHECK for m in v.measurements)
    return next((m.evidence for m in measured if m.name == "rows_set_aside"), None)


def _path(platform: Platform, snapshot: Snapshot, suite: str) -> Path:
    beside = platform.datasets.path(snapshot)
    return beside.with_name(f"{beside.stem}.bad-rows.{short(suite, 12)}.parquet")
