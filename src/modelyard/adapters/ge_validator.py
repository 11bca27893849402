"""Great Expectations: ``ports.datasets.Validator``.

Great Expectations is the contract and the document: its expectations are what a rule means, its decision (``mostly``,
an empty table, a missing value) is the verdict, and its suite, its result and its Data Docs are what is kept. The rows
are counted by ``validation.breaks``, in whole columns and each column once; where that has no answer, or fails, Great
Expectations counts as well. Both ways give the same verdicts, which is tested on hostile tables.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.adapters.ge_counts import counted
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError
from modelyard.core.records import Snapshot
from modelyard.core.verdict import Measurement, Outcome, Verdict
from modelyard.ports.datasets import Rule, ValidationReport
from modelyard.validation.breaks import Table
from modelyard.validation.contract import PLATFORM_RULES

if TYPE_CHECKING:
    import pandas as pd

_NULLS = ("ExpectColumnValuesToNotBeNull", "ExpectColumnValuesToBeNull")
_FORMAT = "SUMMARY"


class GreatExpectationsValidator:
    """Runs rules and keeps Data Docs under ``folder/<snapshot>``.

    ``alone`` lets Great Expectations count everything itself: the peer that the other way is held against.
    """

    def __init__(self, folder: Path, *, alone: bool = False) -> None:
        self._folder, self._alone = folder, alone

    def validate(
        self, snapshot: Snapshot, frame: pd.DataFrame, rules: Sequence[Rule], as_of: datetime, *, where: str = ""
    ) -> ValidationReport:
        """Evaluate all rules; one that cannot be evaluated has outcome ``error``. ``where`` is their file, for errors.

        Raises:
            ConfigError: a rule is no expectation of Great Expectations, or has wrong arguments.
        """
        gx = load()
        expectations = [_expectation(gx, rule, where) for rule in rules]
        home = self._home(snapshot.model, snapshot.content)
        # A repeated validation replaces its documents: nothing of an interrupted one is left.
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        context = gx.get_context(mode="file", project_root_dir=str(home))
        context.variables.progress_bars = {"globally": False}
        suite = context.suites.add(gx.ExpectationSuite(snapshot.model, expectations=expectations))
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        table = Table(frame)
        results = [self._result(table, batch, rule, e) for rule, e in zip(rules, suite.expectations, strict=True)]
        _document(gx, context, suite, batch, results)
        verdicts = tuple(_verdict(rule, r, snapshot) for rule, r in zip(rules, results, strict=True))
        document = self.document(snapshot.model, snapshot.content)
        return ValidationReport(snapshot=snapshot.content, verdicts=verdicts, document=str(document), as_of=as_of)

    def _result(self, table: Table, batch: Any, rule: Rule, expectation: Any) -> Any:
        result = None if self._alone else counted(table, rule, expectation, _FORMAT)
        return batch.validate(expectation, result_format=_FORMAT) if result is None else result

    def document(self, model: str, content: str) -> Path:
        """The first page of the snapshot's Data Docs."""
        return self._home(model, content) / "gx" / "uncommitted" / "data_docs" / "local_site" / "index.html"

    def _home(self, model: str, content: str) -> Path:
        return self._folder / model / short(content, 16)


def load() -> Any:
    """Import Great Expectations.

    Costs seconds; who forks does it once for its children.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    # Airflow's SDK leaves a handler at INFO on the root logger, and Great Expectations would fill it.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations

    return great_expectations


def _expectation(gx: Any, rule: Rule, where: str) -> Any:
    where = f"{where}: {rule.id}" if where else rule.id
    known = [name for name in vars(gx.expectations) if name.startswith("Expect")]
    if rule.type not in known:
        raise ConfigError("type", rule.type, [*known, *PLATFORM_RULES], where=where)
    cls = getattr(gx.expectations, rule.type)
    # Great Expectations itself ignores an argument that it does not know, and the check would silently be another one.
    if unknown := set(rule.arguments) - set(cls.model_fields if hasattr(cls, "model_fields") else cls.__fields__):
        raise ConfigError("argument", min(unknown), cls.__fields__, where=where)
    try:
        return cls(severity="critical" if rule.severity.rank == 2 else "warning", **rule.arguments)
    except ValueError as error:
        raise ConfigError(str(rule.type), rule.arguments, str(error), where=where) from None


def _document(gx: Any, context: Any, suite: Any, batch: Any, results: Sequence[Any]) -> None:
    """Keep the result where Great Expectations keeps its own, and draw the Data Docs."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    run_id, held = RunIdentifier(run_time=datetime.now(UTC)), sum(bool(r.success) for r in results)
    whole = ExpectationSuiteValidationResult(
        results=list(results),
        success=held == len(results),
        suite_name=suite.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": held,
            "unsuccessful_expectations": len(results) - held,
            "success_percent": 100 * held / len(results) if results else None,
        },
        meta={
            "great_expectations_version": gx.__version__,
            "run_id": run_id,
            "validation_time": run_id.run_time,
            "active_batch_definition": {"datasource_name": "rows", "data_asset_name": "rows"},
        },
        batch_id=batch.id,
    )
    of_suite = ExpectationSuiteIdentifier(name=suite.name)
    key = ValidationResultIdentifier(batch_identifier=batch.id, expectation_suite_identifier=of_suite, run_id=run_id)
    context.validation_results_store.store_validation_results(whole, key, expectation_suite_identifier=of_suite)
    context.build_data_docs()


def _verdict(rule: Rule, result: Any, snapshot: Snapshot) -> Verdict:
    raised = _exception(result)
    outcome = Outcome.ERROR if raised else Outcome.SUCCESSFUL if result.success else Outcome.FAILED
    reason = raised or _reason(rule.id, result)
    details = result.result or {}
    missing, rows = details.get("missing_count"), details.get("element_count")
    if outcome is Outcome.SUCCESSFUL and rule.type not in _NULLS and rows and missing == rows:
        # Great Expectations calls this a success; nothing was looked at, and no evidence is never a pass.
        outcome = Outcome.INCONCLUSIVE
        reason = f"{rule.id}: every value of {rule.column} is missing, so there is nothing to check"
    return Verdict(
        check=rule.id,
        outcome=outcome,
        severity=rule.severity,
        reason=reason,
        measurements=(_measurement(rule.id, result, snapshot, raised),),
        category="data",
    )


def _exception(result: Any) -> str:
    info = result.exception_info or {}
    # Either one exception, or one per metric that could not be computed.
    found = [info] if "raised_exception" in info else list(info.values())
    return next((str(i.get("exception_message")) for i in found if i.get("raised_exception")), "")


def _reason(name: str, result: Any) -> str:
    if result.success:
        return f"{name} holds"
    details = result.result or {}
    count = details.get("unexpected_count")
    if count is not None:
        examples = ", ".join(map(str, details.get("partial_unexpected_list", [])[:3]))
        return f"{name}: {count} of {details.get('element_count')} rows break it (for instance {examples})"
    return f"{name}: found {details.get('observed_value')}"


def _measurement(name: str, result: Any, snapshot: Snapshot, raised: str) -> Measurement:
    details = result.result or {}
    value = details.get("unexpected_percent", details.get("observed_value"))
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and number - number != 0:
        number, raised = None, f"it is {value}"
    why = "" if number is not None else raised or "the expectation gives no number"
    unit = "%" if "unexpected_percent" in details else ""
    return Measurement(name=name, value=number, unit=unit, n=snapshot.rows, subject=snapshot.content, why=why)
