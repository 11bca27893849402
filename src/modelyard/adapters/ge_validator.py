"""Great Expectations: ``ports.datasets.Validator``.

The reviewed file of a model reads

    expectations:
      - {type: ExpectColumnValuesToBeUnique, severity: critical, column: key}

where ``type`` is any expectation of Great Expectations, the rest its arguments, and ``severity`` is ``critical`` (the
snapshot is quarantined) or ``warning``.
"""

from __future__ import annotations

import logging
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.config.yaml_file import read_yaml
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError
from modelyard.core.records import Snapshot
from modelyard.core.verdict import Measurement, Outcome, Severity, Verdict
from modelyard.ports.datasets import ValidationReport

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = {"critical": Severity.BLOCKER, "warning": Severity.WARNING}


class GreatExpectationsValidator:
    """Runs suites and keeps Data Docs under ``folder/<snapshot>``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def validate(self, snapshot: Snapshot, frame: pd.DataFrame, suite: Path, as_of: datetime) -> ValidationReport:
        """Evaluate all expectations; one that cannot be evaluated has outcome ``error``."""
        gx = load()
        home = self._home(snapshot.model, snapshot.content)
        # A repeated validation replaces its documents: nothing of an interrupted one is left.
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        context = gx.get_context(mode="file", project_root_dir=str(home))
        context.variables.progress_bars = {"globally": False}
        batch = (
            context.data_sources.add_pandas("rows")
            .add_dataframe_asset("rows")
            .add_batch_definition_whole_dataframe("all")
        )
        expectations = context.suites.add(gx.ExpectationSuite(snapshot.model, expectations=_expectations(gx, suite)))
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=short(snapshot.content, 16), data=batch, suite=expectations)
        )
        checkpoint = gx.Checkpoint(
            name="admission",
            validation_definitions=[definition],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs")],
            result_format={"result_format": "SUMMARY"},
        )
        run = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
        (result,) = run.run_results.values()
        document = self.document(snapshot.model, snapshot.content)
        verdicts = tuple(_verdict(r, snapshot) for r in result.results)
        return ValidationReport(snapshot=snapshot.content, verdicts=verdicts, document=str(document), as_of=as_of)

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


def _expectations(gx: Any, suite: Path) -> list[Any]:
    entries = read_yaml(suite).get("expectations")
    if not isinstance(entries, list) or not entries:
        raise ConfigError("expectations", entries, "a list of at least one expectation", where=str(suite))
    return [_expectation(gx, entry, f"{suite}: expectation {place}") for place, entry in enumerate(entries, 1)]


def _expectation(gx: Any, entry: dict[str, Any], where: str) -> Any:
    arguments = dict(entry)
    kind, severity = arguments.pop("type", None), arguments.pop("severity", None)
    if severity not in SEVERITIES:
        raise ConfigError("severity", severity, SEVERITIES, where=where)
    known = [name for name in vars(gx.expectations) if name.startswith("Expect")]
    if kind not in known:
        raise ConfigError("type", kind, known, where=where)
    cls = getattr(gx.expectations, str(kind))
    # Great Expectations itself ignores an argument that it does not know, and the check would silently be another one.
    if unknown := set(arguments) - set(cls.model_fields if hasattr(cls, "model_fields") else cls.__fields__):
        raise ConfigError("argument", min(unknown), cls.__fields__, where=where)
    try:
        return cls(severity=severity, **arguments)
    except ValueError as error:
        raise ConfigError(str(kind), arguments, str(error), where=where) from None


def _verdict(result: Any, snapshot: Snapshot) -> Verdict:
    config = result.expectation_config
    column = config.kwargs.get("column") or config.kwargs.get("column_A") or "table"
    name = f"{config.type}({column})"
    raised = _exception(result)
    outcome = Outcome.ERROR if raised else Outcome.SUCCESSFUL if result.success else Outcome.FAILED
    return Verdict(
        check=name,
        outcome=outcome,
        severity=SEVERITIES[str(getattr(config.severity, "value", config.severity))],
        reason=raised or _reason(name, result),
        measurements=(_measurement(name, result, snapshot, raised),),
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
    why = "" if number is not None else raised or "the expectation gives no number"
    unit = "%" if "unexpected_percent" in details else ""
    return Measurement(name=name, value=number, unit=unit, n=snapshot.rows, subject=snapshot.content, why=why)
