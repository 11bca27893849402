"""``ports.tracking`` on MLflow 3: its client only, explicit addresses, batches, and never a pickle."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.core.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    import pandas as pd

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The task that calls is retried by Airflow: a server that is away is said so within seconds, not minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
METRICS_AT_ONCE, PARAMS_AT_ONCE, TAGS_AT_ONCE = 1000, 100, 100
LONGEST_PARAM, LONGEST_TAG, LONGEST_DATASET_DIGEST = 6000, 5000, 36
BUNDLE = "bundle"
_AWAY = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "INTERNAL_ERROR"}
_TYPES = {"i": "long", "u": "long", "f": "double", "b": "boolean", "M": "datetime"}


# Without these MLflow 3.17 opens its pages for language models, where metrics and plots are hard to find.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_VIEW = "?workflowType=machine_learning"


class MlflowRun:
    """``ports.tracking.Run``."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._id = client, run_id

    @property
    def id(self) -> str:
        return self._id

    def params(self, values: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        flat = [Param(key, _text(value)[:LONGEST_PARAM]) for key, value in flatten(values).items()]
        with answers():
            for part in _parts(flat, PARAMS_AT_ONCE):
                self._client.log_batch(self._id, params=part)

    def metrics(self, rows: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        listed = list(rows)
        for name, value, step in listed:
            if not math.isfinite(value):
                raise ValueError(f"metric {name!r} at step {step} is {value}, which says nothing; it is not logged")
        with answers():
            for part in _parts([Metric(n, float(v), now, s) for n, v, s in listed], METRICS_AT_ONCE):
                self._client.log_batch(self._id, metrics=part)

    def steps(self, name: str) -> frozenset[int]:
        with answers():
            return frozenset(metric.step for metric in self._client.get_metric_history(self._id, name))

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with answers():
            for part in _parts([RunTag(k, v[:LONGEST_TAG]) for k, v in values.items()], TAGS_AT_ONCE):
                self._client.log_batch(self._id, tags=part)

    def dataset(self, frame: pd.DataFrame, *, name: str, digest: str, source: str, context: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [
            {"name": str(column), "type": _TYPES.get(frame[column].dtype.kind, "string"), "required": True}
            for column in frame.columns
        ]
        entity = Dataset(
            name=name,
            digest=digest.removeprefix("sha256:")[:LONGEST_DATASET_DIGEST],
            source_type="local",
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": len(frame), "num_elements": int(frame.size)}),
        )
        tags = [InputTag("mlflow.data.context", context)]
        with answers():
            self._client.log_inputs(self._id, datasets=[DatasetInput(dataset=entity, tags=tags)])

    def figure(self, figure: object, path: str) -> None:
        with answers():
            self._client.log_figure(self._id, figure, path)

    def folder(self, local: Path, path: str) -> None:
        with answers():
            self._client.log_artifacts(self._id, str(local), path)


class MlflowTracking:
    """``ports.tracking.Tracking`` on an MLflow server."""

    def __init__(self, uri: str, *, public_url: str = "") -> None:
        for key, value in ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        from mlflow import MlflowClient

        self._client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._url = (public_url or uri).rstrip("/")

    @contextmanager
    def start(self, experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[MlflowRun]:
        with answers():
            place = self._experiment(experiment, create=True)
            run = self._client.create_run(place, run_name=name, tags=dict(tags))
        with self._ended(run.info.run_id) as opened:
            yield opened

    @contextmanager
    def resume(self, run_id: str) -> Iterator[MlflowRun]:
        with answers():
            finished = self._client.get_run(run_id).info.status == "FINISHED"
        if finished:
            yield MlflowRun(self._client, run_id)
            return
        with self._ended(run_id) as opened:
            yield opened

    def find_run(self, experiment: str, tag: str, value: str, *, finished: bool = True) -> str | None:
        quoted = value.replace("'", "")
        query = f"tags.`{tag}` = '{quoted}'" + (" and attributes.status = 'FINISHED'" if finished else "")
        with answers():
            if (place := self._experiment(experiment, create=False)) is None:
                return None
            runs = self._client.search_runs([place], query, order_by=["attributes.start_time DESC"], max_results=1)
        return runs[0].info.run_id if runs else None

    def register(self, model: str, run_id: str, bundle: Path, tags: Mapping[str, str]) -> int:
        with answers():
            self._registered_model(model)
            same = [v for v in self._client.search_model_versions(f"name = '{model}'") if v.run_id == run_id]
            if same:
                return int(same[0].version)
            self._client.log_artifacts(run_id, str(bundle), BUNDLE)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{BUNDLE}"
            made = self._client.create_model_version(model, source, run_id, tags=dict(tags), await_creation_for=None)
        return int(made.version)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        with answers():
            self._client.set_registered_model_alias(model, alias, str(version))

    def drop_alias(self, model: str, alias: str) -> None:
        if alias in self.aliases(model):
            with answers():
                self._client.delete_registered_model_alias(model, alias)

    def aliases(self, model: str) -> dict[str, int]:
        try:
            with answers():
                found = self._client.get_registered_model(model).aliases
        except NotFound:
            return {}
        return {alias: int(version) for alias, version in found.items()}

    def tag_version(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        with answers():
            for key, value in tags.items():
                self._client.set_model_version_tag(model, str(version), key, value[:LONGEST_TAG])

    def versions(self, model: str) -> dict[int, dict[str, str]]:
        with answers():
            found = self._client.search_model_versions(f"name = '{model}'")
            return {int(v.version): dict(v.tags) for v in found}

    def run_url(self, run_id: str) -> str:
        with answers():
            place = self._client.get_run(run_id).info.experiment_id
        return f"{self._url}/#/experiments/{place}/runs/{run_id}{_VIEW}"

    def _experiment(self, name: str, *, create: bool) -> str | None:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        if not create:
            return None
        try:
            return str(self._client.create_experiment(name, tags=_KIND))
        except Exception as error:
            if _code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        # Another task was quicker.
        return str(self._client.get_experiment_by_name(name).experiment_id)

    def _registered_model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except Exception as error:
            if _code(error) != "RESOURCE_ALREADY_EXISTS":
                raise

    @contextmanager
    def _ended(self, run_id: str) -> Iterator[MlflowRun]:
        try:
            yield MlflowRun(self._client, run_id)
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        with answers():
            self._client.set_terminated(run_id, "FINISHED")


@contextmanager
def answers() -> Iterator[None]:
    """Turns MLflow's errors into the platform's: away, not found, forbidden by what is there.

    Raises:
        Unavailable, NotFound, Conflict: in place of MLflow's own exception.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        code = _code(error)
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound("thing in MLflow", error.message) from error
        if code in _AWAY:
            raise Unavailable(f"MLflow did not answer as it should ({code}): {error.message}") from error
        raise Conflict(f"MLflow refused ({code}): {error.message}") from error
    except OSError as error:
        raise Unavailable(f"MLflow or its artifact store cannot be reached: {error}") from error


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as dotted names.

    >>> flatten({"fit": {"lr": 0.1}, "seed": 1})
    {'fit.lr': 0.1, 'seed': 1}
    """
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _code(error: Exception) -> str:
    return str(getattr(error, "error_code", ""))


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
